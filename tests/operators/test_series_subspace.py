import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import Sense, Series, SubspaceSense, Superposition, TemporalBasis

GENERATOR = torch.Generator().manual_seed(4)
MAPS = torch.randn(3, 8, 6, dtype=torch.complex128, generator=GENERATOR)
BASIS = torch.randn(2, 5, dtype=torch.complex128, generator=GENERATOR)
MASK = torch.rand(5, 8, 6, generator=GENERATOR) < 0.4
TRAJECTORY = torch.rand(5, 13, 2, dtype=torch.float64, generator=GENERATOR) - 0.5
WEIGHTS = torch.rand(5, 13, dtype=torch.float64, generator=GENERATOR)
PRECISE = {"trajectory": TRAJECTORY, "tolerance": 1e-11}


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("sampling", [{"mask": MASK}, PRECISE, {**PRECISE, "weights": WEIGHTS}])
def test_subspace_is_an_operator(sampling, batch):
    check_operator(SubspaceSense(MAPS, BASIS, **sampling), batch=batch, normal_tolerance=1e-8)


@pytest.mark.parametrize("sampling", [{"mask": MASK}, PRECISE])
def test_subspace_is_sense_of_every_frame(sampling):
    """Against the plain operator on the series, which knows nothing of subspaces."""
    x = torch.randn(2, 8, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    series = torch.einsum("kt,k...->t...", BASIS, x)
    kind = {"mask": MASK} if "mask" in sampling else {"trajectory": TRAJECTORY}
    expected = Sense(MAPS, **kind)(series)
    y = SubspaceSense(MAPS, BASIS, **sampling)(x)
    tolerance = 1e-10 if "mask" in sampling else 2e-3  # the plain transform's own
    assert float((y - expected).norm() / expected.norm()) < tolerance


def test_subspace_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(K, frame\)"):
        SubspaceSense(MAPS, BASIS.T, mask=MASK)
    with pytest.raises(ValueError, match="5 frames"):
        SubspaceSense(MAPS, BASIS, mask=MASK[:4])
    with pytest.raises(ValueError, match="5 frames"):
        SubspaceSense(MAPS, BASIS, trajectory=TRAJECTORY[:4])
    with pytest.raises(ValueError, match="one of them"):
        SubspaceSense(MAPS, BASIS)
    with pytest.raises(ValueError, match="expected"):
        SubspaceSense(MAPS, BASIS, mask=MASK)(torch.zeros(3, 8, 6, dtype=torch.complex128))


def test_series_and_superposition_are_operators():
    check_operator(Series(Sense(MAPS, mask=MASK), 5))
    check_operator(Series(Sense(MAPS), 2), batch=(3,))
    check_operator(Superposition((4, 3)), batch=(2,))
    with pytest.raises(ValueError, match="expected"):
        Series(Sense(MAPS), 2)(torch.zeros(3, 8, 6, dtype=torch.complex128))


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("basis", [BASIS, BASIS.real])
def test_temporal_basis_is_an_operator(basis, batch):
    A = TemporalBasis(basis, (4, 3))
    check_operator(A, batch=batch)
    x = torch.randn(2, 4, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))
    frame = basis[0, 3] * x[0] + basis[1, 3] * x[1]
    torch.testing.assert_close(A(x)[3], frame)
    with pytest.raises(ValueError, match=r"\(K, frame\)"):
        TemporalBasis(basis[0], (4, 3))


def test_series_of_a_basis_is_sense_of_the_subspace():
    A = Series(Sense(MAPS, mask=MASK), 5) @ TemporalBasis(BASIS, (8, 6))
    x = torch.randn(2, 8, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(A(x), SubspaceSense(MAPS, BASIS, mask=MASK)(x))
