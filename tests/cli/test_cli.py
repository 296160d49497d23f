"""The command line as a user meets it: outputs, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import image_files
import nibabel
import numpy as np
import pydicom
import pytest
import raw_files
import torch

import spinray as sr


def spinray(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spinray", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """One raw file of each kind, made by the command line itself, and a BART pair."""
    folder = tmp_path_factory.mktemp("raw")
    for words in (
        ("mr", folder / "mr.h5", "--matrix", 48, "--coils", 4, "--acceleration", 2, "--snr", 50),
        ("mr", folder / "spiral.h5", "--matrix", 48, "--coils", 4, "--trajectory", "spiral"),
        ("ct", folder / "ct.h5", "--views", 60, "--columns", 64),
    ):
        done = spinray("simulate", *words)
        assert done.returncode == 0, done.stderr
    sr.save(sr.MRScan(torch.ones(1, 8, 8, dtype=torch.complex64)), folder / "bart.cfl")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("info",),
        ("convert",),
        ("recon",),
        ("evaluate",),
        ("simulate", "mr"),
        ("simulate", "ct"),
        ("methods",),
        ("demo",),
        ("view",),
        ("bench",),
    ],
)
def test_help_teaches_with_an_example(words: tuple[str, ...]) -> None:
    done = spinray(*words, "--help")
    assert done.returncode == 0
    assert "spinray" in done.stdout
    if words:
        assert "Example" in done.stdout


def test_info_reads_like_a_protocol(files: Path) -> None:
    text = spinray("info", files / "mr.h5").stdout
    for words in (
        "48 x 48",
        "coils  ",
        "undersampled",
        "field of view",
        "method auto",
        "l1-wavelet",
    ):
        assert words in text
    facts = json.loads(spinray("info", files / "ct.h5", "--json").stdout)
    assert facts["views"] == 60
    assert facts["detector"] == [64]


def test_info_keeps_what_it_found_and_leaves_out_the_xml(files: Path) -> None:
    """The file's header says "spiral" of the trajectory, and holds its XML."""
    header = sr.load(files / "spiral.h5").header
    assert header["trajectory"] == "spiral"
    assert "xml" in header
    text = spinray("info", files / "spiral.h5").stdout
    assert "2D spiral, 16 interleaves" in text
    assert "<" not in text
    facts = json.loads(spinray("info", files / "spiral.h5", "--json").stdout)
    assert facts["trajectory"].startswith("2D spiral, 16 interleaves")
    assert "xml" not in facts
    assert facts["format"] == header["format"]


def test_info_system_is_honest_about_the_gpu() -> None:
    facts = json.loads(spinray("info", "--system", "--json").stdout)
    assert facts["spinray"] == sr.__version__
    assert "CUDA kernels" in facts["gpu kernels"]


def test_recon_writes_an_image_and_says_how(files: Path, tmp_path: Path) -> None:
    done = spinray("recon", files / "mr.h5", "-o", tmp_path / "a.nii.gz", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["method"] == "l1-wavelet"
    assert nibabel.load(tmp_path / "a.nii.gz").shape[:2] == (48, 48)
    assert "\x1b" not in done.stderr  # no progress bar into a pipe


def test_recon_takes_options_of_the_method(files: Path, tmp_path: Path) -> None:
    target = tmp_path / "ct.npy"
    done = spinray(
        "recon", files / "ct.h5", "-o", target, "-m", "sirt", "--iterations", 3, "--json"
    )
    assert json.loads(done.stdout)["options"]["iterations"] == 3
    assert np.load(target).ndim == 2
    other = spinray("recon", files / "ct.h5", "-o", target, "-m", "fbp", "--filter=hann", "--json")
    options = json.loads(other.stdout)["options"]
    assert (options["filter"], options["cutoff"]) == ("hann", 1.0)


def test_recon_of_several_files_goes_to_a_folder(files: Path, tmp_path: Path) -> None:
    done = spinray("recon", files / "mr.h5", files / "ct.h5", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"mr.nii.gz", "ct.nii.gz"}


def test_methods_lists_options() -> None:
    text = spinray("methods", "tv").stdout
    assert "tv (ct)" in text
    assert "weight=" in text
    listed = json.loads(spinray("methods", "--json").stdout)
    assert {m["name"] for m in listed} == {m.name for m in sr.methods()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("recon", "missing.h5"), "missing.h5"),
        (("info", "text.txt"), "text.txt"),
        (("info", "empty"), "empty"),
        (("recon", "mr.h5", "-m", "l1-wavelets"), "did you mean 'l1-wavelet'"),
        (("recon", "mr.h5", "-m", "sense", "--filter", "hann"), "option of fbp"),
        (("recon", "mr.h5", "-m", "sense", "--iterations", "many"), "whole number"),
        (("recon", "mr.h5", "-m", "sense", "--iterations"), "needs a value"),
        (("recon", "mr.h5", "-o", "nowhere/a.nii.gz"), "nowhere"),
        (("recon", "mr.h5", "-o", "a.jpeg"), ".nii.gz"),
        (("recon", "cut.h5", "-o", "a.npy"), "cut.h5"),
        (("recon", "mr.h5", "-o", "mr.h5"), "mr.h5: is raw data"),
        (("recon", "mr.h5", "-o", "link.h5"), "link.h5: is raw data"),
        (("recon", "cut.h5", "mr.h5", "-o", "mr.h5"), "existing folder"),
        (("recon", "bart.cfl", "-o", "bart.hdr"), "bart.hdr: is raw data"),
        (("recon", "bart.hdr", "-o", "bart.cfl"), "bart.cfl: is raw data"),
        (("recon", "bart", "-o", "bart.cfl"), "bart.cfl: is raw data"),
        (("recon", "folder", "-o", "folder/mr.h5"), "folder/mr.h5: is raw data"),
        (("recon", "bart", "--trajectory", "k.npy", "-o", "k.npy"), "k.npy: is raw data"),
        (("recon", "mr.h5", "-o", "a.npy", "--device", "gpu0"), "--device gpu0"),
        (("simulate", "mr", "nowhere/a.h5"), "nowhere"),
        (("simulate", "mr", "b.h5", "--trajectory", "rosette"), "rosette"),
        (("methods", "magic"), "magic"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(
    files: Path, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "text.txt").write_text("no scan here\n" * 50)
    (tmp_path / "empty").mkdir()
    whole = (files / "mr.h5").read_bytes()
    (tmp_path / "mr.h5").write_bytes(whole)
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "link.h5").symlink_to("mr.h5")
    (tmp_path / "folder").mkdir()
    for name, source in (("folder/mr.h5", "mr.h5"), ("bart.cfl",) * 2, ("bart.hdr",) * 2):
        (tmp_path / name).write_bytes((files / source).read_bytes())
    np.save(tmp_path / "k.npy", np.zeros((4, 2)))
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = spinray(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert expected in done.stderr
    after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert after == before
    assert (tmp_path / "link.h5").is_symlink()


def test_demo_runs_without_data_or_network(tmp_path: Path, monkeypatch) -> None:
    """Its own simulated files, since every fetch is refused at once."""
    monkeypatch.setenv("SPINRAY_DATA", "")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    from spinray.datasets import demo_data

    monkeypatch.setattr(demo_data, "_NEIGHBOUR", tmp_path / "nothing")
    from spinray.recon.cli.demo import demo

    demo(tmp_path / "demo")
    names = {p.name for p in (tmp_path / "demo").glob("*.png")}
    assert names == {
        f"{n}.png" for n in ("mr_cartesian", "mr_radial", "ct_few_views", "ct_low_dose")
    }


def test_simulated_bart_files_load(tmp_path: Path) -> None:
    done = spinray("simulate", "mr", str(tmp_path / "a.cfl"), "--matrix", "32", "--coils", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.hdr").exists()
    shown = spinray("info", str(tmp_path / "a.cfl"))
    facts = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert facts["matrix"] == "32 x 32"
    assert facts["coils"] == "2"


def test_the_axis_of_a_real_scan_is_found(data_dir: Path, tmp_path: Path) -> None:
    """The file names no axis and no pixel size: one is found, the other told."""
    tooth = data_dir / "ct_raw" / "tooth.h5"
    done = spinray("recon", str(tooth), "-o", str(tmp_path / "t.dcm"), "--json", "-m", "fbp")
    assert done.returncode == 0, done.stderr
    assert "axis of rotation found at column 29" in done.stderr
    made = json.loads(done.stdout)
    assert made["rotation_axis"].startswith("column 29")
    assert made["pixel_size"] == "not in the file, 1 mm assumed"
    assert made["output"] == str(tmp_path / "t_0001.dcm")
    assert pydicom.dcmread(tmp_path / "t_0001.dcm").RescaleType == "US"
    known = ("--pixel-size", "0.02", "--center", "296", "-m", "fbp")
    done = spinray("recon", str(tooth), "-o", str(tmp_path / "k.dcm"), "--json", *known)
    assert json.loads(done.stdout)["rotation_axis"] == "column 296.00"
    written = pydicom.dcmread(tmp_path / "k_0001.dcm")
    assert (written.RescaleType, float(written.PixelSpacing[0])) == ("HU", 0.02)


def test_one_bad_file_of_several_is_named_and_the_others_made(files: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(b"no scan")
    words = [str(files / "mr.h5"), str(tmp_path / "bad.h5"), str(files / "ct.h5")]
    done = spinray("recon", *words, "-o", str(tmp_path), "--json")
    assert done.returncode == 1
    assert "bad.h5" in done.stderr
    assert "1 of 3 files failed" in done.stderr
    made = json.loads(done.stdout)
    assert [Path(one["input"]).name for one in made] == ["mr.h5", "bad.h5", "ct.h5"]
    assert ["error" in one for one in made] == [False, True, False]
    assert {p.name for p in tmp_path.glob("*.nii.gz")} == {"mr.nii.gz", "ct.nii.gz"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "sense", "--iterations", "0"), "iterations must be 1 or more"),
        (("-m", "sense", "--iterations", "-5"), "iterations must be 1 or more"),
        (("-m", "sense", "--regularization", "nan"), "regularization must be 0 or more and finite"),
        (("-m", "l1-wavelet", "--weight", "-2"), "weight must be 0 or more"),
        (("-m", "sense", "--regularization", "1e400"), "finite"),
    ],
)
def test_option_values_without_sense(files: Path, tmp_path: Path, words, message: str) -> None:
    done = spinray("recon", str(files / "mr.h5"), "-o", str(tmp_path / "a.npy"), *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [("mr", "--snr", "0"), ("mr", "--snr", "nan"), ("ct", "--photons", "1e30")]
)
def test_simulations_without_sense(tmp_path: Path, words: tuple[str, ...]) -> None:
    kind, *rest = words
    done = spinray("simulate", kind, str(tmp_path / "a.h5"), *rest)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGTERM") or os.name == "nt", reason="no signals")
def test_a_terminated_run_leaves_nothing(tmp_path: Path) -> None:
    """The handler turns SIGTERM into an exit, so that temporary files are removed."""
    code = (
        "import os, signal, sys; from spinray.recon.cli import main; "
        "from spinray.recon.io.atomic import atomic; from pathlib import Path\n"
        "def app():\n"
        "    with atomic(Path('a.h5')) as t:\n"
        "        t.touch(); os.kill(os.getpid(), signal.SIGTERM); print('still here')\n"
        "main.app = app; main.main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "")
    assert not list(tmp_path.iterdir())


def test_info_of_readouts_says_what_there_is(tmp_path: Path) -> None:
    path = raw_files.write("list data", tmp_path)
    text = spinray("info", path).stdout
    assert "6 imaging, 1 noise" in text
    assert "missing" in text
    assert "field of view: voxels of 1 mm" in text
    assert len(text.splitlines()) <= 24  # one screen
    facts = json.loads(spinray("info", path, "--json", "-r", "field_of_view=40,60,5").stdout)
    assert facts["field of view (mm)"] == [60, 40]
    assert "missing" not in facts


def test_info_of_images(tmp_path: Path) -> None:
    series = image_files.write_dicom(tmp_path)
    facts = json.loads(spinray("info", series, "--json").stdout)
    assert (facts["format"], facts["matrix"]) == ("image", [3, 6, 8])
    assert facts["spacing (mm)"] == [5.0, 2.0, 1.5]
    assert facts["modality"] == "MR"
    broken = tmp_path / "cut.dcm"
    broken.write_bytes(next(series.iterdir()).read_bytes()[:-20])
    done = spinray("info", broken)
    assert done.returncode == 2
    assert "is no scan" in done.stderr
    assert "as an image: " in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_among_the_reading_options(tmp_path: Path) -> None:
    path = raw_files.write("hnd", tmp_path)
    assert spinray("info", path, "-r", "blank=1e5").returncode == 0
    done = spinray("info", path, "-r", "blank=abc")
    assert done.returncode == 2
    assert "blank must be a finite number, got 'abc'" in done.stderr


def test_convert_and_anonymize(tmp_path: Path) -> None:
    source = raw_files.write("twix ve", tmp_path)
    done = spinray("convert", source, tmp_path / "out.h5", "--anonymize")
    assert done.returncode == 0, done.stderr
    assert b"Jane" not in (tmp_path / "out.h5").read_bytes()
    assert torch.equal(sr.load(tmp_path / "out.h5").kspace, sr.load(source).kspace)
    same = spinray("convert", source, source)
    assert same.returncode == 2
    assert "is the source" in same.stderr
    bad = spinray("convert", source, tmp_path / "out.xyz")
    assert bad.returncode == 2
    assert "suffix" in bad.stderr


def test_recon_of_a_part(tmp_path: Path) -> None:
    source = raw_files.write_ismrmrd(tmp_path, repetitions=3)
    for part, axes in (("repetition=1", 2), ("repetition=1:3", 3)):
        done = spinray("recon", source, "-o", tmp_path / "a.npy", "-r", part, "-m", "rss")
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "a.npy").ndim == axes
    bad = spinray("recon", source, "-o", tmp_path / "a.npy", "-r", "slice=1")
    assert bad.returncode == 2
    assert (
        "unknown option slice for ISMRMRD HDF5; it has encoding, sequence, repetition" in bad.stderr
    )
    bad = spinray("recon", source, "-o", tmp_path / "a.npy", "-r", "slice")
    assert "--read takes NAME=VALUE" in bad.stderr


def test_view_writes_a_page_for_every_kind_of_image(tmp_path: Path) -> None:
    image = sr.Image(torch.rand(3, 12, 10))
    names = ["a.nii.gz", "a.h5", "a.npy", "a.png"]
    for name in names:
        image.save(tmp_path / name)
    dicom = sorted(p for p in tmp_path.rglob("*.dcm"))
    done = spinray("view", *[tmp_path / n for n in names], *dicom, "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    assert all(f'"name": "{name}"' in text for name in names)
    assert len(text) < 8e6


def test_view_names_what_is_no_image(files: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("no image")
    done = spinray("view", tmp_path / "x.txt", "-o", tmp_path / "page.html")
    assert done.returncode == 2
    assert "x.txt: is no image" in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_view_overwrites_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.eye(4, dtype=np.float32))
    done = spinray("view", path, "-o", path)
    assert done.returncode == 2
    assert "a.npy: the page is HTML, expected a name that ends in .html" in done.stderr
    assert np.load(path).shape == (4, 4)
