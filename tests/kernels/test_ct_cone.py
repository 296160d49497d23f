"""The cone's separable footprint against its formula, and the sums over intervals it stands on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ct_geometries import GEOMETRIES, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ConeBeam, VolumeGrid
from spinray.kernels.ct.resample import MARGIN, resample, resample_room

RNG = np.random.default_rng(0)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 90),
    step=st.one_of(
        st.floats(0.05, 3.0), st.floats(3.0, 200.0), st.sampled_from([1.0, 1 - 1e-7, 2.0])
    ),
    first=st.one_of(st.floats(-70, 70), st.integers(-70, 70).map(lambda n: n - 2.0**-45)),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_intervals_are_integrated_exactly(count, step, first, dtype):
    values = np.zeros(count + 2 * MARGIN, dtype)
    values[MARGIN:-MARGIN] = RNG.random(count)
    start = int(-first // step) // 16 * 16
    stop = max(int(np.ceil((count - first) / step)), start)
    shift = start - 16  # `sums` is indexed from zero
    sums = np.zeros(stop - shift + 16, dtype)
    resample(
        values, MARGIN, count, sums, 16, stop - shift, first + shift * step, step,
        *resample_room(values.dtype),
    )  # fmt: skip
    total = np.concatenate([[0], np.cumsum(values[MARGIN:-MARGIN].astype(float))])
    edges = first + step * np.arange(start, stop + 1)
    expected = np.diff(np.interp(edges, np.arange(count + 1), total))
    assert len(expected) == 0 or abs(expected).max() > 0
    np.testing.assert_allclose(
        sums[16 : stop - shift], expected, atol=40 * np.finfo(dtype).eps * (1 + step)
    )
    assert not sums[:16].any()


def shadow_of_a_voxel(geometry, grid, index):
    """Long, Fessler and Balter's SF-TR model in float64, ``(view, row, column)``."""
    z, y, x = (grid.positions(axis)[i] for axis, i in enumerate(index))
    dz, dy, dx = grid.spacing
    sdd, spacing = geometry.source_to_detector, geometry.column_spacing
    out = np.zeros(geometry.shape)
    edges = np.arange(geometry.columns + 1) - 0.5 - (geometry.columns - 1) / 2
    edges += geometry.column_offset
    rows = np.append(geometry.row_positions - geometry.row_spacing / 2, 0)
    rows[-1] = rows[-2] + geometry.row_spacing
    for view, (angle, height) in enumerate(zip(geometry.angles, geometry.source_z, strict=True)):
        s = x * np.cos(angle) + y * np.sin(angle)
        d = geometry.source_to_isocenter - x * np.sin(angle) + y * np.cos(angle)
        ray = angle - np.arctan2(s, d)  # the view whose central ray it would be
        r = np.hypot(s, d)
        if geometry.detector == "curved":
            place, scale, depth = sdd * np.arctan2(s, d) / spacing, sdd / (r * spacing), r
        else:
            place, scale, depth = sdd * s / d / spacing, sdd * r / (d * d * spacing), d
        a, b = 0.5 * scale * dx * abs(np.cos(ray)), 0.5 * scale * dy * abs(np.sin(ray))
        u = edges - place
        corners = (a + b, 1), (abs(a - b), -1), (-abs(a - b), -1), (-a - b, 1)
        covered = sum(sign * np.maximum(u + c, 0) ** 2 for c, sign in corners) / (8 * a * b)
        chord = dx * dy * scale  # length along the ray times width in columns
        low, high = z - dz / 2, z + dz / 2
        ends = height + rows * depth / sdd  # the rows at the voxel
        overlap = np.minimum(ends[1:], high) - np.maximum(ends[:-1], low)
        share = np.maximum(overlap, 0) / np.diff(ends)
        out[view] = share[:, None] * np.diff(covered) * chord
    return out * geometry.slopes


@pytest.mark.parametrize("name", ["cone flat", "cone curved", "helical"])
@pytest.mark.parametrize("pixel", [0.4, 1.7, 9.0])
def test_a_voxel_casts_its_formula(name, pixel):
    geometry, _ = GEOMETRIES[name]
    grid = VolumeGrid((19, 9, 7), (2.1, 0.9 * pixel, pixel), (1.5, 3.0, -2.0))
    projector = Projector(geometry, grid)
    for index in ((9, 4, 3), (12, 0, 6), (3, 8, 1)):
        volume = np.zeros(grid.shape)
        volume[index] = 1
        expected = shadow_of_a_voxel(geometry, grid, index)
        assert expected.any()
        found = projector.forward(volume)
        np.testing.assert_allclose(found, expected, atol=1e-9 * expected.max())


def test_a_uniform_block_has_no_seams():
    """Where rays run between two rows of tiles, and everywhere else."""
    geometry = ConeBeam([0.0, 0.5 * np.pi], 9, 96, 1.0, 1.0, 500.0, 1000.0)
    grid = VolumeGrid((48, 128, 128), 0.5)
    length = Projector(geometry, grid).forward(np.ones(grid.shape))[:, 4]
    across = np.arange(96) - 47.5
    expected = 64 * np.hypot(1, across / 1000)
    np.testing.assert_allclose(length[:, 12:-12], np.tile(expected, (2, 1))[:, 12:-12], rtol=1e-4)


def test_tall_volumes_are_projected_in_pieces():
    geometry = ConeBeam(turn(3), 60, 21, 8.0, 4.0, 300.0, 600.0)
    tall = VolumeGrid((300, 20, 17), (0.7, 2.0, 2.1))
    x, y = RNG.random(tall.shape), RNG.random(geometry.shape)
    p, v = (Projector(geometry, tall).forward(x), Projector(geometry, tall).adjoint(y))
    low, high = (
        dataclasses.replace(tall, shape=(n, 20, 17), center=(z, 0.0, 0.0))
        for n, z in ((200, -50 * 0.7), (100, 100 * 0.7))
    )
    parts = Projector(geometry, low), Projector(geometry, high)
    both = parts[0].forward(x[:200]) + parts[1].forward(x[200:])
    np.testing.assert_allclose(p, both, atol=1e-12 * p.max())
    both = np.concatenate([part.adjoint(y) for part in parts])
    np.testing.assert_allclose(v, both, atol=1e-12 * v.max())


@pytest.mark.parametrize(("rows", "row_spacing", "dz"), [(150, 0.4, 4.0), (5, 30.0, 0.3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_many_rows_a_voxel_and_many_voxels_a_row(rows, row_spacing, dz, dtype, tolerance):
    geometry = ConeBeam(turn(5), rows, 30, row_spacing, 4.0, 300.0, 600.0)
    grid = VolumeGrid((int(40 / dz), 21, 18), (dz, 2.0, 2.0))
    projector = Projector(geometry, grid)
    x, y = RNG.random(grid.shape).astype(dtype), RNG.random(geometry.shape).astype(dtype)
    left = np.vdot(projector.forward(x).astype(float), y.astype(float))
    right = np.vdot(x.astype(float), projector.adjoint(y).astype(float))
    assert abs(left - right) < tolerance * abs(left)
    volume = np.zeros(grid.shape)
    index = (len(volume) // 2, 7, 9)
    volume[index] = 1
    expected = shadow_of_a_voxel(geometry, grid, index)
    np.testing.assert_allclose(projector.forward(volume), expected, atol=1e-9 * expected.max())
