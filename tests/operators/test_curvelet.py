import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import Curvelet


def complex_noise(*shape, seed=0):
    return torch.randn(
        *shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("shape", [(32, 24), (17, 21)])
def test_operator_is_a_tight_frame(shape):
    C = Curvelet(shape, (4, 2))
    check_operator(C, batch=(2,))
    x = complex_noise(3, *shape)
    torch.testing.assert_close(C.adjoint(C(x)), x, rtol=1e-10, atol=1e-10)


def test_deviations_are_those_of_white_noise():
    C = Curvelet((64, 48))
    for band, deviation in zip(C.bands(C(complex_noise(200, 64, 48))), C.deviations, strict=True):
        measured = band.abs().square().mean((0, -2, -1)).sqrt()
        torch.testing.assert_close(measured, deviation.flatten(), rtol=0.15, atol=0)


def test_an_edge_is_in_the_band_across_it():
    """Stripes along y vary along x: direction 0; those along x: the direction at right angles."""
    C = Curvelet((64, 64))
    stripes = torch.cos(2 * torch.pi * 20 / 64 * torch.arange(64.0).double()).expand(64, 64) + 0j
    for image, direction in ((stripes, 0), (stripes.T.contiguous(), 4)):
        finest = C.bands(C(image))[0]
        energy = finest.abs().square().sum((-2, -1))
        assert energy[direction] > 0.9 * energy.sum()


def test_shifts_of_the_image_shift_the_finest_band():
    C = Curvelet((32, 40))
    x = complex_noise(32, 40)
    shifted = C.bands(C(torch.roll(x, (3, 5), (0, 1))))[0]
    torch.testing.assert_close(shifted, torch.roll(C.bands(C(x))[0], (3, 5), (-2, -1)))


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"\(y, x\)"):
        Curvelet((8, 8, 8))
    with pytest.raises(ValueError, match="orientations"):
        Curvelet((16, 16), (1,))
    with pytest.raises(ValueError, match="expected"):
        Curvelet((16, 16))(torch.zeros(15, 16, dtype=torch.complex64))
