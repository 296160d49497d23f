"""VarNet against fastMRI's own, and what it does with bad input."""

from __future__ import annotations

import pytest
import torch

import spinray as sr
from spinray.recon.models import PromptVarNet, UNet, VarNet
from spinray.recon.models.cartesian import keep_centre, mask_kind

SMALL = {"num_cascades": 3, "pools": 3, "chans": 6, "sens_pools": 2, "sens_chans": 4}
FROZEN = 1.84446, 1.08222, 1.17595, 3.75934


def _lines(n: int, centre: int = 10) -> torch.Tensor:
    mask = torch.zeros(n, dtype=torch.bool)
    mask[::4] = True
    mask[n // 2 - centre // 2 : n // 2 + centre // 2] = True
    return mask


def _phantom_kspace(
    batch: int, coils: int, shape: tuple[int, int], seed: int = 0, noise: float = 0.02
) -> torch.Tensor:
    """Disc times smooth coil phases, and noise."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    disc = ((y / 0.8) ** 2 + (x / 0.6) ** 2 < 1) * (1 + 0.5 * torch.cos(6 * y) * torch.sin(5 * x))
    angle = torch.arange(coils) * 2.1
    maps = torch.exp(1j * (angle[:, None, None] + y * torch.cos(angle)[:, None, None]))
    images = maps * disc * (1.2 + torch.cos(angle[:, None, None]) * x)
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn((batch, coils, *shape), dtype=torch.complex64, generator=generator)
    shifted = torch.fft.ifftshift(images + noise * random, dim=(-2, -1))
    return torch.fft.fftshift(torch.fft.fftn(shifted, dim=(-2, -1), norm="ortho"), dim=(-2, -1))


@pytest.mark.peer
@pytest.mark.parametrize("shape", [(64, 48), (47, 61)])
def test_output_and_state_dict_are_fastmri_s(shape: tuple[int, int]) -> None:
    peer = pytest.importorskip("fastmri.models", reason="fastmri is not installed")
    torch.manual_seed(0)
    theirs, ours = peer.VarNet(**SMALL).eval(), VarNet(**SMALL).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    mask = _lines(shape[1])
    for cascade in ours.cascades:
        cascade.dc_weight.data.fill_(0.6)
    theirs.load_state_dict(ours.state_dict())
    kspace = _phantom_kspace(2, 4, shape) * mask
    for dtype, tolerance in ((torch.complex64, 1e-5), (torch.complex128, 1e-12)):
        data = kspace.to(dtype)
        theirs, ours = theirs.to(data.real.dtype), ours.to(data.real.dtype)
        for lines in (None, 6):
            with torch.no_grad():
                expected = theirs(
                    torch.view_as_real(data), mask.expand(2, 1, 1, -1)[..., None], lines
                )
                image = ours(data, mask.expand(2, 1, 1, -1), lines)
            assert float((image - expected).abs().max()) < tolerance * float(expected.max())


@pytest.mark.peer
def test_the_official_size_loads_both_ways() -> None:
    peer = pytest.importorskip("fastmri.models", reason="fastmri is not installed")
    size = {"num_cascades": 12, "pools": 4, "chans": 18, "sens_pools": 4, "sens_chans": 8}
    with torch.device("meta"):
        theirs, ours = peer.VarNet(**size), VarNet(**size)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (theirs, ours)]
    assert shapes[0] == shapes[1]
    assert list(shapes[0]) == list(shapes[1])


@pytest.mark.peer
def test_unet_is_fastmri_s() -> None:
    peer = pytest.importorskip("fastmri.models", reason="fastmri is not installed")
    torch.manual_seed(0)
    theirs, ours = peer.Unet(2, 3, 4, 3).eval(), UNet(2, 3, 4, 3).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 2, 37, 50)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_checkpointing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    model = VarNet(**SMALL).double()
    kspace = (_phantom_kspace(1, 3, (32, 24)) * _lines(24)).to(torch.complex128)
    gradients = []
    for model.checkpointing in (False, True):
        loss = model(kspace, _lines(24).reshape(1, 1, 1, -1)).square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(a.abs().max() + 1e-30))


def test_the_centre_of_any_mask() -> None:
    ones = torch.ones(1, 1, 20, 30, dtype=torch.complex64)
    columns = _lines(30, 8).reshape(1, 1, 1, 30)
    kept = keep_centre(ones, columns)[0, 0].real.bool()
    assert torch.equal(kept, torch.arange(30).sub(15).add(4).lt(8).logical_and(
        torch.arange(30) >= 11).expand(20, 30))  # fmt: skip
    rows = _lines(20, 8).reshape(1, 1, 20, 1).expand(1, 1, 20, 30)
    kept = keep_centre(ones, rows)[0, 0].real.bool()
    assert bool(kept[6:14].all())
    assert int(kept.sum()) == 8 * 30
    both = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    both[..., ::3, ::3] = True
    both[..., 6:14, 11:19] = True
    kept = keep_centre(ones, both)[0, 0].real.bool()
    assert torch.equal(kept.nonzero().amin(0), torch.tensor([6, 11]))
    assert int(kept.sum()) == 64


def test_a_side_without_gap_is_measured_to_its_end() -> None:
    ones = torch.ones(1, 1, 20, 30, dtype=torch.complex64)
    full = torch.ones(1, 1, 1, 30, dtype=torch.bool)
    assert torch.equal(keep_centre(ones, full), ones)
    partial = full.clone()
    partial[..., :9] = False  # partial Fourier, not accelerated: six lines left of the centre
    kept = keep_centre(ones, partial)[0, 0, 0].real
    assert torch.equal(kept.nonzero().ravel(), torch.arange(9, 21))
    with pytest.warns(UserWarning, match="from a single line"):
        kept = keep_centre(ones, partial, official=True)[0, 0, 0].real
    assert torch.equal(kept.nonzero().ravel(), torch.tensor([15]))


@pytest.mark.parametrize("seed", range(2))
def test_kinds_of_masks_are_told_apart(seed: int) -> None:
    shape, data = (96, 80), sr.datasets
    for kind in ("equispaced", "equispaced_fraction", "magic"):
        for acceleration in (2, 4, 6):
            mask = data.LineMask(kind, (0.08,), (acceleration,))(shape, seed)[0]
            assert mask_kind(mask) == "regular lines along ky", (kind, acceleration)
            assert mask_kind(mask.T) == "regular lines along kx"
    for acceleration in (2, 4, 6):
        mask = data.LineMask("random", (0.08,), (acceleration,))(shape, seed)[0]
        assert mask_kind(mask) == "random lines along ky"
    assert mask_kind(data.PoissonMask((6.0,), 16)(shape, seed)[0]) == "random 2D"
    lattice = data.CaipirinhaMask(((2, 2), (2, 3)), 16)(shape, seed)[0]
    assert mask_kind(lattice) == "regular 2D"
    assert mask_kind(torch.ones(1, 80, dtype=torch.bool)) == "full"


def test_a_centre_that_is_told_is_taken_item_by_item() -> None:
    ones = torch.ones(3, 1, 20, 30, dtype=torch.complex64)
    mask = _lines(30, 8).expand(3, 1, 1, 30)
    kept = keep_centre(ones, mask, torch.tensor([4, 0, 6])).real
    assert kept[:, 0, 0].sum(-1).tolist() == [4, 8, 6]
    assert keep_centre(ones, mask, 4).real[:, 0, 0].sum(-1).tolist() == [4, 4, 4]


@pytest.mark.parametrize("name", ["VarNet", "PromptVarNet"])
def test_a_slice_without_signal_is_no_nan(name: str) -> None:
    torch.manual_seed(0)
    prompt = {"num_cascades": 2, "slices": 1, "chans": 4, "levels": 1, "sens_pools": 2}
    model = VarNet(**SMALL) if name == "VarNet" else PromptVarNet(**prompt)
    kspace = _phantom_kspace(2, 3, (32, 24)) * _lines(24)
    kspace[1] = 0
    image = model(kspace, _lines(24).expand(2, 1, 1, 24))
    assert not bool(image[1].abs().any())
    assert bool(image[0].abs().max() > 0)
    image.abs().square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_the_numbers_stay() -> None:
    """fastMRI's package gave these for the same weights and data: they hold without it too."""
    model = VarNet(**SMALL).eval()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(0.3 * torch.sin(1.7 * torch.arange(p.numel()) + index).reshape(p.shape))
        image = model(_still_kspace() * _lines(24), _lines(24).reshape(1, 1, 1, -1))
    found = torch.stack((image[0, 16, 12], image[0, 5, 9], image.mean(), image.max()))
    torch.testing.assert_close(found, torch.tensor(FROZEN), rtol=1e-3, atol=0)


@pytest.mark.peer
def test_the_frozen_numbers_are_fastmri_s() -> None:
    peer = pytest.importorskip("fastmri.models", reason="fastmri is not installed")
    model = peer.VarNet(**SMALL).eval()
    data = torch.view_as_real(_still_kspace() * _lines(24))
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(0.3 * torch.sin(1.7 * torch.arange(p.numel()) + index).reshape(p.shape))
        image = model(data, _lines(24).reshape(1, 1, 1, -1, 1))
    found = torch.stack((image[0, 16, 12], image[0, 5, 9], image.mean(), image.max()))
    torch.testing.assert_close(found, torch.tensor(FROZEN), rtol=1e-3, atol=0)


def _still_kspace() -> torch.Tensor:
    """The phantom with noise that no generator makes."""
    clean = _phantom_kspace(1, 3, (32, 24), noise=0.0)
    place = torch.arange(clean.numel(), dtype=torch.float64)
    return clean + 0.3 * torch.exp(1j * (place**2 % 6.1)).reshape(clean.shape).to(clean.dtype)


def test_bad_input_is_named() -> None:
    model = VarNet(**SMALL)
    kspace = torch.zeros(1, 3, 32, 24, dtype=torch.complex64)
    mask = torch.ones(1, 1, 1, 24, dtype=torch.bool)
    with pytest.raises(TypeError, match=r"kspace must be complex .* got torch.float32"):
        model(kspace.real, mask)
    with pytest.raises(ValueError, match=r"mask has shape \(1, 1, 1, 23\)"):
        model(kspace, mask[..., :23])
    with pytest.raises(ValueError, match=r"kspace must be \(batch, coil, ky, kx\)"):
        model(kspace[0], mask)
    with pytest.raises(TypeError, match="mask must be bool"):
        model(kspace, mask.float())
