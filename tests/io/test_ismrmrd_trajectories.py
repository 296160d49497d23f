"""Non-Cartesian ISMRMRD: order and units of trajectories."""

from __future__ import annotations

import numpy as np
import pytest

import spinray as sr
from spinray.recon.io.trajectory import cycles_per_pixel

RNG = np.random.default_rng(1)
SPOKES, SAMPLES = 5, 12


def spokes(reach: float, ndim: int = 2) -> np.ndarray:
    """Spokes ``(spoke, sample, ndim)``, x first, all axes different."""
    radius = (np.arange(SAMPLES) - SAMPLES // 2) / SAMPLES * 2 * reach
    angles = np.arange(SPOKES) * 0.7 + 0.1
    axes = [np.cos(angles), np.sin(angles), np.cos(3 * angles)][:ndim]
    return np.stack(axes, -1)[:, None] * radius[:, None]


def samples() -> np.ndarray:
    shape = (2, SPOKES, SAMPLES)
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)


def readouts(make, data: np.ndarray, k: np.ndarray, **head) -> list:
    return [make.readout(data[:, s], k[s], kspace_encode_step_1=s, **head) for s in range(SPOKES)]


@pytest.mark.parametrize("unit", ["cycles/pixel", "1/FOV"])
def test_units_are_found_and_axes_reversed(make_ismrmrd, unit):
    matrix = (24, 16, 1)
    k, data = spokes(0.5), samples()
    stored = k * (matrix[:2] if unit == "1/FOV" else 1)
    encoding = make_ismrmrd.encoding(matrix, (240, 160, 5), trajectory="radial")
    scan = sr.load(make_ismrmrd(readouts(make_ismrmrd, data, stored), encoding))
    assert scan.image_shape == (16, 24)
    assert scan.readout_length == SAMPLES
    assert np.allclose(scan.trajectory.numpy(), k.reshape(-1, 2)[:, ::-1], atol=1e-6)
    assert np.array_equal(scan.kspace.numpy(), data.reshape(2, -1))
    assert scan.trajectory_kind.startswith("2D radial")


def test_the_edge_is_wrapped_to_the_same_frequency():
    k = np.array([[0.5, -0.5], [0.5002, 0.25], [0.1, 0.4999]], np.float32)
    wrapped = cycles_per_pixel(k, (8, 8))
    assert wrapped.min() >= -0.5
    assert wrapped.max() < 0.5
    pixels = np.arange(-4, 4)
    assert np.allclose(
        np.exp(2j * np.pi * wrapped[..., None] * pixels),
        np.exp(2j * np.pi * k[..., None] * pixels),
        atol=1e-5,
    )


@pytest.mark.parametrize("size", [8, 12, 48, 64, 96, 128, 192, 256])
@pytest.mark.parametrize("reach", [np.pi, np.pi * (1 - 1 / 48)])
def test_radians_are_refused(size, reach):
    with pytest.raises(sr.FormatError, match="divide radians per pixel by 2 pi"):
        cycles_per_pixel(np.array([[reach, -reach / 2], [-reach / 3, reach]]), (size, size))


@pytest.mark.parametrize(("reach", "size"), [(400.0, 256), (2.0, 48), (40.0, 256)])
def test_other_units_are_refused(reach, size):
    with pytest.raises(sr.FormatError, match="expected cycles per pixel"):
        cycles_per_pixel(np.array([[reach, -reach / 2]]), (size, size))


@pytest.mark.parametrize("matrix", [(6, 6), (12, 8), (48, 48), (96, 64), (256, 256), (8, 256)])
@pytest.mark.parametrize("filled", [0.6, 0.97, 1.0])
def test_multiples_of_the_field_of_views_inverse(matrix, filled):
    """Zero to the edge along the longest axis, a tenth of it along the other."""
    part = np.where(np.array(matrix) == max(matrix), filled, 0.1)
    k = np.linspace(0, 0.49, 7)[:, None] * part
    assert np.allclose(cycles_per_pixel(k * matrix, matrix), k)


def test_batches_have_their_own_trajectories(make_ismrmrd):
    k, data = [spokes(0.4), -spokes(0.3)], [samples(), samples()]
    encoding = make_ismrmrd.encoding((16, 16, 1), trajectory="goldenangle")
    lines = [line for r in (0, 1) for line in readouts(make_ismrmrd, data[r], k[r], repetition=r)]
    scan = sr.load(make_ismrmrd(lines, encoding))
    assert scan.batch_axes == ("repetition",)
    for r in (0, 1):
        assert np.allclose(scan.trajectory[r].numpy(), k[r].reshape(-1, 2)[:, ::-1], atol=1e-6)
        assert np.array_equal(scan.kspace[r].numpy(), data[r].reshape(2, -1))
    with pytest.raises(sr.FormatError, match="batch item 0 has 60 samples, item 1 has 48"):
        sr.load(make_ismrmrd(lines[:-1], encoding))


def test_volumes_and_weights(make_ismrmrd):
    k, data = spokes(0.45, 3), samples()
    lines = readouts(make_ismrmrd, data, k)
    scan = sr.load(
        make_ismrmrd(lines, make_ismrmrd.encoding((8, 9, 10), (8, 9, 10), trajectory="other"))
    )
    assert scan.image_shape == (10, 9, 8)
    assert np.allclose(scan.trajectory.numpy(), k.reshape(-1, 3)[:, ::-1], atol=1e-6)
    flat = make_ismrmrd.encoding((8, 9, 1), trajectory="spiral")  # third column: weights
    assert sr.load(make_ismrmrd(lines, flat)).trajectory.shape[-1] == 2


def test_stack_of_stars(make_ismrmrd):
    k, data = spokes(0.5), samples()
    lines = [
        line for z in range(4) for line in readouts(make_ismrmrd, data, k, kspace_encode_step_2=z)
    ]
    encoding = make_ismrmrd.encoding((16, 16, 4), (16, 16, 4), trajectory="radial")
    scan = sr.load(make_ismrmrd(lines, encoding))
    assert scan.ndim == 3
    heights = scan.trajectory.reshape(4, -1, 3)[..., 0]
    assert np.allclose(heights.numpy(), np.array([-0.5, -0.25, 0, 0.25])[:, None])


def test_a_radial_scan_without_trajectory_says_so(make_ismrmrd):
    line = make_ismrmrd.readout(np.ones((1, 8)))
    path = make_ismrmrd([line], make_ismrmrd.encoding(trajectory="radial"))
    with pytest.raises(sr.FormatError, match="readout 0: has no trajectory"):
        sr.load(path)
