"""The quality table: every method has its row, nulls score as nulls, intervals are Student's."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import spinray as sr
from spinray.benchmarks import quality
from spinray.benchmarks.references import REFERENCES, noisy, subject
from spinray.recon.cli.main import app

BY_NAME = {reference.name: reference for reference in REFERENCES}


def table(name: str, *methods: str, subjects: int = 2, pixels: int = 64):
    return quality.table(BY_NAME[name], subjects, pixels, slow=False, methods=methods)


def test_every_method_is_in_the_table(monkeypatch) -> None:
    """Whatever a method does with a scan: here every reconstruction refuses."""

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no weights come with Spinray")

    monkeypatch.setattr(sr, "reconstruct", refuse)
    found = set()
    for reference in (REFERENCES[0], BY_NAME["CT, low dose"]):
        rows, _ = quality.table(reference, 1, 64, slow=True)
        assert all(row["status"] for row in rows)
        found |= {(reference.modality, row["method"]) for row in rows}
    assert found >= {(m.modality, m.name) for m in sr.methods()}


def test_a_mr_method_beats_the_nulls() -> None:
    rows, images = table("MR, Cartesian 4x", "sense", "grasp", "dds", "varnet", "g-factor")
    by = {row["method"]: row for row in rows}
    assert by["sense"]["nrmse"]["mean"] < 0.3
    assert not by["sense"]["no better than a null"]
    assert by["sense"]["nrmse"]["low"] < by["sense"]["nrmse"]["mean"] < by["sense"]["nrmse"]["high"]
    for name in quality.NULLS:
        assert by[name]["nrmse"]["mean"] > 2 * by["sense"]["nrmse"]["mean"]
        assert by[name]["ssim"]["mean"] < by["sense"]["ssim"]["mean"]
    assert by["dds"]["status"] == "left out of quick runs: takes minutes"
    assert "needs weights" in by["varnet"]["status"]
    assert by["g-factor"]["status"] == "a map of noise, no image"
    assert list(images)[:2] == ["reference", "sense"]
    json.dumps(rows)


def test_the_command_draws_the_table_and_its_images(monkeypatch, tmp_path) -> None:
    """Two methods of one scan; what an older run left beside is not of this one."""
    methods = [method for method in sr.methods("mri") if method.name in ("rss", "sense")]
    monkeypatch.setattr(sr, "methods", lambda modality: methods)
    monkeypatch.setattr(quality, "REFERENCES", (BY_NAME["MR, Cartesian 4x"],))
    monkeypatch.setattr(quality, "CURVES", {})
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "older.npz").write_bytes(b"not of this run")
    done = CliRunner().invoke(app, ["bench", "quality", "--quick", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "results.json").read_text())["quality"]["table"]
    assert [row["method"] for row in found] == ["rss", "sense", *quality.NULLS]
    page = (tmp_path / "report.html").read_text()
    assert page.count('<section class="viewer" tabindex') == 1
    assert {'"name": "reference"', '"name": "sense"'} <= set(re.findall(r'"name": "\w+"', page))


def test_a_ct_method_beats_the_nulls() -> None:
    rows, _ = table("CT, low dose", "fbp", "fdk")
    by = {row["method"]: row for row in rows}
    assert by["fbp"]["nrmse"]["mean"] < min(by[n]["nrmse"]["mean"] for n in quality.NULLS)
    assert by["fdk"]["status"] != "ok"


@pytest.mark.filterwarnings("ignore:the 16 rows see z from")
@pytest.mark.parametrize(("name", "method"), [("CT, circular cone", "fdk"), ("CT, helix", "wfbp")])
def test_volumes(name: str, method: str) -> None:
    """Rays end in the volume, but for the head above and below; figures are of the middle."""
    rows, images = table(name, method, subjects=1)
    assert rows[0]["status"] == "ok", rows[0]
    assert images["reference"].shape == images[method].shape == (2, 64, 64)  # 8 mm
    scan, truth = BY_NAME[name].make(0, 64)
    np.testing.assert_array_equal(images["reference"], truth[len(truth) // 2 - 1 :][:2])
    projected = sr.XRayTransform(scan.geometry, scan.grid)(truth)
    measured = sr.ct.line_integrals(scan.counts, scan.blank, scan.dark)
    assert float((projected - measured).mean() / measured.mean()) == pytest.approx(0, abs=0.03)
    assert rows[0]["nrmse"]["mean"] < 0.5


def test_series() -> None:
    rows, images = table(
        "MR, dynamic, 13 spokes a frame", "grasp", "gridding", subjects=1, pixels=32
    )
    assert rows[0]["status"] == "ok", rows[0]
    assert images["grasp"].shape == images["reference"].shape
    assert "no image of each frame" in rows[1]["status"]


def test_what_is_no_better_than_a_null_is_marked() -> None:
    row = {"status": "ok", "method": "bad", "nrmse": {"mean": 0.5}}
    null = {"status": "ok", "method": quality.NULLS[0], "nrmse": {"mean": 0.4}}
    assert quality.flagged([row, null])[0]["no better than a null"]


def test_intervals_are_student_s() -> None:
    found = quality.interval([1.0, 2.0, 3.0])
    assert found["mean"] == 2
    assert found["high"] - 2 == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert quality.interval([1.0]) == {"mean": 1.0}
    few = quality.intervals([{"nrmse": 0.1, "psnr": 20.0, "ssim": 0.5},
                             {"nrmse": 0.5, "psnr": 30.0, "ssim": 0.9}])  # fmt: skip
    assert few["nrmse"]["low"] == 0
    assert few["ssim"]["low"] == -1
    assert few["ssim"]["high"] == 1
    assert few["psnr"]["low"] < 0


def test_subjects_differ_and_are_the_same_again() -> None:
    one, again, other = (subject("head", seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_noise_is_what_was_asked() -> None:
    """Two scans of one subject differ by their noise, which the louder one has 16 times of."""
    made = {snr: noisy("mri", snr).make(0, 64)[0].kspace for snr in (5.0, 80.0, 1e9)}
    loud, quiet = ((made[snr] - made[1e9]).abs().square().mean() ** 0.5 for snr in (5.0, 80.0))
    assert float(loud / quiet) == pytest.approx(16, rel=0.01)
