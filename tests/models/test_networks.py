"""Every network: what goes in and comes out, homogeneity, gradients, any operator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import check_operator

import spinray as sr
from spinray.recon.models import (
    DRUNet,
    FBPUNet,
    ItNet,
    LearnedPrimalDual,
    MoDL,
    PromptVarNet,
    UNet,
    VarNet,
    itnet,
)
from spinray.recon.models.fbp_unet import refined
from spinray.recon.models.itnet import RampRoot
from spinray.recon.models.scaling import unit_norm
from spinray.recon.models.start import start_image

MODL = {"unrolls": 2, "iterations": 5, "chans": (4, 6), "blocks": 1}
PROMPT = {
    "num_cascades": 2, "chans": 4, "levels": 2, "prompts": 2, "sens_chans": 4, "sens_pools": 2,
}  # fmt: skip
ANGLES = np.arange(24) * 2 * np.pi / 24
FAN = sr.FanBeam(ANGLES, 40, 2.0, 300.0, 500.0, "curved"), sr.VolumeGrid((16, 20), 2.0)
CONE = (
    sr.ConeBeam(ANGLES, 10, 24, 2.0, 2.0, 300.0, 500.0),
    sr.VolumeGrid((8, 16, 16), 2.0),
)
HELIX = (
    sr.HelicalBeam(2 * ANGLES, 8, 24, 2.0, 2.0, 300.0, 500.0, pitch=4.0),
    sr.VolumeGrid((8, 16, 16), 1.5),
)
FEW = sr.ParallelBeam(np.linspace(0, 1.5, 12), 30, 1.0), sr.VolumeGrid((20, 20))


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def _stir(model: torch.nn.Module) -> None:
    """Move parameters off their start, where some layers are zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))


def _maps(coils: int, *shape: int) -> torch.Tensor:
    maps = _random(coils, *shape, seed=3)
    return maps / torch.linalg.vector_norm(maps, dim=0)


def test_drunet_is_homogeneous_and_takes_maps_of_noise() -> None:
    torch.manual_seed(0)
    model = DRUNet(2, 2, (4, 6, 8), 1).eval()
    x = torch.randn(3, 2, 19, 22)
    y = model(x, 0.1)
    assert y.shape == x.shape
    torch.testing.assert_close(model(7 * x, 0.7), 7 * y, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(x, torch.full((3, 1, 19, 22), 0.1)), y)
    torch.testing.assert_close(model(x, torch.full((3,), 0.1)), y)
    assert not torch.allclose(model(x, 0.5), y)
    assert not any(name.endswith("bias") for name in model.state_dict())


def test_unet_takes_what_it_says() -> None:
    model = UNet(1, 1, 2, 3).eval()
    assert model(torch.randn(1, 1, 8, 16)).shape == (1, 1, 8, 16)
    for shape in ((8, 8), (7, 16)):
        with pytest.raises(ValueError, match="y and x of 8 or more, one of them of 16 or more"):
            model(torch.randn(1, 1, *shape))


def test_drunet_has_the_layout_of_the_paper_s_weights() -> None:
    keys = set(DRUNet(1, 1, (4, 6, 8, 10), 4).state_dict())
    assert {"m_head.weight", "m_down1.0.res.0.weight", "m_down3.4.weight", "m_tail.weight",
            "m_body.3.res.2.weight", "m_up3.0.weight", "m_up1.4.res.2.weight"} <= keys  # fmt: skip


def _sense_operators() -> list[sr.LinearOperator]:
    maps = _maps(3, 16, 20)
    mask = torch.rand((16, 20), generator=torch.Generator().manual_seed(2)) < 0.5
    trajectory = torch.rand((300, 2), generator=torch.Generator().manual_seed(4)) - 0.5
    return [sr.Sense(maps, mask=mask), sr.Sense(maps, trajectory=trajectory)]


def test_modl_on_cartesian_and_non_cartesian_data() -> None:
    torch.manual_seed(0)
    model = MoDL(**MODL)
    for A in _sense_operators():
        y, noise = A(_random(2, 16, 20)), torch.tensor([0.01, 0.1])
        x = model(A, y, noise=noise)
        assert x.shape == (2, 16, 20)
        again = model(A, 1e4 * y, noise=1e4 * noise)
        torch.testing.assert_close(again, 1e4 * x, rtol=1e-3, atol=1e-2)
        # items of a batch do not know each other
        torch.testing.assert_close(model(A, y[:1], noise=0.01)[0], x[0], rtol=1e-3, atol=1e-4)
        x.abs().square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        assert float(model.log_weight.grad.abs().min()) > 0


def test_modl_trusts_noisy_data_less() -> None:
    """Before training a denoiser counts as the noise's variance; unknown noise is the usual one."""
    torch.manual_seed(0)
    model, A = MoDL(**MODL), _sense_operators()[0]
    y = A(_random(16, 20))

    def misfit(noise: float | None) -> float:
        return float((A(model(A, y, noise=noise)) - y).norm())

    quiet, usual, loud = misfit(0.0), misfit(None), misfit(1.0)
    assert quiet < 0.5 * usual
    assert usual < 0.5 * loud
    with pytest.raises(ValueError, match="noise must be 0 or more, got nan"):
        misfit(float("nan"))
    with pytest.raises(ValueError, match=r"one number or \(\), as the batch, got \(3,\)"):
        model(A, y, noise=torch.ones(3))


def test_modl_on_ct_and_volumes() -> None:
    torch.manual_seed(0)
    model = MoDL(**MODL, complex_images=False)
    for geometry, grid in (FAN, CONE):
        A = sr.XRayTransform(geometry, grid)
        y = A(torch.rand(*A.domain_shape) * 0.02)
        assert model(A, y).shape == A.domain_shape
    with pytest.raises(TypeError, match="for complex images"):
        MoDL(**MODL)(A, y)


def test_modl_with_checkpoints_has_the_same_gradient() -> None:
    torch.manual_seed(0)
    model = MoDL(**MODL)
    A = _sense_operators()[0]
    y, gradients = A(_random(16, 20)), []
    for model.checkpointing in (False, True):
        loss = model(A, y).abs().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))


def test_prompt_varnet_before_training_is_gradient_descent_on_the_data() -> None:
    """Its U-Nets, weights and map refinements start as nothing."""
    torch.manual_seed(0)
    model = PromptVarNet(**PROMPT, slices=1).eval()
    kspace = _random(2, 3, 24, 20)
    mask = torch.ones(2, 1, 24, 20, dtype=torch.bool)
    mask[..., 1::2] = False
    mask[..., 6:14] = True
    kspace = kspace * mask
    with torch.no_grad():
        maps = model.sens_net(kspace, mask)
        A = sr.Sense(maps, mask=mask[:, 0])
        x = A.adjoint(kspace)
        for _ in range(2):
            x = x - A.adjoint(A(x) - kspace)
        torch.testing.assert_close(model(kspace, mask), x, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("slices", [1, 3])
def test_prompt_varnet_any_coils_matrix_and_scale(slices: int) -> None:
    torch.manual_seed(0)
    model = PromptVarNet(**PROMPT, slices=slices)
    _stir(model)
    for coils, shape in ((3, (24, 20)), (5, (19, 30))):
        kspace = _random(1, slices, coils, *shape)
        mask = torch.rand((1, 1, 1, *shape), generator=torch.Generator().manual_seed(2)) < 0.5
        mask[..., shape[0] // 2 - 4 : shape[0] // 2 + 4, shape[1] // 2 - 4 : shape[1] // 2 + 4] = 1
        image = model(kspace * mask, mask)
        assert image.shape == (1, *shape)
        assert image.is_complex()
        torch.testing.assert_close(
            model(100 * kspace * mask, mask), 100 * image, rtol=1e-2, atol=1e-2
        )
    image.abs().sum().backward()
    # DistributedDataParallel stops at a parameter without gradient
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    with pytest.raises(ValueError, match=f"takes {slices} neighbouring slices"):
        model(kspace.repeat(1, 2, 1, 1, 1), mask)


def test_ramp_root_is_an_operator() -> None:
    check_operator(RampRoot((3, 11)), domain_dtype=torch.float64)


@pytest.mark.parametrize("case", [FAN, FEW, CONE, HELIX], ids=["fan", "few", "cone", "helix"])
def test_ct_networks_on_any_geometry(case: tuple) -> None:
    torch.manual_seed(0)
    A = sr.XRayTransform(*case)
    truth = torch.zeros(A.domain_shape)
    truth[..., 5:11, 5:11] = 0.02
    y = A(truth)[None]
    ndim = len(A.domain_shape)
    for model in (
        LearnedPrimalDual(2, memory=2, chans=4, ndim=ndim),
        ItNet(1, chans=(4, 6), blocks=1),
        FBPUNet(chans=(4, 6), blocks=1),
    ):
        x = model(A, y)
        assert x.shape == (1, *A.domain_shape)
        x.square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())


def test_learned_primal_dual_meets_the_same_numbers_in_other_units() -> None:
    """The data in other units, where neither has an analytic start: the image does not change."""
    torch.manual_seed(0)
    model = LearnedPrimalDual(2, memory=2, chans=4)
    A = sr.XRayTransform(*FAN)
    y = A(torch.rand(A.domain_shape) * 0.02)
    scaled, norm = unit_norm(A, y)
    assert scaled.norm() == pytest.approx(1, rel=0.05)
    twice = A * 2.0
    assert unit_norm(twice, y)[1] == pytest.approx(2 * norm, rel=1e-3)
    assert model(A, y).shape == A.domain_shape
    # the data enter over |A|: 3 A and 3 y are the same scan in another unit
    images = [model(A * factor, factor * y) for factor in (1.0, 3.0)]
    torch.testing.assert_close(images[1], images[0], rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="made for 2D images"):
        model(sr.XRayTransform(*CONE), y)


def test_itnet_starts_warm() -> None:
    torch.manual_seed(0)
    warm = FBPUNet(chans=(4, 6), blocks=1)
    model = ItNet.from_fbp_unet(warm, iterations=2).eval()
    A = sr.XRayTransform(*FAN)
    y = A(torch.rand(A.domain_shape) * 0.02)
    with torch.no_grad():
        model.steps.zero_()
        image = warm(A, y)
        for _ in range(2):
            image = refined(warm.unet, image)
        means = itnet._smooth(start_image(A, y) - start_image(A, A(image)))
        torch.testing.assert_close(model(A, y), image + means)
        torch.testing.assert_close(model.train()(A, y), image)  # whose gradient is exact


def test_volumes_go_through_unets_slice_by_slice(monkeypatch) -> None:
    """A cone beam's channels together filled 9 GB; what comes out is the same."""
    unet = DRUNet(1, 1, (4, 6), 1)
    _stir(unet)
    volume = 0.02 * (1 + 0.1 * _random(3, 16, 20).real)
    together = refined(unet, volume)
    seen, apply = [], unet.forward

    def counted(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return apply(x, noise)

    monkeypatch.setattr(unet, "forward", counted)
    with torch.inference_mode():
        alone = refined(unet, volume)
    assert seen == [1, 1, 1]
    torch.testing.assert_close(alone, together.detach())


def test_itnet_leaves_the_means_to_the_data() -> None:
    """Whatever the U-Net does to the level of attenuation, the mean is the data's."""
    torch.manual_seed(0)
    angles = np.arange(90) * 2 * np.pi / 90
    A = sr.XRayTransform(sr.FanBeam(angles, 80, 1.5, 300.0, 500.0), sr.VolumeGrid((48, 48)))
    x, y = (torch.arange(48) - 23.5 for _ in range(2))
    truth = 0.02 * ((x[:, None] ** 2 + y**2) < 15**2).float()
    model = ItNet(1, chans=(4, 6), blocks=1).eval()
    with torch.no_grad():
        unet = model.unets[-1]
        assert isinstance(unet, DRUNet)
        unet.m_tail.weight.mul_(20)
        spoilt = refined(unet, truth)
        image = model(A, A(truth))
    assert abs(float((spoilt - truth).mean())) > 1e-4
    assert abs(float((image - truth).mean())) < 0.1 * abs(float((spoilt - truth).mean()))


def test_modl_takes_data_in_double_precision() -> None:
    torch.manual_seed(0)
    model = MoDL(2, 5, (4, 6), 1).eval()
    A = sr.Sense(torch.ones(1, 12, 10, dtype=torch.complex64), mask=torch.rand(12, 10) < 0.6)
    y = A(torch.randn(12, 10, dtype=torch.complex64))
    with torch.no_grad():
        single, double = model(A, y), model(A, y.to(torch.complex128))
    assert double.dtype == torch.complex128
    torch.testing.assert_close(double.to(torch.complex64), single, rtol=1e-3, atol=1e-4)


def test_networks_take_data_in_double_precision() -> None:
    """Their weights stay single; what comes out is double."""
    torch.manual_seed(0)
    kspace = _random(1, 3, 24, 20)
    mask = torch.ones(1, 1, 24, 20, dtype=torch.bool)
    A = sr.XRayTransform(*FAN)
    sinogram = A(torch.rand(A.domain_shape) * 0.02)
    varnet = VarNet(num_cascades=1, sens_chans=2, sens_pools=2, chans=2, pools=2)
    cases = [(model, kspace, (mask,)) for model in (varnet, PromptVarNet(**PROMPT, slices=1))] + [
        (LearnedPrimalDual(1, memory=2, chans=4), sinogram, ()),
        (FBPUNet((4, 6), 1), sinogram, ()),
        (ItNet(1, (4, 6), 1), sinogram, ()),
    ]
    for model, data, more in cases:
        _stir(model.eval())
        double = data.to(torch.complex128 if data.is_complex() else torch.float64)
        before = () if more else (A,)
        with torch.no_grad():
            single = model(*before, data, *more)
            found = model(*before, double, *more)
        assert found.real.dtype == torch.float64, type(model)
        difference = (found - single).norm() / single.norm()
        assert float(difference) < 1e-3, type(model)
