"""Helical reconstruction against closed forms, direct sums, fan FBP and least squares."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.benchmarks.ct_phantoms import line_integrals_of
from spinray.kernels.ct.geometry import ConeBeam, FanBeam, HelicalBeam, VolumeGrid
from spinray.kernels.ct.helical import FLAT_SHARE, LEAST, HelixSums, padded_rows
from spinray.kernels.ct.rebinning import TAPS, to_parallel
from spinray.recon import ct
from spinray.recon.ct.helix import covered_heights, pitch_limit, plan_helix

WATER = 0.0193
SID, SDD = 595.0, 1085.6
CYLINDER = [(WATER, 7.0, -11.0, 0.0, 100.0, 100.0, 1e5)]


def helix(ratio, turns=2.6, views=240, **changes):
    """16 rows that cover 17.5 mm at the isocentre, moved by `ratio` times that in a turn."""
    angles = (np.arange(int(views * turns)) - views * turns / 2) * 2 * np.pi / views + 0.1
    settings = {"angles": angles, "rows": 16, "columns": 200, "row_spacing": 2.0}
    settings |= {"column_spacing": 3.0, "source_to_isocenter": SID, "source_to_detector": SDD}
    settings |= {"detector": "curved", "column_offset": 0.25}
    settings |= {"pitch": ratio * 16 * 2.0 * SID / SDD}
    return HelicalBeam(**(settings | changes))


def in_disc(grid, x, y, radius):
    return np.hypot(grid.positions(2) - x, grid.positions(1)[:, None] - y) < radius


CASES = {
    "0.3": helix(0.3, turns=4),
    "0.6": helix(0.6),
    "1.0": helix(1.0),
    "1.2": helix(1.2),
    "1.4": helix(1.4),
    "downward": helix(-0.9),
    "angles fall": helix(0.9)[::-1],
    "flat": helix(1.0, detector="flat"),
    "shifted rows": helix(0.8, row_offset=2.5),
    "no quarter offset": helix(1.0, column_offset=0.0),
    "odd views": helix(1.0, views=241),
}


@pytest.mark.parametrize("name", CASES)
def test_water_cylinder_at_any_pitch(name):
    geometry = CASES[name]
    sinogram = torch.from_numpy(line_integrals_of(CYLINDER, geometry)).float()
    views, _ = plan_helix(geometry, VolumeGrid((1, 100, 100), (1.0, 2.3, 2.3)))
    low, high = covered_heights(geometry, views)
    assert high - low > 5
    grid = VolumeGrid((9, 100, 100), ((high - low) / 8, 2.3, 2.3), ((low + high) / 2, 0.0, 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # neither truncated nor uncovered
        volume = ct.wfbp(sinogram, geometry, grid).numpy()
    water = volume[:, in_disc(grid, 7, -11, 80)] / WATER
    assert abs(water.mean() - 1) < 1e-3
    assert np.abs(water.mean(1) - 1).max() < 1e-3
    assert np.ptp(water.mean(1)) < 2e-4  # from slice to slice: 0.2 HU
    assert water.std() < 1e-3
    air = in_disc(grid, 0, 0, 114) & ~in_disc(grid, 7, -11, 104)
    assert np.abs(volume[:, air].mean()) < 2e-3 * WATER


@pytest.mark.parametrize("detector", ["curved", "flat"])
@pytest.mark.parametrize("ratio", [0.5, -1.1])
def test_balls_stand_where_they_are(ratio, detector):
    geometry = helix(ratio, turns=3, columns=240, column_spacing=2.0, detector=detector)
    balls = [(0.02, 60.0, 10.0, 3.0, 6.0, 6.0, 6.0), (0.04, -35.0, -70.0, -4.0, 5.0, 5.0, 5.0)]
    sinogram = torch.from_numpy(line_integrals_of(balls, geometry))
    for value, x, y, z, a, *_ in balls:
        grid = VolumeGrid((25, 30, 34), (0.8, 0.7, 0.6), (z + 0.3, y - 0.5, x + 0.4))
        volume = ct.wfbp(sinogram, geometry, grid).numpy()
        zs, ys, xs = np.meshgrid(*(grid.positions(i) for i in range(3)), indexing="ij")
        near = np.sqrt((xs - x) ** 2 + (ys - y) ** 2 + (zs - z) ** 2) < a + 2
        mass = volume[near].sum()
        centre = [(volume[near] * u[near]).sum() / mass for u in (xs, ys, zs)]
        np.testing.assert_allclose(centre, (x, y, z), atol=0.1)
        assert mass * 0.8 * 0.7 * 0.6 == pytest.approx(value * 4 / 3 * np.pi * a**3, rel=0.03)


def test_what_the_helix_does_not_cover_is_zero_and_told():
    geometry = helix(1.0)
    sinogram = torch.from_numpy(line_integrals_of(CYLINDER, geometry)).float()
    views, _ = plan_helix(geometry, VolumeGrid((1, 140, 140), (1.0, 2.3, 2.3)))
    low, high = covered_heights(geometry, views)
    assert views.radius == pytest.approx(160, abs=1)  # the detector's, not the grid's corners
    grid = VolumeGrid((120, 70, 70), (0.5, 4.6, 4.6), (3.0, 0.0, 0.0))
    with pytest.warns(UserWarning, match=f"covers z from {low:.1f} to {high:.1f} mm"):
        volume = ct.wfbp(sinogram, geometry, grid).numpy()
    assert np.isfinite(volume).all()
    z = grid.positions(0)
    seen = in_disc(grid, 0, 0, views.radius)
    assert not volume[:, ~seen].any()
    whole = (volume[:, seen] != 0).all(1)
    np.testing.assert_array_equal(whole, (z > low) & (z < high))
    assert not volume[np.abs(z) > 29].any()
    # A voxel is right or zero, never half a sum.
    water = volume[:, in_disc(grid, 7, -11, 80)]
    assert np.abs(water[water != 0] / WATER - 1).max() < 0.02
    default = ct.wfbp(sinogram, geometry)
    assert (default[:, 50:90, 50:90] != 0).all()


def test_rebinning_blurs_no_more_than_fan_fbp():
    """A wire 100 mm off the axis: the frequency at half of the response, across and along."""
    views, detector = 1440, {"columns": 368, "column_spacing": 1.2}
    fan = FanBeam(np.arange(views) * 2 * np.pi / views, 368, 1.2, SID, SDD, "curved", 0.25)
    geometry = helix(1.0, turns=1.6, views=views, rows=2, **detector, pitch=1.5)
    plane = VolumeGrid((80, 80), 0.14, (0.0, 90.0))
    slab = VolumeGrid((1, 80, 80), (1.0, 0.14, 0.14), (0.0, 0.0, 90.0))
    wire = line_integrals_of([(1.0, 90.0, 0.0, 0.3, 0.3, 0.0)], fan, cells=4)
    wire_3d = line_integrals_of([(1.0, 90.0, 0.0, 0.0, 0.3, 0.3, 1e5)], geometry, cells=4)
    expected = ct.fbp(torch.from_numpy(wire), fan, plane).numpy()
    found = ct.wfbp(torch.from_numpy(wire_3d), geometry, slab).numpy()[0]
    f = np.fft.rfftfreq(8192, 0.14)
    for axis in (0, 1):
        mtf = [np.abs(np.fft.rfft(image.sum(axis), 8192)) for image in (expected, found)]
        half = [f[np.argmax(m < m[0] / 2)] for m in mtf]
        assert half[1] > 0.96 * half[0]  # linear interpolation of the views reaches 0.91


def test_agrees_with_least_squares():
    """A small head by conjugate gradients from the same data: wfbp is as near the truth."""
    geometry = helix(0.8, turns=2.4, views=120, columns=80, column_spacing=7.0)
    head = [
        (0.02, 5.0, -8.0, 0.0, 90.0, 70.0, 60.0),
        (0.01, 30.0, 10.0, 2.0, 20.0, 20.0, 20.0),
    ]
    sinogram = torch.from_numpy(line_integrals_of(head, geometry, cells=4)).float()
    grid = VolumeGrid((40, 64, 64), (1.2, 4.0, 4.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transform = sr.XRayTransform(geometry, grid)
        fine = sr.conjugate_gradient(transform, sinogram, iterations=30, regularization=1e-4)
        direct = ct.wfbp(sinogram, geometry, grid)
    middle = slice(18, 22)
    both = [v[middle].numpy() for v in (fine, direct)]
    disc = in_disc(grid, 5, -8, 50)
    core = in_disc(grid, 30, 10, 10)
    for part, value in ((disc & ~in_disc(grid, 30, 10, 28), 0.02), (core, 0.03)):
        for volume in both:
            assert volume[:, part].mean() == pytest.approx(value, rel=0.01)
        assert np.abs(both[0] - both[1])[:, part].mean() < 0.02 * value


def test_rebinned_rays_are_the_rays():
    """Parallel views of an ellipse by their own closed form, at even and at uneven angles."""
    rng = np.random.default_rng(0)
    ellipse = [(0.02, 20.0, -15.0, 0.0, 60.0, 40.0, 1e9)]
    for angles, taps, bound in (
        (np.arange(500) * 0.012, TAPS, 2e-3),
        ((np.arange(500) + 0.8 * rng.random(500)) * 0.012, 2, 6e-3),
    ):
        geometry = helix(1.0, angles=angles, rows=2, columns=220, column_spacing=1.5)
        fan = geometry.fan_angles
        targets = np.linspace(0.5, 5.0, 7)
        p = np.linspace(-75, 75, 101)
        columns = np.arcsin(p / SID) * SDD / 1.5 + (220 - 1) / 2 - 0.25
        views = line_integrals_of(ellipse, geometry)
        slope = np.cos(np.arctan(geometry.row_positions / SDD))[:, None]
        weight = np.broadcast_to(slope, (2, 220))
        rows = to_parallel(views, angles, targets, fan, columns, weight, taps)
        beam = sr.ParallelBeam(targets, 101, 1.5)
        exact = line_integrals_of([(0.02, 20.0, -15.0, 60.0, 40.0, 0.0)], beam)
        assert np.abs(rows - exact[:, None]).mean() < bound * exact.max()
        single = to_parallel(views.astype(np.float32), angles, targets, fan, columns, weight, taps)
        np.testing.assert_allclose(single, rows, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_kernel_against_a_direct_sum(dtype, tolerance):
    rng = np.random.default_rng(1)
    rows, spacing, climb, middle = 6, 2.0, 1.2, 2.2
    positions = (np.arange(40) - 19.25) * spacing
    fan = np.arcsin(positions / 200)
    rays = {"shift": climb * fan, "along": 200 * np.cos(fan), "reach": np.full(40, 180.0)}
    xs, ys, zs = np.arange(-25, 30, 8.0), np.arange(-22, 25, 7.0), np.arange(-6, 14, 1.3)
    angles = np.array([0.2, 1.7])
    heights, counts, rise = climb * angles - 4, np.array([4, 3]), climb * np.pi
    views = rng.standard_normal((2, 4, 40, rows))
    found = np.zeros((len(zs), len(ys), len(xs)), dtype)
    sums = HelixSums(
        found, xs, ys, zs, radius=30.0, positions=positions, middle=middle, rows=rows, rise=rise,
        **rays,
    )  # fmt: skip
    padded = np.zeros((2, 4, 40, padded_rows(rows)), dtype)
    padded[..., :rows] = views
    for a in range(2):  # in two calls
        one = slice(a, a + 1)
        sums.add(padded[one], angles[one], heights[one], counts[one])
    sums.finish(0.5)
    for k, j, i in np.ndindex(found.shape):
        x, y, z = xs[i], ys[j], zs[k]
        expected, seen = 0.0, np.hypot(x, y) <= 30
        for a in range(2):
            top = bottom = 0.0
            for turn in range(counts[a]):
                t = angles[a] + np.pi * turn
                p, depth = x * np.cos(t) + y * np.sin(t), y * np.cos(t) - x * np.sin(t)
                shift, along, reach = (np.interp(p, positions, rays[n]) for n in rays)
                height = z - heights[a] - rise * turn - shift
                row = height * reach / (along + depth) + middle
                if not -0.5 <= row <= rows - 0.5:
                    continue
                line = [np.interp(p, positions, views[a, turn, :, r]) for r in range(rows)]
                edge = (rows / 2 - abs(row - (rows - 1) / 2)) / (rows / 2 * (1 - FLAT_SHARE))
                edge = np.clip(edge, LEAST, 1)
                weight = edge**2 * (3 - 2 * edge)
                top += weight * np.interp(row, np.arange(rows), line)
                bottom += weight
            seen = seen and bottom > 0
            expected += top / bottom if bottom else 0
        assert found[k, j, i] == pytest.approx(expected / 2 if seen else 0, abs=tolerance)
    assert (found == 0).any()
    assert (found != 0).mean() > 0.3


@pytest.mark.parametrize("detector", ["curved", "flat"])
def test_pitch_limit_is_where_gaps_open(detector):
    """Against a count over the rays: each angle of the half turn must see each height."""
    base = helix(1.0, detector=detector, row_offset=0.7)
    radius, reach = 150.0, (lambda g: SDD / np.cos(g) if detector == "flat" else SDD + 0 * g)
    edges = base.row_positions[[0, -1]] + np.array([-1, 1])
    p = np.linspace(-radius, radius, 81)
    g = np.arcsin(p / SID)
    span = np.linspace(-1, 1, 61)[:, None] * np.sqrt(radius**2 - p**2)
    for factor, gaps in ((0.995, False), (1.03, True)):
        climb = factor * pitch_limit(base, radius) / (2 * np.pi)
        first = climb * g + edges[1] * (SID * np.cos(g) + span) / reach(g)
        other = climb * (np.pi - g) + edges[0] * (SID * np.cos(g) - span) / reach(g)
        back = climb * (np.pi - g) + edges[1] * (SID * np.cos(g) - span) / reach(g)
        again = climb * (2 * np.pi + g) + edges[0] * (SID * np.cos(g) + span) / reach(g)
        assert bool((other > first).any() or (again > back).any()) is gaps


def test_uneven_angles_batches_and_precision():
    rng = np.random.default_rng(2)
    angles = (np.arange(620) - 310 + 0.8 * rng.random(620)) * 2 * np.pi / 240
    geometry = helix(1.0, angles=angles)
    sinogram = torch.from_numpy(line_integrals_of(CYLINDER, geometry))
    grid = VolumeGrid((3, 60, 60), (2.0, 4.0, 4.0))
    volume = ct.wfbp(torch.stack([sinogram, 2 * sinogram]), geometry, grid, filter="hann")
    assert volume.dtype == torch.float64
    assert abs(float(volume[0][:, in_disc(grid, 7, -11, 80)].mean()) / WATER - 1) < 2e-3
    torch.testing.assert_close(volume[1], 2 * volume[0])
    single = ct.wfbp(sinogram.float(), geometry, grid, filter="hann")
    torch.testing.assert_close(single.double(), volume[0], atol=1e-6, rtol=1e-4)


def test_clear_errors():
    geometry = helix(1.0)
    zeros = torch.zeros(geometry.shape)
    with pytest.raises(TypeError, match="wfbp takes a HelicalBeam, got a ConeBeam: fdk takes it"):
        ct.wfbp(torch.zeros(9, 2, 4), ConeBeam(np.arange(9), 2, 4, 1.0, 1.0, 50.0, 90.0))
    with pytest.raises(ValueError, match=r"sinogram has shape \(624, 16, 100\)"):
        ct.wfbp(zeros[..., :100], geometry)
    with pytest.raises(ValueError, match="NaN"):
        ct.wfbp(zeros + torch.nan, geometry)
    with pytest.raises(ValueError, match="filter must be one of"):
        ct.wfbp(zeros, geometry, filter="ramp")
    with pytest.raises(ValueError, match=r"pitch 29\.8.* leaves gaps: 16 rows cover 17\.54 mm"):
        ct.wfbp(zeros, helix(1.7))
    with pytest.raises(ValueError, match=r"0\.58 turns are too few"):
        ct.wfbp(zeros[:140], geometry[:140])
    keep = np.r_[0:200, 230:624]
    with pytest.raises(ValueError, match="views are missing"):
        ct.wfbp(zeros[keep], geometry[keep])
    with pytest.raises(ValueError, match="angle of its own"):
        ct.wfbp(zeros, helix(1.0, angles=np.zeros(624)))
    with pytest.raises(ValueError, match="centred to a few columns"):
        ct.wfbp(zeros, helix(1.0, column_offset=30.0))
    with pytest.raises(ValueError, match="3D volume"):
        ct.wfbp(zeros, geometry, VolumeGrid((9, 9)))
    with pytest.warns(UserWarning, match="beyond the detector's edge"):
        ct.wfbp(zeros + 1, geometry, VolumeGrid((1, 20, 20)))
