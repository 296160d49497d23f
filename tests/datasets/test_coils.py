"""Coil k-space against the Fourier integral of map times phantom, done another way."""

from __future__ import annotations

import numpy as np
import pytest

from spinray.datasets.coils import CoilSeries, birdcage
from spinray.datasets.phantoms import (
    Ellipse,
    EllipsePhantom,
    Ellipsoid,
    EllipsoidPhantom,
    mr_grid,
)
from spinray.kernels.ct.geometry import VolumeGrid

FOV = (200.0, 160.0)


def _random_series(ndim: int, coils: int = 3) -> CoilSeries:
    rng = np.random.default_rng(1)
    shape = (coils, *(3, 5, 3)[:ndim])
    values = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return CoilSeries(values, (200.0, 160.0, 120.0)[:ndim])


def test_maps_are_the_series_written_out() -> None:
    coils = _random_series(2)
    grid = VolumeGrid((5, 4), (7.0, 9.0), (3.0, -8.0))
    maps = coils.maps(grid)
    y, x = grid.positions(0)[3], grid.positions(1)[1]
    expected = sum(
        coils.coefficients[2, my + 1, mx + 2] * np.exp(2j * np.pi * (my * y / 400 + mx * x / 320))
        for my in (-1, 0, 1)
        for mx in (-2, -1, 0, 1, 2)
    )
    assert maps.shape == (3, 5, 4)
    assert maps[2, 3, 1] == pytest.approx(expected, rel=1e-12)


def test_kspace_is_the_fourier_integral_of_map_times_phantom() -> None:
    """Quadrature in the ellipse's own polar coordinates; the maps come from `maps`."""
    shape = Ellipse(0.8, (20.0, -15.0), (30.0, 45.0), 0.3)
    coils = _random_series(2)
    node, weight = np.polynomial.legendre.leggauss(40)
    r, turn = (node + 1) / 2, np.arange(80) * 2 * np.pi / 80
    u = 45 * r[:, None] * np.cos(turn)
    v = 30 * r[:, None] * np.sin(turn)
    y = 20 + np.sin(0.3) * u + np.cos(0.3) * v
    x = -15 + np.cos(0.3) * u - np.sin(0.3) * v
    area = (weight / 2 * r)[:, None] * 2 * np.pi / 80 * 30 * 45 * 0.8
    places = [VolumeGrid((1, 1), 1.0, place) for place in zip(y.flat, x.flat, strict=True)]
    maps = np.array([coils.maps(place)[:, 0, 0] for place in places]).reshape(*y.shape, -1)
    frequency = np.array([[0.0, 0.0], [0.011, -0.004], [-0.02, 0.03]])
    found = coils.kspace(EllipsePhantom("one", (shape,)), frequency)
    for j, (ky, kx) in enumerate(frequency):
        wave = np.exp(-2j * np.pi * (ky * y + kx * x))
        expected = np.einsum("rt,rtc->c", area * wave, maps)
        np.testing.assert_allclose(found[:, j], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(8, 7), (5, 6), (3, 4, 5)])
def test_cartesian_kspace_is_kspace_on_the_grid(shape: tuple[int, ...]) -> None:
    ndim = len(shape)
    coils = _random_series(ndim)
    if ndim == 2:
        phantom = EllipsePhantom("one", (Ellipse(1.0, (9.0, 4.0), (30.0, 20.0), 1.0),))
    else:
        phantom = EllipsoidPhantom("one", (Ellipsoid(1.0, (9, 4, 1), (30, 20, 9), 1.0),))
    axes = [(np.arange(n) - n // 2) / f for n, f in zip(shape, coils.field_of_view, strict=True)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    found = coils.cartesian_kspace(phantom, shape)
    np.testing.assert_allclose(found, coils.kspace(phantom, k), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    ("coils", "fov"), [(4, FOV), (8, FOV), (12, FOV), (8, (180.0, 200.0, 160.0))]
)
def test_birdcage_is_smooth_distinct_and_normalised(coils: int, fov: tuple[float, ...]) -> None:
    n = 32 if len(fov) == 2 else 16
    maps = birdcage(coils, fov).maps(mr_grid((n,) * len(fov), fov))
    axis = (np.arange(n) - n // 2) / n
    inside = sum(x**2 for x in np.meshgrid(*(axis,) * len(fov))) < 0.25
    rss = np.linalg.norm(maps, axis=0)
    assert np.abs(rss[inside] - 1).max() < 0.02
    assert np.std(rss[inside]) < 0.004
    one = maps[:, inside] / np.linalg.norm(maps[:, inside], axis=1, keepdims=True)
    alike = np.abs(one @ one.conj().T) - np.eye(coils)
    assert alike.max() < 0.98  # no copies of one another


def test_one_coil_is_uniform() -> None:
    maps = birdcage(1, FOV).maps(mr_grid((6, 4), FOV))
    np.testing.assert_array_equal(maps, 1)


def test_bad_series_are_refused() -> None:
    with pytest.raises(ValueError, match="odd numbers of harmonics"):
        CoilSeries(np.ones((2, 2, 3), complex), FOV)
    with pytest.raises(ValueError, match="coils must be at least 1"):
        birdcage(0, FOV)
