"""CT from the command line: what is simulated, told and reconstructed, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import spinray as sr
from spinray.recon.cli.main import app


def spinray(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ct")
    for kind in ("parallel", "fan", "helical", "cone"):
        done = spinray(
            "simulate", "ct", folder / f"{kind}.h5", "--geometry", kind, "--views", 40,
            "--columns", 32,
        )  # fmt: skip
        assert done.exit_code == 0, done.exception
    sr.save(sr.datasets.simulate_mr(matrix=16, coils=1), folder / "mr.h5")
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--views", 0), "views must be a positive whole number, got 0"),
        (("--columns", 0), "columns must be a positive whole number, got 0"),
        (("--geometry", "spiral"), "parallel, fan, helical, cone or a CT geometry, got 'spiral'"),
        (("--photons", 0), "photons must lie between 10 and 1e12"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_simulate_refuses(words: tuple[object, ...], message: str, tmp_path: Path) -> None:
    done = spinray("simulate", "ct", tmp_path / "a.h5", *words)
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        (
            "helical",
            ("-m", "fbp"),
            "fbp takes a ParallelBeam or a FanBeam, got a HelicalBeam: wfbp",
        ),
        ("fan", ("-m", "fdk"), "fdk takes a ConeBeam, got a FanBeam: fbp takes it"),
        ("cone", ("-m", "wfbp"), "wfbp takes a HelicalBeam, got a ConeBeam: fdk takes it"),
        ("fan", ("--matrix", "4x16x16"), "--matrix of slices must be like 256x256, got 4x16x16"),
        ("fan", ("--trajectory", "k.npy"), "--trajectory cannot be given for this kind of file"),
        ("fan", ("--encoding", 0), "--encoding cannot be given for this kind of file"),
        ("mr", ("--matrix", "8x8"), "--matrix cannot be given, the file says the image's matrix"),
        ("fan", ("--cutoff", 0), "cutoff must be in (0, 1], a fraction of Nyquist, got 0.0"),
        ("fan", ("--cutoff", 1.5), "cutoff must be in (0, 1], a fraction of Nyquist, got 1.5"),
        ("fan", ("--filter", "ramp"), "filter must be one of ram-lak"),
    ],
)
def test_what_recon_refuses(
    files: Path, tmp_path: Path, file: str, words: tuple[object, ...], message: str
) -> None:
    done = spinray("recon", files / f"{file}.h5", "-o", tmp_path / "a.npy", *words)
    assert isinstance(done.exception, ValueError | TypeError)
    assert message in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["fan", "helical", "cone"])
def test_info_tells_the_grid_that_recon_makes(files: Path, tmp_path: Path, file: str) -> None:
    facts = json.loads(spinray("info", files / f"{file}.h5", "--json").stdout)
    done = spinray("recon", files / f"{file}.h5", "-o", tmp_path / "a.npy")
    assert done.exit_code == 0, done.exception
    shape = np.load(tmp_path / "a.npy").shape
    assert facts["grid"].startswith(f"VolumeGrid({' x '.join(map(str, shape))}, ")
    assert facts["method auto"].startswith({"fan": "fbp", "helical": "wfbp", "cone": "fdk"}[file])


@pytest.mark.parametrize(("method", "file"), [("fbp", "fan"), ("fdk", "cone"), ("wfbp", "helical")])
def test_cutoff_is_an_option_of_every_analytic_method(
    files: Path, tmp_path: Path, method: str, file: str
) -> None:
    scan, images, half = sr.load(files / f"{file}.h5"), [], []
    for cutoff in (1.0, 0.5):
        words = "-o", tmp_path / "a.npy", "--cutoff", cutoff, "--json"
        done = spinray("recon", files / f"{file}.h5", *words)
        made = json.loads(done.stdout)
        assert made["options"]["cutoff"] == cutoff
        half.append(made["mtf50_per_mm"])
        images.append(np.load(tmp_path / "a.npy"))
    assert half[1] < 0.9 * half[0]
    grid = scan.grid if method != "wfbp" else None
    expected = getattr(sr.ct, method)(scan.sinogram, scan.geometry, grid, cutoff=0.5)
    np.testing.assert_allclose(images[1], expected.numpy(), atol=1e-7)
    assert np.abs(images[0] - images[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("file", "words"), [("fan", "20x24"), ("helical", "20x24"), ("cone", "9x20x24")]
)
def test_matrix_sets_the_pixels_over_the_field_of_view(
    files: Path, tmp_path: Path, file: str, words: str
) -> None:
    whole, fine = tmp_path / "whole.nii.gz", tmp_path / "fine.nii.gz"
    for target, more in ((whole, ()), (fine, ("--matrix", words))):
        done = spinray("recon", files / f"{file}.h5", "-o", target, *more)
        assert done.exit_code == 0, done.exception
    one, other = sr.load_image(whole), sr.load_image(fine)
    assert other.data.shape[-2:] == (20, 24)
    extents = [np.multiply(image.data.shape, image.spacing) for image in (one, other)]
    np.testing.assert_allclose(*extents, rtol=1e-5)
    means = [float(image.data.sum()) * np.prod(image.spacing) for image in (one, other)]
    assert means[1] == pytest.approx(means[0], rel=0.03)


def test_a_water_phantom_calibrates_what_is_reconstructed(tmp_path: Path) -> None:
    raw, image, table = (tmp_path / name for name in ("water.h5", "water.nii.gz", "hu.json"))
    spinray("simulate", "ct", raw, "--phantom", "water", "--views", 180, "--columns", 256)
    spinray("recon", raw, "-o", image, "--matrix", "128x128")
    done = spinray("metrics", "water", image, "--calibration", table, "--kvp", 120, "--json")
    assert done.exit_code == 0, done.exception
    assert abs(json.loads(done.stdout)["water"]) < 5
    again = spinray("recon", raw, "-o", tmp_path / "hu.dcm", "--calibration", table)
    assert again.exit_code == 0, again.exception
    spinray("recon", raw, "-o", tmp_path / "water.png")
    refused = spinray("metrics", "water", tmp_path / "water.png")
    assert "grey levels" in str(refused.exception)


def test_convert_says_how_many_files_a_scan_became(files: Path, tmp_path: Path) -> None:
    done = spinray("convert", files / "cone.h5", tmp_path / "p.dcm")
    assert "p_00001.dcm to p_00040.dcm: " in done.output
