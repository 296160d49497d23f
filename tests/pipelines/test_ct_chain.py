"""The chain from readings to a corrected image, as `reconstruct` and the command line offer it."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pydicom
import pytest
import torch
from typer.testing import CliRunner

import spinray as sr
from spinray.datasets import simulate_ct
from spinray.datasets.phantoms import WATER, water_disc
from spinray.recon.cli.main import app
from spinray.recon.metrics import ring_index, water_phantom
from spinray.recon.pipelines.ct_chain import ReadingOptions
from spinray.recon.pipelines.low_dose import at_lower_dose

RUN = CliRunner()
needs_spectra = pytest.mark.usefixtures("spectra")


@pytest.fixture
def spectra() -> None:
    for library in ("xraylib", "spekpy"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra spectra)")


def hounsfield(image: sr.Image) -> torch.Tensor:
    metadata = image.metadata
    return sr.ct.to_hounsfield(image.data, metadata.get("water", WATER), metadata.get("air", 0.0))


# networks take line integrals as they are so far
LEARNED = {"unrolled", "dds", "dps", "diffpir", "daps", "langevin", "pnp", "noise2inverse", "dip"}


def test_every_ct_method_takes_the_corrections() -> None:
    for method in sr.methods("ct"):
        if method.name not in LEARNED:
            assert issubclass(method.options_type, ReadingOptions), method.name


def test_rings_and_bad_pixels() -> None:
    scan = simulate_ct("water", geometry="parallel", views=180, columns=200, photons=1e6, seed=0)
    counts, blank = scan.counts.clone(), scan.blank.clone()
    counts[:, 60::25] *= 1.03  # gains that changed after the blank scan
    blank[:, 88] = 60000.0 * torch.rand(len(blank))  # noisy
    broken = scan.replace(counts=counts, blank=blank)
    index = {}
    for name, options in {
        "raw": {}, "pixels": {"bad_pixels": True}, "rings": {"rings": "sorting"},
        "both": {"bad_pixels": True, "rings": "sorting"},
    }.items():  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tells of the bad pixel
            image = sr.reconstruct(broken, "fbp", **options)
        index[name] = ring_index(hounsfield(image), radius=80)
    assert index["pixels"] < 0.8 * index["raw"]
    assert index["both"] < 0.5 * index["pixels"]
    assert image.metadata["corrections"] == "rings by sorting"
    assert image.metadata["bad_pixels"] >= 1


def test_air_columns_take_the_beams_drift() -> None:
    scan = simulate_ct("water", geometry="parallel", views=120, columns=220, photons=None)
    wide = sr.ParallelBeam(scan.geometry.angles, 220, 1.2)
    truth = torch.from_numpy(water_disc(100).line_integrals(wide)).float()
    drift = 0.2 * torch.rand(120, 1, generator=torch.Generator().manual_seed(0))
    drifting = sr.CTScan(truth + drift, wide)
    clean = sr.reconstruct(sr.CTScan(truth, wide), "fbp").data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of truncation, which air that is not zero looks like
        raw = sr.reconstruct(drifting, "fbp").data
    mended = sr.reconstruct(drifting, "fbp", air=10).data
    assert float((mended - clean).norm()) < 0.01 * float((raw - clean).norm())


@needs_spectra
def test_water_is_even_at_zero_hounsfield_after_beam_hardening_correction() -> None:
    geometry = sr.datasets.simulate.clinical_fan(140, 300, 260)
    beam = sr.ct.tube_spectrum(120)
    length = torch.from_numpy(water_disc(120).line_integrals(geometry)) / WATER
    scan = sr.CTScan(beam.line_integrals({"water": length}).float(), geometry)
    raw, mended = (sr.reconstruct(scan, "fbp", filter="hann", **options)
                   for options in ({}, {"beam_hardening": "120"}))  # fmt: skip
    before, after = (water_phantom(hounsfield(image), image.spacing[0]) for image in (raw, mended))
    assert before.cupping > 15
    assert abs(after.cupping) < 3
    assert abs(after.water) < 3
    assert mended.metadata["kvp"] == 120
    assert mended.metadata["corrections"] == "beam hardening"
    stated = sr.reconstruct(scan, "fbp", beam_hardening="120", water=0.021)
    assert stated.metadata["water"] == 0.021  # what is said goes before what is found
    with pytest.raises(ValueError, match="water must be positive 1/mm, got 0"):
        sr.reconstruct(scan, "fbp", water=0.0)
    with pytest.raises(ValueError, match="MATERIAL=MM"):
        sr.reconstruct(scan, "fbp", beam_hardening="120", filtration="Al6")
    with pytest.raises((ValueError, OSError), match=r"no such|No such"):
        sr.reconstruct(scan, "fbp", beam_hardening="nowhere.csv")


def test_truncated_views_keep_their_grid() -> None:
    scan = simulate_ct("water", geometry="fan", views=200, columns=200, photons=None)
    wide = scan.geometry
    import dataclasses

    narrow = dataclasses.replace(wide, columns=110)
    cut = sr.CTScan(scan.sinogram[:, 45:-45], narrow)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        image = sr.reconstruct(cut, "fbp", truncation=True)
    assert not [w for w in told if "reaches beyond" in str(w.message)]
    assert tuple(image.data.shape) == narrow.default_volume().shape
    middle = hounsfield(image)[40:-40, 40:-40]
    assert abs(float(middle.mean())) < 20


def test_metal_is_reduced_and_put_back() -> None:
    head = sr.datasets.phantoms.head()
    pin = sr.datasets.phantoms.Ellipse(0.5, (20.0, 25.0), (4.0, 4.0))
    phantom = sr.datasets.phantoms.EllipsePhantom("pinned", (*head.shapes, pin))
    scan = simulate_ct(phantom, geometry="fan", views=300, columns=240, photons=2e4, seed=0)
    image = sr.reconstruct(scan, "fbp", metal=3000)
    assert image.metadata["corrections"] == "metal"
    assert float(hounsfield(image).max()) > 5000
    raw = sr.reconstruct(scan, "fbp")
    truth = sr.datasets.reference_image(scan).data
    grid = scan.grid
    y, x = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    near = torch.from_numpy((np.hypot(y - 20, x - 25) > 7) & (np.hypot(y - 20, x - 25) < 25))
    errors = [float((i.data - truth)[near].square().mean().sqrt()) for i in (raw, image)]
    assert errors[1] < 0.7 * errors[0]
    # Nothing is metal at a threshold that nothing exceeds.
    with pytest.warns(UserWarning, match="no metal was reduced"):
        same = sr.reconstruct(scan, "fbp", metal=1e6)
    torch.testing.assert_close(same.data, raw.data)


def test_kernel_and_calibration_reach_dicom(tmp_path) -> None:
    scan = simulate_ct("water", geometry="fan", views=200, columns=200, photons=None)
    scan = scan.replace(header={"kvp": 100.0})
    sr.ct.HounsfieldCalibration({100.0: (0.0198, 0.0003), 120.0: (0.019, 0.0)}).save(
        tmp_path / "hu.json"
    )
    image = sr.reconstruct(scan, "fbp", filter="mtf50=0.30", calibration=str(tmp_path / "hu.json"))
    assert image.metadata["water"] == 0.0198
    assert image.metadata["mtf50_per_mm"] == pytest.approx(0.30, abs=0.01)
    image.save(tmp_path / "water.dcm")
    d = pydicom.dcmread(tmp_path / "water.dcm")
    assert d.RescaleType == "HU"
    assert float(d.KVP) == 100
    assert list(d.ConvolutionKernel) == ["MTF50=0.30", "MTF50 0.3/mm"]
    again = sr.load_image(tmp_path / "water.dcm")
    n = again.data.shape[-1] // 2
    expected = 1000 * (WATER - 0.0198) / (0.0198 - 0.0003)
    middle = again.data[n - 20 : n + 20, n - 20 : n + 20]
    assert float(middle.mean()) == pytest.approx(expected, abs=2)
    calibration = str(tmp_path / "hu.json")
    with pytest.raises(ValueError, match="no calibration for 80 kVp"):
        sr.reconstruct(scan.replace(header={"kvp": 80}), "fbp", calibration=calibration)
    with pytest.raises(ValueError, match="not both"):
        sr.reconstruct(scan, "fbp", calibration=calibration, water=0.02)


def test_options_that_do_not_suit() -> None:
    lines = simulate_ct("water", geometry="fan", views=60, columns=60, photons=None)
    for options, message in (
        ({"bad_pixels": True}, "line integrals only"),
        ({"scatter": "much"}, "AMPLITUDE,WIDTH"),
        ({"air": 40}, "air columns must be 1 to 15"),
        ({"rings": "magic"}, "rings must be"),
        ({"filter": "magic"}, "filter must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            sr.reconstruct(lines, "fbp", **options)


def test_command_line_from_readings_to_figures(tmp_path) -> None:
    scan = simulate_ct("water", geometry="fan", views=200, columns=200, photons=3e5, seed=0)
    sr.save(scan, tmp_path / "scan.h5")
    raw, image = str(tmp_path / "scan.h5"), str(tmp_path / "water.h5")
    made = RUN.invoke(app, ["recon", raw, "-o", image, "--filter", "mtf50=0.3", "--air", "3"])
    assert made.exit_code == 0, made.output
    found = RUN.invoke(app, ["metrics", "water", image, "--json", "--kvp", "120",
                             "--calibration", str(tmp_path / "hu.json")])  # fmt: skip
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert abs(figures["water"]) < 3
    assert figures["radius"] == pytest.approx(100, rel=0.02)
    water, air = sr.ct.HounsfieldCalibration.load(tmp_path / "hu.json").at(120)
    assert water == pytest.approx(WATER, rel=0.003)
    assert abs(air) < 2e-4
    values = sr.load_image(image).data
    dense = torch.where(values > 0.5 * WATER, 1.7 * values, 0.0)
    sr.Image(dense, metadata={"modality": "CT"}).save(tmp_path / "bone.h5")
    refused = RUN.invoke(app, ["metrics", "water", str(tmp_path / "bone.h5"), "--kvp", "80",
                               "--calibration", str(tmp_path / "hu.json")])  # fmt: skip
    assert "water attenuates" in str(refused.exception)
    for command in (
        ["nps", image, "--size", "32", "--radius", "0,70"],
        ["mtf", image, "--disc", "100,100,100"],
        ["contrast", image, "--roi", "80,100,8", "--background", "120,100,12"],
        ["rings", image],
        ["detect", image, "--diameter", "5", "--contrast", "10", "--disc", "100,100,100",
         "--noise", "0,70"],
    ):  # fmt: skip
        shown = RUN.invoke(app, ["metrics", *command])
        assert shown.exit_code == 0, (command, shown.output)
        assert ":" in shown.stdout


def test_command_line_lowers_the_dose(tmp_path) -> None:
    scan = simulate_ct("water", geometry="fan", views=150, columns=200, photons=1e5, seed=0)
    sr.save(scan, tmp_path / "scan.h5")
    low = tmp_path / "low.h5"
    made = RUN.invoke(
        app, ["simulate", "low-dose", str(tmp_path / "scan.h5"), str(low), "--dose", "0.1"]
    )
    assert made.exit_code == 0, made.output
    noise = [float(sr.load(path).sinogram[:, 1:4].std()) for path in (tmp_path / "scan.h5", low)]
    assert noise[1] / noise[0] == pytest.approx(10**0.5, rel=0.1)
    unknown = sr.CTScan(scan.sinogram, scan.geometry)
    with pytest.raises(ValueError, match="dose of this scan is not known"):
        at_lower_dose(unknown, 0.5)
