import pytest
import torch
from helpers import check_operator

from spinray.recon.operators import CoilSensitivity, Fourier, MultibandSense


def maps(slices=3, coils=2, shape=(6, 5)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(slices, coils, *shape, dtype=torch.complex128, generator=generator)


def test_operator():
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    check_operator(MultibandSense(maps(), (0, 1 / 3, 2 / 3), mask=mask))
    check_operator(MultibandSense(maps(), (0, 1 / 3, 2 / 3)), batch=(2,))


def test_a_whole_pixel_shift_is_one_of_the_image():
    """A phase of s turns a line is a shift by s fields of view along y."""
    m = maps(1)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 6, 5, dtype=torch.complex128, generator=generator)
    shifted = CoilSensitivity(m[0])(x[0]).roll(-2, -2)
    k = MultibandSense(m, (2 / 6,))(x)
    torch.testing.assert_close(k, Fourier((6, 5))(shifted))


def test_bad_input():
    with pytest.raises(ValueError, match="2 shifts"):
        MultibandSense(maps(), (0, 0.5))
    with pytest.raises(TypeError, match="boolean"):
        MultibandSense(maps(), (0, 0.3, 0.6), mask=torch.ones(6, 5))
    with pytest.raises(ValueError, match=r"mask \(5, 5\) does not fit the maps' axes \(6, 5\)"):
        MultibandSense(maps(), (0, 0.3, 0.6), mask=torch.ones(5, 5, dtype=torch.bool))
