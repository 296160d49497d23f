from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage

from spinray.benchmarks.ct_phantoms import HEAD, image_of, line_integrals_of
from spinray.kernels.ct.geometry import (
    ConeBeam,
    FanBeam,
    HelicalBeam,
    ModularBeam,
    ParallelBeam,
    VolumeGrid,
)
from spinray.recon import ct

N = 512
GRID = VolumeGrid((N, N), 240 / N)
DISC = [(0.0193, 7.0, -11.0, 80.0, 80.0, 0.0)]


def turn(views, span=2 * np.pi):
    return np.arange(views) * span / views + 0.05


def fan(detector, **changes):
    settings = {"columns": 880, "column_spacing": 0.62, "source_to_isocenter": 595.0}
    settings |= {"source_to_detector": 1085.6, "detector": detector, "column_offset": 0.25}
    return FanBeam(**(settings | {"angles": turn(720)} | changes))


GEOMETRIES = {
    "parallel 180": ParallelBeam(turn(720, np.pi), 736, 0.4),
    "parallel 360": ParallelBeam(turn(720), 736, 0.4, 0.25),
    "parallel offset": ParallelBeam(turn(1440), 500, 0.4, -170.0),
    "parallel uneven": ParallelBeam(
        (np.arange(1000) + np.random.default_rng(0).random(1000)) * np.pi / 1000, 736, 0.4
    ),
    "fan flat": fan("flat"),
    "fan curved": fan("curved"),
    "fan short": fan("curved", angles=turn(720, np.deg2rad(215))),
    "fan short flat": fan("flat", angles=-turn(720, np.deg2rad(212))),
    "fan offset": fan("flat", columns=560, column_offset=-170.0, angles=turn(1440)),
}


@pytest.fixture(scope="module")
def head():
    image = image_of(HEAD, GRID, 4)
    y, x = GRID.positions(0)[:, None], GRID.positions(1)
    span = ndimage.maximum_filter(image, 13) - ndimage.minimum_filter(image, 13)
    return image, (span < 1e-9) & (np.hypot(x, y) < 120)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_flat_regions_of_a_head(name, head):
    image, flat = head
    geometry = GEOMETRIES[name]
    sinogram = torch.from_numpy(line_integrals_of(HEAD, geometry))
    result = ct.fbp(sinogram, geometry, GRID).numpy()
    inside = flat & (image > 0.01)
    contrast = np.ptp(image)
    error = np.sqrt(np.mean((result - image)[inside] ** 2)) / contrast
    everywhere = np.sqrt(np.mean((result - image)[flat] ** 2)) / contrast
    assert error < 0.003
    assert everywhere < 0.01


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("filter_name", ["ram-lak", "hann"])
def test_water_disc_mean(name, filter_name):
    geometry = GEOMETRIES[name]
    grid = VolumeGrid((256, 256), 240 / 256)
    sinogram = torch.from_numpy(line_integrals_of(DISC, geometry))
    result = ct.fbp(sinogram, geometry, grid, filter=filter_name).numpy()
    y, x = grid.positions(0)[:, None], grid.positions(1)
    center = np.hypot(x - 7, y + 11) < 0.8 * 80
    assert abs(result[center].mean() / 0.0193 - 1) < 1e-3


@pytest.mark.parametrize("name", ["parallel 180", "fan flat", "fan curved"])
def test_pixels_far_finer_than_columns(name):
    """Every fifth pixel of a fine grid is a pixel of the coarse one, wherever its tile begins."""
    geometry = GEOMETRIES[name][::8]
    sinogram = torch.from_numpy(line_integrals_of(DISC, geometry))
    coarse = ct.fbp(sinogram, geometry, VolumeGrid((21, 21), 0.5, (20.0, 40.0)))
    fine = ct.fbp(sinogram, geometry, VolumeGrid((105, 105), 0.1, (20.0, 40.0)))
    torch.testing.assert_close(fine[2::5, 2::5], coarse, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_fdk_water_cylinder(detector):
    ball = [(0.0193, 5.0, -4.0, 2.0, 60.0, 50.0, 45.0)]
    geometry = ConeBeam(turn(180), 96, 256, 2.4, 1.2, 500.0, 900.0, detector, 0.5, 0.25)
    sinogram = torch.from_numpy(line_integrals_of(ball, geometry)).float()
    grid = VolumeGrid((21, 100, 100), (4.0, 1.4, 1.4), (0.0, -4.0, 5.0))
    volume = ct.fdk(sinogram, geometry, grid).numpy()
    z, y, x = (grid.positions(a) for a in range(3))
    r = np.hypot(np.hypot((x - 5) / 60, (y[:, None] + 4) / 50), (z[:, None, None] - 2) / 45)
    orbit = np.abs(z) < 8  # exact in the plane of the orbit, approximate above
    assert abs(volume[orbit][r[orbit] < 0.8].mean() / 0.0193 - 1) < 1e-3
    assert abs(volume[r < 0.8].mean() / 0.0193 - 1) < 4e-3
    air = volume[orbit][(r[orbit] > 1.15)]
    assert np.abs(air).mean() < 1e-3


@pytest.mark.filterwarnings("ignore:the object reaches")
def test_stacks_and_dtypes():
    geometry = ParallelBeam(turn(40, np.pi), 60)
    sinogram = torch.rand(2, 3, 40, 60)
    result = ct.fbp(sinogram, geometry)
    assert result.shape == (2, 3, 60, 60)
    assert result.dtype == torch.float32
    double = ct.fbp(sinogram[1, 2].double(), geometry)
    torch.testing.assert_close(result[1, 2].double(), double, atol=1e-5, rtol=1e-4)


def test_tooth_agrees_with_scikit_image(data_dir):
    h5py = pytest.importorskip("h5py")
    transform = pytest.importorskip("skimage.transform")
    with h5py.File(data_dir / "ct_raw" / "tooth.h5") as file:
        names = ("data", "data_white", "data_dark")
        data, white, dark = (torch.from_numpy(file[f"exchange/{name}"][:]) for name in names)
        angles = np.deg2rad(file["exchange/theta"][:])
    sinogram = ct.line_integrals(data, white, dark).movedim(1, 0)
    center = ct.center_of_rotation(sinogram, angles)
    assert abs(ct.center_of_rotation(sinogram[0], angles) - center) < 0.05
    # scikit-image turns about column 320 of 640 and counts y downwards.
    centered = ndimage.shift(sinogram[0].numpy(), (0, 320 - center), order=3, mode="nearest")
    reference = transform.iradon(centered.T, np.rad2deg(angles), filter_name="ramp")[::-1]
    geometry = ParallelBeam(angles, 640, column_offset=-0.5)
    grid = VolumeGrid((640, 640), center=(0.5, -0.5))
    result = ct.fbp(torch.from_numpy(centered), geometry, grid).numpy()
    circle = np.hypot(grid.positions(0)[:, None], grid.positions(1)) < 310
    assert np.corrcoef(reference[circle], result[circle])[0, 1] > 0.995
    scale = (reference[circle] * result[circle]).sum() / (result[circle] ** 2).sum()
    assert abs(scale - 1) < 0.01

    # The axis by eye's other measure: a wrong axis smears edges, the right one has most of them.
    def sharpness(c):
        geometry = ParallelBeam(angles, 640, column_offset=319.5 - c)
        image = ct.fbp(sinogram[0], geometry, VolumeGrid((640, 640)), filter="hann").numpy()
        return np.abs(ndimage.gaussian_gradient_magnitude(image, 2)).std()

    trial = center + np.arange(-2, 2.25, 0.5)
    assert abs(trial[np.argmax([sharpness(c) for c in trial])] - center) <= 0.5


def test_filters_have_the_right_mean():
    for name in ("ram-lak", "shepp-logan", "cosine", "hamming", "hann"):
        response = ct.ramp_filter(1024, 0.5, name)
        assert 0 < response[0] < 1e-3  # a ramp sampled in frequency would have exactly 0 here
        np.testing.assert_allclose(response[8], 8 / 1024 / 0.5, rtol=0.01)
    cut = ct.ramp_filter(1024, 0.5, "hann", cutoff=0.5)
    assert not cut[258:].any()


def test_clear_errors():
    geometry = ParallelBeam(turn(40, np.pi), 60)
    with pytest.raises(ValueError, match="sinogram has shape"):
        ct.fbp(torch.zeros(60, 40), geometry)
    with pytest.raises(ValueError, match=r"sinogram has shape \(0, 40, 60\)"):
        ct.fbp(torch.zeros(0, 40, 60), geometry)
    with pytest.raises(TypeError, match="memory_limit is a whole number of bytes, got '1GB'"):
        ct.fbp(torch.zeros(40, 60), geometry, memory_limit="1GB")
    with pytest.raises(ValueError, match="filter must be one of"):
        ct.fbp(torch.zeros(40, 60), geometry, filter="ramp")
    with pytest.raises(ValueError, match="180° plus the fan angle"):
        ct.fbp(torch.zeros(720, 880), fan("flat", angles=turn(720, 3.0)))
    with pytest.raises(ValueError, match="sinogram has 2400 values that are NaN"):
        ct.fbp(torch.full((40, 60), torch.nan), geometry)
    with pytest.warns(UserWarning, match="beyond the detector's edge"):
        ct.fbp(torch.ones(40, 60), geometry)


def test_arrays_of_any_memory_are_taken():
    geometry = ParallelBeam(turn(40, np.pi), 60)
    rng = np.random.default_rng(0)
    sinogram = rng.random(geometry.shape)
    sinogram[:, [0, -1]] = 0
    expected = ct.fbp(torch.from_numpy(sinogram), geometry)
    frozen = sinogram.copy()
    frozen.flags.writeable = False
    for given in (
        frozen,
        np.asfortranarray(sinogram),
        np.ascontiguousarray(sinogram[:, ::-1])[:, ::-1],
        torch.from_numpy(np.ascontiguousarray(sinogram.T)).T,
    ):
        torch.testing.assert_close(ct.fbp(given, geometry), expected)


def test_each_analytic_method_names_the_one_to_take():
    cone = ConeBeam(turn(2), 3, 4, 1.0, 1.0, 50.0, 90.0)
    helix = HelicalBeam(turn(2), 3, 4, 1.0, 1.0, 50.0, 90.0, pitch=1.0)
    modular = ModularBeam([[0, -9, 0]], [[0, 9, 0]], [[0, 0, 1]], [[1, 0, 0]], 3, 4)
    for call, geometry, message in (
        (ct.fbp, cone, "fbp takes a ParallelBeam or a FanBeam, got a ConeBeam: fdk takes it"),
        (ct.fbp, helix, "got a HelicalBeam: wfbp takes it"),
        (ct.fdk, helix, "fdk takes a ConeBeam, got a HelicalBeam: wfbp takes it"),
        (ct.fdk, fan("flat"), "got a FanBeam: fbp takes it"),
        (ct.wfbp, modular, "wfbp takes a HelicalBeam, got a ModularBeam: sirt or tv takes it"),
        (ct.fbp, GRID, "got a VolumeGrid$"),
    ):
        with pytest.raises(TypeError, match=message):
            call(torch.zeros(2, 3, 4), geometry)


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_fdk_of_a_cylinder_that_ends_one_column_before_the_detector(detector):
    """The last column is read up to its outer edge: without it, its light stays in the air."""
    geometry = ConeBeam(turn(180), 5, 64, 2.4, 2.4, 500.0, 900.0, detector)
    radius = geometry.field_radius
    grid = VolumeGrid((1, 160, 160), 2.2 * radius / 160)
    edge = radius - 2.4 / geometry.magnification
    cylinder = [(0.02, 0.0, 0.0, 0.0, edge, edge, 1e6)]
    sinogram = torch.from_numpy(line_integrals_of(cylinder, geometry, cells=8))
    image = ct.fdk(sinogram, geometry, grid)[0].numpy()
    r = np.hypot(grid.positions(1)[:, None], grid.positions(2))
    assert image[r < 0.9 * radius].mean() == pytest.approx(0.02, rel=2e-3)
    assert abs(image[(r > 0.98 * radius) & (r < radius)].mean()) < 0.004  # 0.007 without


def test_offset_detector_needs_a_full_turn():
    angles = np.arange(300) * np.deg2rad(1.0)
    geometry = FanBeam(angles, 560, 1.0, 595.0, 1085.6, "curved", -170.0)
    with pytest.raises(ValueError, match="needs a full turn"):
        ct.fbp(torch.zeros(geometry.shape), geometry)


def test_parallel_views_of_a_quarter_turn_are_warned_of():
    geometry = ParallelBeam(np.arange(90) * np.deg2rad(1.0), 64)
    with pytest.warns(UserWarning, match="cover 90.0°, a parallel beam needs 180°"):
        ct.fbp(torch.zeros(geometry.shape), geometry)


def test_no_gradient_is_lost_without_a_word():
    geometry = ParallelBeam(np.arange(90) * np.pi / 90, 64)
    with pytest.raises(ValueError, match="requires a gradient, which a kernel would lose"):
        ct.fbp(torch.zeros(geometry.shape, requires_grad=True), geometry)


def _cylinder(geometry, radius=80.0):
    sinogram = line_integrals_of([(0.02, 0.0, 0.0, radius, radius, 0.0)], geometry, cells=8)
    return torch.from_numpy(sinogram)


def _mean(image, grid, radius):
    y, x = grid.positions(0)[:, None], grid.positions(1)
    return float(image.numpy()[np.hypot(x, y) < radius].mean())


@pytest.mark.parametrize("gap", [5, 30, 60])
def test_views_missing_from_a_turn_are_a_short_scan(gap):
    angles = np.deg2rad(np.r_[0:100, 100 + gap : 360])
    geometry = FanBeam(angles, 256, 1.4, 500.0, 800.0)
    grid = VolumeGrid((128, 128), 1.4)
    image = ct.fbp(_cylinder(geometry), geometry, grid)
    assert _mean(image, grid, 64) == pytest.approx(0.02, rel=1e-3)


def test_views_missing_from_a_half_fan_are_refused():
    angles = np.deg2rad(np.r_[0:100, 110:360])
    geometry = FanBeam(angles, 170, 1.4, 500.0, 800.0, "flat", 60.0)
    with pytest.raises(ValueError, match="needs a full turn"):
        ct.fbp(_cylinder(geometry), geometry)


@pytest.mark.parametrize("offset", [2.0, 3.3, 5.0, 8.0])
@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_small_offsets_are_weighted_to_the_edge(kind, offset):
    """The object reaches past the narrow edge: rays there were measured from one side only."""
    turn = np.arange(360) * np.deg2rad(1.0)
    geometry = (
        ParallelBeam(turn, 256, 0.8, offset)
        if kind == "parallel"
        else FanBeam(turn, 256, 1.28, 500.0, 800.0, "curved", offset)
    )
    grid = VolumeGrid((160, 160), 1.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = ct.fbp(_cylinder(geometry, 101.0), geometry, grid).numpy()
    y, x = grid.positions(0)[:, None], grid.positions(1)
    for radius in (50, 80, 90):
        ring = np.abs(np.hypot(x, y) - radius) < 2
        assert image[ring].mean() == pytest.approx(0.02, rel=1.5e-3)


def test_parallel_detector_shifted_to_one_side_needs_a_full_turn():
    geometry = ParallelBeam(np.arange(180) * np.deg2rad(1.0), 180, 0.8, 50.0)
    with pytest.raises(ValueError, match="needs a full turn"):
        ct.fbp(_cylinder(geometry), geometry)
