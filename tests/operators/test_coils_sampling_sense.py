import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import CoilSensitivity, Fourier, Sampling, Sense


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_coils_adjoint_and_derivatives(shape):
    check_operator(CoilSensitivity(random(3, *shape)), batch=(2,))


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
    A = Sense(maps, mask=mask)
    parts = Sampling(mask[None], shape=(3, *shape)) @ Fourier(shape) @ CoilSensitivity(maps)
    assert parts.range_shape == A.range_shape == (3, *shape)
    torch.testing.assert_close(A(x), parts(x))
    torch.testing.assert_close(A.normal(x), parts.adjoint(parts(x)))
    check_operator(A, batch=(2,))
    check_operator(parts, batch=(2,))
    check_operator(Sense(maps))


def test_sense_with_a_batch_of_maps_and_masks():
    maps, x = random(2, 3, 5, 6), random(2, 5, 6, seed=1)
    mask = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    A = Sense(maps, mask=mask, ndim=2)
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
