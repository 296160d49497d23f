from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from ct_geometries import CONE, GEOMETRIES, modular, turn

from spinray.benchmarks.ct_phantoms import HEAD, image_of, line_integrals_of, relative_rmse
from spinray.kernels.ct import Projector, backproject, planar
from spinray.kernels.ct.backprojection import slabs_along_z
from spinray.kernels.ct.geometry import (
    ConeBeam,
    FanBeam,
    HelicalBeam,
    ParallelBeam,
    VolumeGrid,
)

RNG = np.random.default_rng(0)


MODELS = ["separable-footprint", "joseph"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_adjoint_is_exact_transpose(name, model, dtype, tolerance):
    geometry, grid = GEOMETRIES[name]
    projector = Projector(geometry, grid, model=model)
    x = RNG.random(grid.shape).astype(dtype)
    y = RNG.random(geometry.shape).astype(dtype)
    ax, aty = projector.forward(x), projector.adjoint(y)
    assert ax.dtype == aty.dtype == dtype
    left = np.vdot(ax.astype(float), y.astype(float))
    right = np.vdot(x.astype(float), aty.astype(float))
    assert abs(left - right) < tolerance * abs(left)


@pytest.mark.parametrize("name", ["parallel", "fan flat", "fan curved", "cone flat"])
def test_adjoint_is_the_transposed_matrix(name):
    """Entry by entry: a dot product would not see errors that cancel."""
    geometry, _ = GEOMETRIES[name]
    grid = VolumeGrid((5, 40, 35)[-geometry.ndim :], 2.0)
    projector = Projector(geometry, grid)
    pixels = RNG.choice(int(np.prod(grid.shape)), 12, replace=False)
    units = np.zeros((12, int(np.prod(grid.shape))))
    units[np.arange(12), pixels] = 1
    rows = projector.forward(units.reshape(12, *grid.shape)).reshape(12, -1)
    hit = np.flatnonzero(rows.any(0))
    rays = RNG.choice(hit, 12, replace=False)
    units = np.zeros((12, rows.shape[1]))
    units[np.arange(12), rays] = 1
    columns = projector.adjoint(units.reshape(12, *geometry.shape)).reshape(12, -1)
    np.testing.assert_allclose(rows[:, rays], columns[:, pixels].T, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["parallel", "flat", "curved"])
def test_head_against_closed_form(kind, model):
    n = 256
    grid = VolumeGrid((n, n), 240 / n)
    if kind == "parallel":
        geometry = ParallelBeam(turn(45, np.pi), 300, 0.93, 0.25)
    else:
        geometry = FanBeam(turn(45), 400, 1.15, 595.0, 1085.6, kind, 0.25)
    image = image_of(HEAD, grid)
    p = Projector(geometry, grid, model=model).forward(image)
    assert relative_rmse(p, line_integrals_of(HEAD, geometry, cells=8)) < 0.006
    # The footprint spreads a pixel but loses nothing of it.
    if kind == "parallel":
        mass = p.sum(1) * geometry.column_spacing
        tolerance = 1e-9 if model == "separable-footprint" else 2e-3
        np.testing.assert_allclose(mass, image.sum() * (240 / n) ** 2, rtol=tolerance)


@pytest.mark.parametrize("name", ["cone flat", "cone curved", "helical", "modular"])
@pytest.mark.parametrize("model", MODELS)
def test_ellipsoids_against_closed_form(name, model):
    """Off centre in all axes, so that no flip of an axis goes unnoticed."""
    scale = 4
    grid = VolumeGrid((80, 100, 100), (0.7, 0.8, 0.8))
    ellipsoids = [(0.02, 4.0, -6.0, 3.0, 21.0, 15.0, 17.0), (0.03, -9.0, 10.0, -8.0, 7.0, 5.0, 6.0)]
    fine = {"rows": 14 * scale, "columns": 40 * scale, "row_spacing": 3.1 / scale}
    detector = CONE | fine | {"column_spacing": 4.3 / scale}
    t = turn(7)
    geometry = {
        "cone flat": lambda: ConeBeam(t, **detector, row_offset=2.5, column_offset=3.25),
        "cone curved": lambda: ConeBeam(t, **detector, detector="curved", row_offset=-2.0),
        "helical": lambda: HelicalBeam(t - 3, **detector, detector="curved", pitch=12.0),
        "modular": lambda: modular(7, 48, 120, 0.25),
    }[name]()
    z, y, x = (grid.positions(a) for a in range(3))
    volume = np.zeros(grid.shape)
    sub = (np.arange(3) - 1) / 3
    for dz in sub:
        for dy in sub:
            for dx in sub:
                xx, yy = x + dx * grid.spacing[2], y[:, None] + dy * grid.spacing[1]
                zz = z[:, None, None] + dz * grid.spacing[0]
                for v, x0, y0, z0, a, b, c in ellipsoids:
                    r = ((xx - x0) / a) ** 2 + ((yy - y0) / b) ** 2 + ((zz - z0) / c) ** 2
                    volume += v / 27 * (r <= 1)
    p = Projector(geometry, grid, model=model).forward(volume)
    exact = line_integrals_of(ellipsoids, geometry)
    assert abs((p * exact).sum() / (exact**2).sum() - 1) < 3e-3  # the amplitude, edges apart
    expected = line_integrals_of(ellipsoids, geometry)
    assert expected.max() > 0.5
    assert relative_rmse(p, expected) < 0.025  # point samples of edges; a flip gives 0.5


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_cone_back_projection_is_alike_above_and_below(detector):
    """The detector ends within the volume: its last row must not be treated as its first is not."""
    geometry = ConeBeam(turn(7), **CONE, detector=detector)
    grid = VolumeGrid((21, 16, 14), 2.3)
    volume = backproject(np.ones(geometry.shape), geometry, grid)
    assert (volume == 0).any()
    np.testing.assert_allclose(volume, volume[::-1], atol=1e-12 * volume.max())


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_cone_back_projection_is_the_fan_s_in_the_plane_of_the_orbit(detector):
    """To the outermost column and beyond, where both fall to zero within one more."""
    fan = FanBeam(turn(7), 20, 4.3, 120.0, 210.0, detector, -1.25)
    cone = ConeBeam(turn(7), 3, 20, 3.1, 4.3, 120.0, 210.0, detector, 0.0, -1.25)
    views = RNG.random(fan.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the grid reaches beyond the detector
        plane = backproject(views, fan, VolumeGrid((50, 40), 2.0))
        box = backproject(np.repeat(views[:, None], 3, 1), cone, VolumeGrid((1, 50, 40), 2.0))
    np.testing.assert_allclose(box[0], plane, atol=1e-12 * plane.max())


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("offset", [0.0, 40.0])
def test_slabs_of_a_back_projection_are_the_whole(detector, offset, monkeypatch):
    """On many threads a volume of few tiles is cut along z; by count of tasks, and as an image."""
    assert slabs_along_z((256, 256, 256), 2) == 1
    tiles = (256 // 32) ** 2
    assert tiles * slabs_along_z((256, 256, 256), 128) >= 4 * 128
    assert slabs_along_z((40, 64, 64), 128) == 2  # no thinner than 16 voxels
    geometry = ConeBeam(turn(5), **CONE, detector=detector, row_offset=1.3)
    grid = VolumeGrid((70, 30, 37), 1.4, (offset, 0.0, 0.0))
    views = RNG.random((2, *geometry.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # taller than the detector
        whole = backproject(views, geometry, grid)
        monkeypatch.setattr("spinray.kernels.ct.backprojection.thread_count", lambda: 64)
        slabs = backproject(views, geometry, grid)
    assert whole.any()
    np.testing.assert_allclose(slabs, whole, rtol=1e-12, atol=1e-14 * whole.max())


@pytest.mark.parametrize(("views", "threads"), [(720, 2), (720, 64), (60, 2), (45, 128), (1, 8)])
def test_views_are_shared_among_many_threads(views, threads):
    """By count of tasks: as many views a pass as leave each thread several passes."""
    together = planar.views_together(views, 1, threads)
    tasks = -(-views // together)
    assert tasks >= min(4 * threads, views)
    assert together <= 16
    assert planar.views_together(views, 2, threads) >= together  # of two stacks


@pytest.mark.parametrize("count", [1, 2, 16])
@pytest.mark.parametrize("threads", [1, 50])
def test_number_of_threads_does_not_change_the_projection(count, threads, monkeypatch):
    geometry, grid = GEOMETRIES["parallel"]
    x = RNG.random((count, *grid.shape))
    expected = Projector(geometry, grid).forward(x)
    monkeypatch.setattr("spinray.kernels.ct.projector.thread_count", lambda: threads)
    np.testing.assert_array_equal(Projector(geometry, grid).forward(x), expected)


@pytest.mark.parametrize("count", [1, 3, 7, 16, 21])
def test_stacks_equal_single_slices(count):
    geometry, grid = GEOMETRIES["fan curved"]
    projector = Projector(geometry, grid)
    x = RNG.random((count, *grid.shape))
    y = RNG.random((count, *geometry.shape))
    p, v = projector.forward(x), projector.adjoint(y)
    for i in {0, count // 2, count - 1}:
        np.testing.assert_allclose(p[i], projector.forward(x[i]), atol=1e-11)
        np.testing.assert_allclose(v[i], projector.adjoint(y[i]), atol=1e-11)
    nested = projector.forward(x.reshape(1, count, *grid.shape))
    assert nested.shape == (1, count, *geometry.shape)


def test_memory_limit_changes_pieces_and_not_the_result():
    geometry, _ = GEOMETRIES["cone flat"]
    grid = VolumeGrid((19, 70, 33), (2.1, 1.0, 1.9))
    whole = Projector(geometry, grid)
    few = Projector(geometry[:4], grid).memory_on("numba", 8)
    limited = Projector(geometry, grid, memory_limit=few)
    assert limited.memory_on("numba", 8) == few < whole.memory_on("numba", 8)
    x, y = RNG.random(grid.shape), RNG.random(geometry.shape)
    np.testing.assert_allclose(limited.forward(x), whole.forward(x), rtol=1e-12)
    left, right = np.vdot(limited.forward(x), y), np.vdot(x, limited.adjoint(y))
    assert abs(left - right) < 1e-13 * abs(left)
    with pytest.raises(ValueError, match="memory_limit"):
        Projector(geometry, grid, memory_limit=100)


def test_numpy_and_torch_in_the_same_out():
    geometry, grid = GEOMETRIES["parallel"]
    projector = Projector(geometry, grid)
    x = RNG.random((2, *grid.shape)).astype(np.float32)
    p = projector.forward(torch.from_numpy(x))
    assert isinstance(p, torch.Tensor)
    assert p.dtype == torch.float32
    readonly = np.asfortranarray(x)
    readonly.flags.writeable = False
    q = projector.forward(readonly)
    assert isinstance(q, np.ndarray)
    np.testing.assert_array_equal(p.numpy(), q)


def test_detector_that_misses_the_grid_sees_nothing():
    grid = VolumeGrid((20, 20))
    with pytest.warns(UserWarning, match=r"sees only from 96\.5 to 104\.0 mm"):
        p = Projector(ParallelBeam(turn(5), 8, 1.0, 100.0), grid).forward(np.ones((20, 20)))
    assert not p.any()


@pytest.mark.parametrize(
    ("columns", "spacing", "sid", "sdd", "n", "pixel"),
    [
        (800, 1.0, 300.0, 600.0, 32, 12.0),
        (400, 1.0, 90.0, 180.0, 60, 2.0),
        (888, 1.0239, 595.0, 1085.6, 64, 7.8),
    ],
)
def test_tiles_that_the_source_sees_under_wide_angles(columns, spacing, sid, sdd, n, pixel):
    """One pixel's shadow lies where the exact angle says, however coarse the grid."""
    geometry = FanBeam(turn(8), columns, spacing, sid, sdd, "curved")
    grid = VolumeGrid((n, n), pixel)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        projector = Projector(geometry, grid)
    ys, xs = grid.positions(0), grid.positions(1)
    for j, i in ((n // 2, n // 2), (3, n // 2), (n // 2, n - 4), (n // 4, n // 4)):
        x = np.zeros(grid.shape)
        x[j, i] = 1
        p = projector.forward(x)
        s = xs[i] * np.cos(geometry.angles) + ys[j] * np.sin(geometry.angles)
        d = sid - xs[i] * np.sin(geometry.angles) + ys[j] * np.cos(geometry.angles)
        centre = np.arctan2(s, d) * sdd / spacing + (columns - 1) / 2
        inside = (centre > 40) & (centre < columns - 41)
        assert inside.any()
        mean = (p * np.arange(columns)).sum(1)[inside] / p.sum(1)[inside]
        # the footprint is symmetric about the centre's ray up to the perspective within a pixel
        np.testing.assert_allclose(mean, centre[inside], atol=0.02 * pixel)


def test_stacks_read_no_memory_that_was_not_written():
    """Of freed arrays full of NaN, which a fresh buffer may get."""
    code = (
        "import numpy as np; from spinray.kernels.ct import Projector\n"
        "from spinray.kernels.ct.geometry import ParallelBeam, VolumeGrid\n"
        "a = np.arange(32) * np.pi / 32\n"
        "p = Projector(ParallelBeam(a, 96, 1.0), VolumeGrid((64, 64)))\n"
        "x = np.ones((16, 64, 64), np.float32)\n"
        "for _ in range(20):\n"
        "    junk = [np.full(n, np.nan, np.float32) for n in range(2000, 60000, 500)]\n"
        "    del junk\n"
        "    assert np.isfinite(p.forward(x)).all()\n"
        "    assert np.isfinite(p.adjoint(p.forward(x))).all()\n"
    )
    heap = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
    environment = {**os.environ, **heap, "MALLOC_ARENA_MAX": "1", "NUMBA_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=environment)


def test_any_views_of_a_helix_can_be_kept():
    angles = np.arange(400) * 2 * np.pi / 100
    helix = HelicalBeam(angles, **CONE, pitch=12.0)
    assert len(helix[::8]) == 50
    order = np.random.default_rng(0).permutation(400)
    np.testing.assert_array_equal(helix[order].angles, angles[order])
    with pytest.raises(ValueError, match="no view is left"):
        helix[:0]
    with pytest.raises(ValueError, match="deg2rad"):
        HelicalBeam(np.rad2deg(angles), **CONE, pitch=12.0)
    with pytest.raises(ValueError, match="radians"):  # 1160 views a turn, as scanners take them
        HelicalBeam(np.arange(2320) * 360 / 1160, **CONE, pitch=12.0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_copies_of_a_geometry_stay_frozen(copied):
    geometry = copied(GEOMETRIES["parallel"][0])
    assert geometry == GEOMETRIES["parallel"][0]
    assert not geometry.angles.flags.writeable


def test_negated_views_of_torch_are_taken():
    geometry, grid = GEOMETRIES["parallel"]
    z = torch.complex(torch.zeros(grid.shape), torch.rand(grid.shape))
    projector = Projector(geometry, grid)
    torch.testing.assert_close(projector.forward(z.conj().imag), -projector.forward(z.imag))


@pytest.mark.parametrize("ratio", [40, 1000, 10_000])
def test_pixels_far_wider_than_columns(ratio):
    """A micrometre detector, and a grid whose spacing the user forgot."""
    grid = VolumeGrid((8, 8), 1.0)
    geometry = ParallelBeam([0.0, 0.3], 64, 1 / ratio)
    sinogram = Projector(geometry, grid).forward(np.ones(grid.shape))
    assert np.allclose(sinogram[0], 8.0)
    assert np.allclose(sinogram[1], 8 / np.cos(0.3), rtol=1e-3)
