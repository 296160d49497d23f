"""Iterative CT methods end to end: all on a fan, some on other beams, a helix from a file."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.datasets import reference_image, simulate_ct
from spinray.datasets.phantoms import WATER
from spinray.recon.pipelines.ct_chain import ReadingOptions, prepared_readings
from spinray.recon.pipelines.low_dose import at_lower_dose
from spinray.recon.pipelines.scan_noise import photons_of

METHODS = ("sirt", "sart", "os-sart", "cgls", "lsqr", "mlem", "osem", "pwls", "mltr", "tv", "tgv")


@pytest.fixture(scope="module")
def fan() -> sr.CTScan:
    return simulate_ct(geometry="fan", views=90, columns=96, photons=3e4, seed=0)


def rmse(image: sr.Image, truth: torch.Tensor) -> float:
    return float((image.data - truth).square().mean().sqrt())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_beats_fbp_and_says_how_it_went(fan, name) -> None:
    truth = reference_image(fan).data
    fbp = rmse(sr.reconstruct(fan, "fbp"), truth)
    image = sr.reconstruct(fan, name)
    assert rmse(image, truth) < 0.8 * fbp
    convergence = image.metadata["convergence"]
    assert convergence["iterations"] >= 1
    assert 0 <= convergence["change"] < 0.1
    assert convergence["start"] == ("analytic image" if name in METHODS[-4:] else "zero")


def test_stopping_rules_stop(fan) -> None:
    few = sr.reconstruct(fan, "cgls", stop="noise").metadata["convergence"]
    assert few["iterations"] < 30
    even = sr.reconstruct(fan, "cgls", stop="noise", weighted=False).metadata["convergence"]
    assert even["iterations"] < 30
    loose = sr.reconstruct(fan, "pwls", tolerance=1e-2).metadata["convergence"]
    full = sr.reconstruct(fan, "pwls").metadata["convergence"]
    assert loose["iterations"] < full["iterations"]
    assert loose["change"] < 1e-2


def test_circle_masks_and_subsets_are_chosen(fan) -> None:
    grid = sr.VolumeGrid((60, 60), (6.0, 6.0))
    for name in ("pwls", "tv", "osem", "os-sart"):
        image = sr.reconstruct(fan, name, volume=grid, circle=True, subsets=3, iterations=2)
        assert float(image.data[0, 0]) == 0
        assert float(image.data[30, 30]) > 0
        assert image.metadata["convergence"]["subsets"] == 3
    with pytest.raises(ValueError, match="subsets must be 1 to the number of views, 90, got 91"):
        sr.reconstruct(fan, "pwls", subsets=91)


def test_photons_are_told_by_readings_noise_or_the_user(fan) -> None:
    read = photons_of(fan)
    assert read.source == "frames of the blank scan"
    assert float(read.blank.mean()) == pytest.approx(3e4, rel=0.05)
    assert read.electronic_noise == pytest.approx(5, rel=0.2)
    # inverse variances: of 90 x 96 residuals against the truth, the mean square is one
    clean = simulate_ct(geometry="fan", views=90, columns=96, photons=None)
    score = read.weights * (fan.sinogram - clean.sinogram).square()
    assert float(score.mean()) == pytest.approx(1, rel=0.05)
    bare = sr.CTScan(fan.sinogram, fan.geometry)
    guessed = photons_of(bare)
    assert guessed.source == "noise of the line integrals"
    assert 1.2e4 < float(guessed.blank) < 6e4  # columns of 4 mm see the edges as noise
    assert float(photons_of(bare, 1e5).blank) == 1e5
    with pytest.raises(ValueError, match="photons must be above 0"):
        photons_of(bare, 0.0)


def test_a_dead_pixel_weighs_nothing(fan) -> None:
    blank, counts = fan.blank.clone(), fan.counts.clone()
    blank[:, 40] = fan.dark[:, 40]
    counts[:, 40] = fan.dark[:, 40].mean()
    with pytest.warns(UserWarning, match="are dead"):
        scan = fan.replace(counts=counts, blank=blank, dark=fan.dark)
    weights = photons_of(scan).weights
    assert float(weights[:, 40].max()) <= 1e-3 * float(weights.max())
    assert float(weights[:, 39].min()) > 0


@pytest.mark.parametrize("method", ["pwls", "mltr"])
def test_bad_pixels_weigh_nothing(fan, method) -> None:
    """A column that is stuck: its readings are no data, neither its line integrals' nor photons."""
    counts = fan.counts.clone()
    counts[:, 60] = 0.5 * fan.blank.mean()
    stuck = fan.replace(counts=counts, blank=fan.blank, dark=fan.dark)
    truth = reference_image(fan).data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tells of the bad pixel
        mended = sr.reconstruct(stuck, method, bad_pixels=True)
    whole, raw = sr.reconstruct(fan, method), sr.reconstruct(stuck, method)
    assert rmse(raw, truth) > 1.2 * rmse(whole, truth)
    assert rmse(mended, truth) < 1.03 * rmse(whole, truth)


def test_mltr_takes_the_electronics_for_shifted_photons(fan) -> None:
    image = sr.reconstruct(fan, "mltr", iterations=2, start="zero").data
    A, read = sr.XRayTransform(fan.geometry, fan.grid), photons_of(fan)
    variance = read.electronic_noise**2
    assert variance > 10
    expected = sr.ct.mltr(A, read.counts + variance, read.blank, background=variance, iterations=2)
    torch.testing.assert_close(image, expected)


def test_corrected_line_integrals_keep_the_photons_of_their_readings(fan) -> None:
    image = sr.reconstruct(fan, "pwls", iterations=2, air=3, rings="sorting")
    assert image.metadata["convergence"]["photons_by"] == "frames of the blank scan"
    corrected, _ = prepared_readings(fan, ReadingOptions(air=3))
    read, kept = photons_of(fan), photons_of(corrected)
    assert kept.electronic_noise == read.electronic_noise > 0
    torch.testing.assert_close(kept.blank, read.blank)
    clear = read.counts > 300
    torch.testing.assert_close(kept.counts[clear], read.counts[clear], rtol=0.1, atol=0)
    beyond, _ = prepared_readings(fan, ReadingOptions(air=3, truncation=True))
    assert beyond.photons is None or beyond.photons.shape[-1] == beyond.geometry.columns
    low = at_lower_dose(fan, 0.1, seed=0)
    torch.testing.assert_close(photons_of(low).blank, 0.1 * read.blank)
    assert photons_of(low).electronic_noise == read.electronic_noise


def test_stacks_are_solved_together(fan) -> None:
    stack = sr.CTScan(torch.stack([fan.sinogram, fan.sinogram]), fan.geometry)
    image = sr.reconstruct(stack, "pwls", iterations=3, photons=3e4)
    one = sr.reconstruct(sr.CTScan(fan.sinogram, fan.geometry), "pwls", iterations=3, photons=3e4)
    assert tuple(image.data.shape) == (2, *one.data.shape)
    torch.testing.assert_close(image.data[1], one.data, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["os-sart", "cgls", "osem", "pwls", "tv", "tgv"])
def test_modular_and_cone_beams_take_the_same_methods(name) -> None:
    cone = simulate_ct(geometry="cone", views=24, columns=24, photons=1e5, seed=0)
    angles = np.arange(24) * 2 * np.pi / 24
    sine, cosine, zero = np.sin(angles), np.cos(angles), np.zeros(24)
    modular = sr.ModularBeam(
        source=np.stack([100 * sine, -100 * cosine, zero], 1),
        detector_center=np.stack([-60 * sine, 60 * cosine, zero], 1),
        row_vector=np.stack([zero, zero, zero + 2], 1),
        column_vector=2 * np.stack([cosine, sine, zero], 1), rows=8, columns=24,
    )  # fmt: skip
    grid = sr.VolumeGrid((6, 12, 12), (2.0, 2.0, 2.0))
    box = torch.zeros(grid.shape)
    box[1:5, 3:9, 4:10] = 0.02
    other = sr.CTScan(sr.XRayTransform(modular, grid)(box), modular, volume=grid)
    image = sr.reconstruct(other, name)
    assert rmse(image, box) < 0.35 * float(box.square().mean().sqrt())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = sr.reconstruct(cone, name, iterations=2)
    assert bool(torch.isfinite(volume.data).all())


@pytest.mark.parametrize("name", ["pwls", "tv"])
def test_helix_from_file_to_image(tmp_path, name) -> None:
    """Curved rows on a helix, written and read back, reconstructed directly, nothing rebinned."""
    scan = simulate_ct(geometry="helical", views=60, columns=48, photons=2e4, seed=0)
    sr.save(scan, tmp_path / "helix.h5")
    loaded = sr.load(tmp_path / "helix.h5")
    grid = sr.VolumeGrid((20, 40, 40), (2.4, 6.0, 6.0))
    truth = scan.header["phantom"].image(grid, subsamples=4)
    inside = slice(6, 14)  # heights that all turns cover
    options = {"weight": "auto"} if name == "tv" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heights beyond the helix
        image = sr.reconstruct(loaded, name, volume=grid, **options)
    assert image.metadata["convergence"]["start"] == "analytic image"
    brain = np.zeros(truth.shape, bool)
    brain[inside] = np.abs(truth[inside] / WATER - 1.038) < 0.02
    assert abs(image.data.numpy()[brain].mean() / truth[brain].mean() - 1) < 0.01


def test_an_object_that_the_volume_cuts_is_told() -> None:
    cone = simulate_ct(geometry="cone", views=30, columns=48, photons=None)
    grid = cone.grid
    low = sr.VolumeGrid((grid.shape[0] // 3, *grid.shape[1:]), grid.spacing)
    fan = simulate_ct("water", views=30, columns=64, photons=1e4)
    small = sr.VolumeGrid((20, 20), 5.0)
    for scan, volume in ((cone, low), (fan, small)):
        with pytest.warns(UserWarning, match="reaches beyond the volume of"):
            sr.reconstruct(scan, "pwls", volume=volume, iterations=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sr.reconstruct(fan, "pwls", iterations=1)
