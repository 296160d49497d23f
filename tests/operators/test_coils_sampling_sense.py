import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import (
    CoilSensitivity,
    Fourier,
    NonUniformFourier,
    Sampling,
    Sense,
)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_coils_adjoint_and_derivatives(shape):
    check_operator(CoilSensitivity(random(3, *shape), len(shape)), batch=(2,))


def test_coils_with_a_batch_of_maps():
    maps, x = random(2, 3, 5, 6), random(2, 5, 6, seed=1)
    coils = CoilSensitivity(maps, ndim=2)
    check_operator(coils, batch=(2,))
    torch.testing.assert_close(coils(x)[1], CoilSensitivity(maps[1])(x[1]))
    with pytest.raises(ValueError, match="batch"):
        coils(x[0])


def test_gradient_reaches_the_maps():
    maps, x = random(3, 4, 5).requires_grad_(), random(4, 5, seed=1)
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    assert torch.autograd.gradcheck(lambda m: CoilSensitivity(m)(x), maps)
    assert torch.autograd.gradcheck(lambda m: Sense(m, mask=mask).normal(x), maps)


def test_sampling():
    mask = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    check_operator(Sampling(mask), batch=(2,))
    lines = Sampling(mask[:, :1], shape=(5, 6))
    check_operator(lines)
    x = random(5, 6)
    assert torch.equal(lines(x), torch.where(mask[:, :1], x, 0))
    with pytest.raises(TypeError, match="boolean"):
        Sampling(torch.ones(3, 3))
    with pytest.raises(ValueError, match=r"\(2, 6\).*\(5, 6\)"):
        Sampling(mask[:2], shape=(5, 6))


@pytest.mark.parametrize("shape", [(5, 6), (7, 5), (3, 4, 5)])
def test_sense_is_sampling_fourier_coils(shape):
    maps, x = random(3, *shape), random(2, *shape, seed=1)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    A = Sense(maps, mask=mask, ndim=len(shape))
    coils = CoilSensitivity(maps, len(shape))
    parts = Sampling(mask[None], shape=(3, *shape)) @ Fourier(shape) @ coils
    assert parts.range_shape == A.range_shape == (3, *shape)
    torch.testing.assert_close(A(x), parts(x))
    torch.testing.assert_close(A.normal(x), parts.adjoint(parts(x)))
    check_operator(A, batch=(2,))
    check_operator(parts, batch=(2,))
    check_operator(Sense(maps, ndim=len(shape)))


@pytest.mark.parametrize(
    ("shape", "frames"), [((5, 6), ()), ((3, 4, 5), ()), ((5, 6), (2,))], ids=["2D", "3D", "frames"]
)
def test_sense_along_a_trajectory(shape, frames):
    generator = torch.Generator().manual_seed(0)
    k = torch.rand(*frames, 40, len(shape), dtype=torch.float64, generator=generator) - 0.5
    maps = random(*frames, 3, *shape)
    A = Sense(maps, trajectory=k)
    assert (A.domain_shape, A.range_shape) == (shape, (3, 40))
    # the transform is good to 1e-3, and so is its fast normal operator
    check_operator(A, batch=frames, normal_tolerance=3e-3)


@pytest.mark.parametrize("trajectory", [False, True])
@pytest.mark.parametrize("frames", [(), (2,)])
def test_sense_by_blocks_of_coils(monkeypatch, trajectory, frames):
    maps, x = random(*frames, 7, 5, 6), random(*frames, 5, 6, seed=1)
    mask = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.6
    k = torch.rand(*frames, 40, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5
    A = Sense(maps, **({"trajectory": k} if trajectory else {"mask": mask}))
    y = A(x)
    whole = y, A.adjoint(y), A.normal(x)
    monkeypatch.setattr("spinray.recon.operators.sense.LEAST_COILS", 3)
    monkeypatch.setattr("spinray.recon.operators.sense.BLOCK_BYTES", 0)
    assert len(A._blocks(x, 2)) == 3
    for found, expected in zip((A(x), A.adjoint(y), A.normal(x)), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    check_operator(A, batch=frames, normal_tolerance=3e-3)


def test_gradient_of_the_maps_along_a_trajectory():
    k = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5
    transform = NonUniformFourier(k, (5, 6), tolerance=1e-10)
    maps, x = random(3, 5, 6).requires_grad_(), random(5, 6, seed=1)
    for apply in (lambda A: A(x), lambda A: A.adjoint(A(x)), lambda A: A.normal(x)):
        assert torch.autograd.gradcheck(lambda m, f=apply: f(Sense(m, trajectory=transform)), maps)


def test_weights_belong_to_frames_and_take_gradients():
    k = torch.rand(2, 20, 2, generator=torch.Generator().manual_seed(0)).double() - 0.5
    transform = NonUniformFourier(k, (5, 6), tolerance=1e-10)
    maps, x = random(3, 5, 6), random(2, 4, 5, 6, seed=1)
    w = torch.rand(2, 20, generator=torch.Generator().manual_seed(1)).double()
    A = Sense(maps, trajectory=transform, weights=w)
    torch.testing.assert_close(A.normal(x), A.adjoint(A(x)))
    w.mul_(3)  # in place: the fast normal operator follows
    torch.testing.assert_close(A.normal(x), A.adjoint(A(x)))
    w[0, 0] = 0
    w.requires_grad_()
    A(x).abs().square().sum().backward()
    assert torch.isfinite(w.grad).all()
    trained = Sense(maps, trajectory=transform, weights=torch.nn.Parameter(w.detach()))
    assert [name for name, _ in trained.named_parameters()] == ["weights"]
    for wrong, message in ((w.detach() - 1, "negative"), (w.detach()[:, :5], r"\(2, 5\)")):
        with pytest.raises(ValueError, match=message):
            Sense(maps, trajectory=transform, weights=wrong)
    with pytest.raises(TypeError, match="expected real"):
        Sense(maps, trajectory=transform, weights=w.detach() * 1j)
    with pytest.raises(TypeError, match="ndarray, expected a torch tensor"):
        Sense(maps.numpy(), trajectory=transform)


def test_maps_changed_before_the_gradient_are_noticed():
    maps, x = random(3, 5, 6), random(5, 6, seed=1).requires_grad_()
    y = CoilSensitivity(maps)(x)
    maps.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.abs().sum().backward()


def test_two_axes_of_space_unless_told_otherwise():
    maps, x = random(4, 3, 5, 6), random(4, 5, 6, seed=1)
    for A in (CoilSensitivity(maps), Sense(maps)):
        assert A.domain_shape == (5, 6)
        assert A(x).shape == (4, 3, 5, 6)
    assert Sense(maps, ndim=3).domain_shape == (3, 5, 6)


def test_maps_train_as_a_parameter():
    A = Sense(torch.nn.Parameter(random(3, 5, 6)))
    assert [name for name, _ in A.named_parameters()] == ["coils.maps"]


def test_sense_with_a_batch_of_maps_and_masks():
    maps, x = random(2, 3, 5, 6), random(2, 5, 6, seed=1)
    mask = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    A = Sense(maps, mask=mask)
    check_operator(A, batch=(2,))
    torch.testing.assert_close(A.normal(x)[1], Sense(maps[1], mask=mask[1]).normal(x[1]))


def test_sense_norm_bounds_the_operator():
    A = Sense(random(3, 6, 8), mask=torch.ones(6, 1, dtype=torch.bool))
    power = super(Sense, A).norm(100, dtype=torch.complex128)
    assert power <= A.norm() * (1 + 1e-9)
    assert power > 0.95 * A.norm()


def test_sense_rejects_a_wrong_mask():
    maps = random(3, 5, 6)
    with pytest.raises(ValueError, match=r"\(4, 6\)"):
        Sense(maps, mask=torch.ones(4, 6, dtype=torch.bool))
    with pytest.raises(TypeError, match="boolean"):
        Sense(maps, mask=torch.ones(5, 6))
    with pytest.raises(ValueError, match="not both"):
        Sense(maps, mask=torch.ones(5, 6).bool(), trajectory=torch.zeros(4, 2))


def test_sense_with_weights_and_a_shared_transform():
    """W^(1/2) A, whose normal operator is the weighted Toeplitz convolution."""
    maps, trajectory = random(3, 12, 10), torch.rand(2, 50, 2).double() - 0.5
    transform = NonUniformFourier(trajectory, (12, 10), tolerance=1e-9)
    weights = torch.rand(2, 50).double() + 0.1
    A = Sense(maps, trajectory=transform, weights=weights)
    assert A.encoding is transform
    x = random(2, 12, 10)
    plain = Sense(maps, trajectory=trajectory)
    torch.testing.assert_close(A(x), weights.sqrt()[:, None] * plain(x), rtol=5e-3, atol=5e-3)
    check_operator(A, batch=(2,))
    with pytest.raises(ValueError, match="weights are for the samples"):
        Sense(maps, weights=weights)
    with pytest.raises(ValueError, match="image_shape"):
        Sense(random(3, 12, 12), trajectory=transform)


def test_inference_mode_of_torch():
    """Its tensors have no version counter, which gradients need and inference does not."""
    with torch.inference_mode():
        maps = torch.ones(3, 8, 6, dtype=torch.complex64)
        trajectory = torch.linspace(-0.5, 0.4, 20)[:, None].expand(20, 2).clone()
        x = torch.ones(8, 6, dtype=torch.complex64)
        for A in (Sense(maps), Sense(maps, trajectory=trajectory)):
            assert A.adjoint(A(x)).shape == x.shape
