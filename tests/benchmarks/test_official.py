"""Official protocols on tiny files of the public data sets' layouts, beside published figures."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from dataset_files import write_fastmri
from typer.testing import CliRunner

from spinray.benchmarks import official
from spinray.datasets import FastMRI, LineMask, LoDoPaB
from spinray.recon.cli.main import app
from spinray.recon.pipelines.evaluation import evaluate_method


@pytest.fixture(scope="module")
def fastmri(tmp_path_factory):
    """Three knees and a brain."""
    folder = tmp_path_factory.mktemp("multicoil_val")
    for index, acquisition in enumerate(("CORPD_FBK", "CORPDFS_FBK", "CORPD_FBK", "AXT2")):
        write_fastmri(
            folder / f"file{index}.h5", seed=index, depth=2, matrix=(48, 50), crop=(32, 32),
            acquisition=acquisition,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def lodopab(tmp_path_factory):
    """Three discs in two files, projected in closed form, in the data set's units."""
    folder, maximum = tmp_path_factory.mktemp("lodopab"), 81.35858
    y, x = np.meshgrid(*[LoDoPaB.volume.positions(axis) for axis in (0, 1)], indexing="ij")
    radii, values = np.array([60.0, 80.0, 100.0]), np.array([0.02, 0.03, 0.025])
    s = (np.arange(513) - 256) * LoDoPaB.geometry.column_spacing
    chords = 2 * np.sqrt(np.maximum(radii[:, None] ** 2 - s**2, 0)) * values[:, None]
    views = np.repeat(chords[:, None], 1000, 1) / maximum
    discs = np.stack([(np.hypot(x, y) < r) * v for r, v in zip(radii, values, strict=True)])
    for number, part in enumerate((slice(0, 2), slice(2, 3))):
        images = discs[part] * 1e3 / maximum
        for name, data in (("observation", views[part]), ("ground_truth", images)):
            with h5py.File(folder / f"{name}_test_{number:03}.hdf5", "w") as file:
                file["data"] = data.astype(np.float32)
    return folder


def test_fastmri_is_evaluated_under_the_challenges_masks(fastmri) -> None:
    rows = list(official.measured("fastmri", fastmri, ["rss", "fdk"]))
    assert [row["scan"] for row in rows[::2]] == ["knee 4x", "knee 8x", "brain 4x", "brain 8x"]
    knee = rows[0]
    data = FastMRI(
        fastmri, LineMask("random", (0.08,), (4,)), fixed_masks=True,
        acquisitions=official.KNEE,
    )  # fmt: skip
    values = evaluate_method(data, "rss").values("psnr")
    assert knee["volumes"] == len(values) == 3
    assert knee["psnr"]["mean"] == pytest.approx(values.mean())
    assert knee["psnr"]["low"] < values.mean() < knee["psnr"]["high"]
    assert rows[2]["nmse"]["mean"] > knee["nmse"]["mean"]  # 8x
    assert rows[4]["volumes"] == 1
    assert "unknown method" in rows[1]["status"] or "fdk" in rows[1]["status"]
    quick = next(official.measured("fastmri", fastmri, ["rss"], quick=True))
    assert quick["volumes"] == 2


def test_lodopab_has_both_conventions_and_means_over_images(lodopab) -> None:
    (row,) = official.measured("lodopab", lodopab, ["fbp"])
    data = LoDoPaB(lodopab, "test")
    assert len(data) == 3
    assert row["volumes"] == 2
    result = evaluate_method(data, "fbp")
    assert row["psnr"]["mean"] == pytest.approx(result.values("psnr") @ [2 / 3, 1 / 3])
    assert row["psnr_fr"]["mean"] > row["psnr"]["mean"] + 5  # the fixed range is the larger one
    assert row["psnr"]["mean"] > 28


def test_every_published_figure_has_its_source_and_set() -> None:
    for name, lines in official.PUBLISHED.items():
        for line in lines:
            assert set(line.figures) <= set(official.FIGURES[name])
            assert line.source
            assert line.note
    assert {line.scan for line in official.PUBLISHED["fastmri"]} == {
        "knee 4x", "knee 8x", "brain 4x", "brain 8x",
    }  # fmt: skip


def test_the_command_prints_ours_beside_theirs(fastmri, tmp_path) -> None:
    words = ["bench", "--dataset", "fastmri", "--path", str(fastmri), "--methods", "rss, varnet"]
    done = CliRunner().invoke(app, [*words, "--quick", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "results.json").read_text())
    assert not results["rows"]
    assert "| HUMUS-Net-L | 0.0086 |" in done.output
    assert {row["method"] for row in results["official"]["fastmri"]} == {"rss", "varnet"}
    text = (tmp_path / "report.md").read_text()
    table = text.split("## fastmri: knee 8x")[1].split("##")[0]
    assert "| Spinray rss | " in table
    refused = next(line for line in table.splitlines() if line.startswith("| Spinray varnet |"))
    assert "varnet needs weights" in refused
    assert "| HUMUS-Net-L | 0.0086 | 37.45 | 0.8955 |  | 100 of the 199 validation volumes" in table
    assert "github.com/hellopipu/PromptMR" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "fastmri"], "go together"),
        (["--dataset", "mnist", "--path", "."], "unknown data set 'mnist'"),
        (["--dataset", "lodopab", "--path", "nowhere"], "zenodo"),
        (["--methods", "rss"], "--methods is of --dataset"),
    ],
)
def test_what_is_missing_is_named(words, message, tmp_path) -> None:
    done = CliRunner().invoke(app, ["bench", *words, "-o", str(tmp_path)])
    assert message in str(done.exception)


def test_a_folder_of_other_scans_is_refused(tmp_path) -> None:
    write_fastmri(tmp_path / "a.h5", acquisition="OTHER")
    with pytest.raises(ValueError, match="no volume with an acquisition of fastMRI"):
        list(official.measured("fastmri", tmp_path, ["rss"]))
