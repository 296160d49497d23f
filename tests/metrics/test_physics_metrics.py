"""The physicist's metrics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift
from scipy.special import erf, j1

from spinray.recon import metrics
from spinray.recon.metrics.observers import _channels

PIXEL = 0.5  # mm
SIGMA = 0.6  # mm, of the blur in the closed forms


def gaussian_mtf(frequency):
    return np.exp(-2 * (np.pi * frequency * SIGMA) ** 2)


HALF = np.sqrt(np.log(2) / 2) / (np.pi * SIGMA)
GRID = np.arange(96) * PIXEL
Y, X = np.meshgrid(GRID, GRID, indexing="ij")
RANDOM = np.random.default_rng(0)


def gaussian_wire(noise: float = 0.0):
    r2 = (Y - 23.17) ** 2 + (X - 24.4) ** 2
    wire = 500 * np.exp(-r2 / (2 * SIGMA**2))
    return 40 + wire + noise * RANDOM.standard_normal(wire.shape)


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_wire(noise) -> None:
    found = metrics.mtf_wire(gaussian_wire(noise), PIXEL, radius=5.0)
    assert found.frequency_at(0.5) == pytest.approx(HALF, rel=0.02 if noise else 0.002)
    np.testing.assert_allclose(
        found.values, gaussian_mtf(found.frequencies), atol=0.05 if noise else 0.005
    )


def test_the_wires_own_width_is_divided_out() -> None:
    fine = np.arange(-60, 61) * 0.05
    y, x = np.meshgrid(fine, fine, indexing="ij")
    disc = (np.hypot(y, x) <= 0.5).astype(float)
    blurred = gaussian_filter(disc, SIGMA / 0.05)
    thick = metrics.mtf_wire(blurred, 0.05)
    thin = metrics.mtf_wire(blurred, 0.05, diameter=1.0)
    assert thin.frequency_at(0.5) == pytest.approx(HALF, rel=0.02)
    assert thick.frequency_at(0.5) < 0.95 * HALF


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_slanted_edge(turned, sign) -> None:
    angle = np.deg2rad(4)
    distance = (X - 24) * np.cos(angle) + (Y - 24) * np.sin(angle)
    edge = 50 * sign * (1 + erf(distance / (SIGMA * np.sqrt(2))))
    edge = edge + 0.5 * RANDOM.standard_normal(edge.shape)
    found = metrics.mtf_edge(edge.T if turned else edge, PIXEL)
    assert found.frequency_at(0.5) == pytest.approx(HALF, rel=0.03)
    assert found.contrast == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize("contrast", [-100.0, 100.0])
def test_rim_of_a_disc(contrast) -> None:
    """Blurred on a fine grid, so that the curved rim is the true one."""
    fine = np.arange(0, 48, 0.1)
    y, x = np.meshgrid(fine, fine, indexing="ij")
    disc = gaussian_filter((np.hypot(y - 23.6, x - 24.3) <= 12).astype(float), SIGMA / 0.1)
    image = contrast * disc[::5, ::5]
    stack = image + 5 * RANDOM.standard_normal((20, *image.shape))
    found = metrics.ttf_disc(stack, PIXEL, (46, 49), 12.0)
    assert found.frequency_at(0.5) == pytest.approx(HALF, rel=0.03)


def test_resolution_that_cannot_be_told() -> None:
    flat = 0.1 * RANDOM.standard_normal((64, 64))
    with pytest.raises(ValueError, match="no wire stands out|leaves room"):
        metrics.mtf_wire(flat, PIXEL)
    with pytest.raises(ValueError, match="leaves room for a radius"):
        metrics.mtf_wire(gaussian_wire()[40:, 40:], PIXEL, radius=20.0)
    with pytest.raises(ValueError, match="no edge"):
        metrics.mtf_edge(np.zeros((20, 20)), PIXEL)
    with pytest.raises(ValueError, match="does not fit an image"):
        metrics.ttf_disc(flat, PIXEL, (32, 32), 40.0)
    with pytest.raises(ValueError, match="no contrast"):
        metrics.ttf_disc(np.zeros((64, 64)), PIXEL, (32, 32), 8.0)
    with pytest.raises(ValueError, match="stays above -1"):
        metrics.mtf_wire(gaussian_wire(), PIXEL, radius=5.0).frequency_at(-1.0)


def white(shape, sigma=10.0):
    return sigma * RANDOM.standard_normal(shape)


@pytest.mark.parametrize("repeats", [False, True])
def test_white_noise_has_a_flat_spectrum(repeats) -> None:
    """N(f) = sigma^2 dx dy, whatever structure lies below."""
    base = 3 * np.add.outer(np.arange(48), np.arange(48) ** 2 / 48)
    rois = base + white((200, 48, 48))
    found = metrics.noise_power_spectrum(rois, (0.5, 0.4), repeats=repeats)
    assert found.variance == pytest.approx(100, rel=0.02)
    np.testing.assert_allclose(found.radial[4:], 100 * 0.5 * 0.4, rtol=0.1)
    few = (white((4, 256, 256)), (0.5, 0.4)) if repeats else (white((3000, 8, 8)), (0.5, 0.4))
    few_found = metrics.noise_power_spectrum(*few, repeats=repeats)  # means and trends take some
    assert few_found.variance == pytest.approx(100, rel=0.02)
    assert found.spectrum.shape == (48, 48)
    assert found.frequencies[0].min() == pytest.approx(-1.0)


def test_filtered_noise_has_the_filters_spectrum() -> None:
    noise = np.stack([gaussian_filter(white((96, 96)), 1.5, mode="wrap") for _ in range(150)])
    found = metrics.noise_power_spectrum(noise, PIXEL, repeats=True)
    f = found.radial_frequencies
    expected = 100 * PIXEL**2 * np.exp(-4 * (np.pi * f * 1.5 * PIXEL) ** 2)
    strong = expected > 0.05 * expected.max()
    np.testing.assert_allclose(found.radial[strong][1:], expected[strong][1:], rtol=0.1)
    plain = metrics.noise_power_spectrum(white((9, 96, 96)), PIXEL)
    assert found.mean_frequency < 0.5 * plain.mean_frequency


def test_squares_lie_in_their_ring() -> None:
    y, x = np.indices((128, 128))
    away = np.hypot(y - 63.5, x - 63.5)
    rois = metrics.square_rois(away, 16, radius=(20, 60))
    assert rois.shape[1:] == (16, 16)
    assert rois.min() >= 20
    assert rois.max() <= 60
    assert len(metrics.square_rois(np.zeros((3, 64, 64)), 32, overlap=0.0)) == 12
    with pytest.raises(ValueError, match="no square of 16"):
        metrics.square_rois(away, 16, radius=(60, 64))
    with pytest.raises(ValueError, match="two scans"):
        metrics.noise_power_spectrum(white((1, 16, 16)), PIXEL, repeats=True)
    with pytest.raises(ValueError, match="8 pixels"):
        metrics.noise_power_spectrum(white((4, 6, 6)), PIXEL)


def phantom(cupping: float, offset: float = 3.0, noise: float = 8.0):
    y, x = np.indices((200, 200))
    r = np.hypot(y - 95, x - 104) / 80
    hu = offset + cupping * (r / 0.75) ** 2 + noise * RANDOM.standard_normal(r.shape)
    return np.where(r <= 1, hu, -1000.0)


def test_water_phantom_is_found_and_measured() -> None:
    found = metrics.water_phantom(np.stack([phantom(20.0) for _ in range(8)]), 1.25)
    assert found.center == pytest.approx((95, 104), abs=0.2)
    assert found.radius == pytest.approx(100, rel=0.01)
    assert found.water == pytest.approx(3, abs=0.6)
    assert found.noise == pytest.approx(8, rel=0.05)
    assert found.cupping == pytest.approx(20, abs=0.8)
    assert found.uniformity == pytest.approx(20, abs=2)
    place, mean = metrics.radial_profile(phantom(20.0, noise=0.0), 1.25)
    np.testing.assert_allclose(mean, 3 + 20 * (place / 75) ** 2, atol=0.7)
    square = np.full((90, 90), -1000.0)
    square[20:40, 10:80] = 0
    with pytest.raises(ValueError, match="no round phantom"):
        metrics.water_phantom(square, 1.0)
    with pytest.raises(ValueError, match="no water phantom in air"):
        metrics.water_phantom(np.zeros((50, 50)), 1.0)
    with pytest.raises(ValueError, match="no water phantom in air"):
        metrics.water_phantom(np.full((50, 50), -1000.0), 1.0)


def test_contrast_to_noise_and_errors_of_materials() -> None:
    image = torch.from_numpy(phantom(0.0, 0.0, 10.0))
    y, x = np.indices((200, 200))
    insert, background = np.hypot(y - 60, x - 104) < 12, np.hypot(y - 120, x - 104) < 25
    image[torch.from_numpy(insert)] += 50
    assert metrics.cnr(image, insert, background) == pytest.approx(5, rel=0.06)
    errors = metrics.hounsfield_errors(
        image, {"insert": insert, "water": background}, {"insert": 48.0, "water": 0.0}
    )
    assert errors["insert"] == pytest.approx(2, abs=2)
    with pytest.raises(ValueError, match="no region for bone"):
        metrics.hounsfield_errors(image, {}, {"bone": 900.0})
    with pytest.raises(ValueError, match="no noise"):
        metrics.cnr(np.zeros((9, 9)), np.ones((9, 9)), np.ones((9, 9)))
    with pytest.raises(ValueError, match="roi is empty"):
        metrics.cnr(image, insert & False, background)


def test_rings_are_told_from_edges() -> None:
    """Rings of RMS 5 raise the index to about that; the object's own edges hardly do."""
    y, x = np.indices((256, 256))
    r = np.hypot(y - 127.5, x - 127.5)
    plain = np.where(np.hypot(y - 120, (x - 140) * 1.3) < 60, 100.0, 0.0)
    rings = 5 * np.sqrt(2) * np.cos(2 * np.pi * r / 5)
    before, after = metrics.ring_index(plain), metrics.ring_index(plain + rings)
    assert before < 1.5
    assert 3.5 < after < 5.5
    moved = shift(plain + rings, (6, -9), order=1)
    assert metrics.ring_index(moved, (133.5, 118.5)) > 3
    assert metrics.ring_index(moved) < 0.8 * metrics.ring_index(moved, (133.5, 118.5))
    with pytest.raises(ValueError, match="16 pixels around the centre"):
        metrics.ring_index(plain, (5, 5))


def test_streaks() -> None:
    plain = white((60, 80), 5.0)
    streaked = plain + 30 * (np.arange(80) % 16 == 3)
    both = np.concatenate([streaked, plain])
    first = np.zeros(both.shape, bool)
    first[:60] = True
    stripes = 30 * np.std(np.arange(80) % 16 == 3)
    assert metrics.artifact_index(both, first, ~first) == pytest.approx(stripes, rel=0.05)
    assert metrics.artifact_index(both, ~first, first) == 0
    calm, strong = metrics.streak_index(plain)[0], metrics.streak_index(streaked)[0]
    assert strong > calm + 10
    with pytest.raises(ValueError, match="20 rows"):
        metrics.streak_index(plain[:10])


def flat_transfer() -> metrics.TransferFunction:
    f = np.linspace(0, 2, 5)
    return metrics.TransferFunction(f, np.ones_like(f), 1.0)


def test_non_prewhitening_in_white_noise_is_the_matched_filter() -> None:
    """d'^2 = signal energy / (sigma^2 dx dy)."""
    rois = white((400, 64, 64), 12.0)
    noise = metrics.noise_power_spectrum(rois, PIXEL, repeats=True)
    index = metrics.npw_detectability(10.0, 6.0, flat_transfer(), noise)
    expected = np.sqrt(10.0**2 * np.pi * 9 / (144 * PIXEL**2))
    assert index == pytest.approx(expected, rel=0.03)
    f = np.linspace(0, 1, 4001)[1:]  # the eye's square in the signal, its fourth power in noise
    disc = (10.0 * 3 * j1(6 * np.pi * f) / f) ** 2 * f
    degrees = f / 3 * 500 * np.pi / 180
    sight = (degrees**1.3 * np.exp(-0.04 * degrees**2)) ** 2
    seen, power = (2 * np.pi * float((disc * s).sum() * (f[1] - f[0])) for s in (sight, sight**2))
    eye = metrics.npw_detectability(10.0, 6.0, flat_transfer(), noise, eye=True)
    assert eye == pytest.approx(seen / np.sqrt(power * 144 * PIXEL**2), rel=0.05)
    assert eye < index
    assert metrics.npw_detectability(20.0, 6.0, flat_transfer(), noise) == pytest.approx(2 * index)
    with pytest.raises(ValueError, match="diameter"):
        metrics.npw_detectability(10.0, 0.0, flat_transfer(), noise)


def test_channelized_hotelling_sees_what_theory_says() -> None:
    """A Gaussian lesion in white noise lies wholly in the first channel: d' = |s| / sigma."""
    y, x = np.indices((33, 33)) - 16
    width = 10.0
    lesion = 6 * np.exp(-np.pi * (y**2 + x**2) / width**2)
    absent, present = white((3000, 33, 33)), white((3000, 33, 33)) + lesion
    index, area = metrics.channelized_hotelling(present, absent, width=width)
    expected = float(np.linalg.norm(lesion)) / 10
    assert index == pytest.approx(expected, rel=0.05)
    assert area == pytest.approx(metrics.auc_of(expected), abs=0.01)
    tired, _ = metrics.channelized_hotelling(present, absent, width=width, internal_noise=1.0)
    assert tired == pytest.approx(expected / np.sqrt(2), rel=0.08)
    gabor, _ = metrics.channelized_hotelling(present, absent, channels="gabor")
    assert 0.6 * expected < gabor < 1.02 * expected
    profiles = _channels("laguerre-gauss", (33, 33), width).reshape(6, 33, 33)
    # in coarse noise the template is prewhitened: d'^2 = s' K^-1 s of the channels
    coarse, other = (gaussian_filter(white((3000, 33, 33)), (0, 1.5, 1.5), mode="wrap")
                     for _ in range(2))  # fmt: skip
    spread = 10 * gaussian_filter(profiles, (0, 1.5, 1.5), mode="wrap").reshape(6, -1)
    small = 4 * np.exp(-np.pi * (y**2 + x**2) / 4.0**2)
    mean = profiles.reshape(6, -1) @ small.ravel()
    hotelling = float(np.sqrt(mean @ np.linalg.solve(spread @ spread.T, mean)))
    index, _ = metrics.channelized_hotelling(coarse + small, other, width=width)
    assert index == pytest.approx(hotelling, rel=0.05)
    plain = float(mean @ mean / np.linalg.norm(spread.T @ mean))
    assert plain < 0.9 * hotelling
    seen = _channels("gabor", (257, 257), width).reshape(4, 5, 2, 257, 257)[:, 0, 0]
    for band, profile in zip((64, 32, 16, 8), seen, strict=True):  # from 1/64 to 1/32, ...
        response = np.abs(np.fft.fft2(profile, (2048, 2048)))[0, :1024]
        ends = np.flatnonzero(response > response.max() / 2)[[0, -1]] / 2048
        np.testing.assert_allclose(ends, [1 / band, 2 / band], atol=1 / 900)
    with pytest.raises(ValueError, match="6 channels need 12 images"):
        metrics.channelized_hotelling(present[:11], absent)
    with pytest.raises(ValueError, match="channels must be"):
        metrics.channelized_hotelling(present, absent, channels="square")  # type: ignore[arg-type]
