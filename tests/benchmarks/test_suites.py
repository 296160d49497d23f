"""The suites' tasks on small work: Spinray's rows are right, peers' are right or say what lacks."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from spinray.benchmarks import ct, mri_speed, network_speed, nufft, run, suites
from spinray.benchmarks.protocol import Task, measure
from spinray.benchmarks.suites import SPEED
from spinray.recon.cli import bench
from spinray.recon.cli.main import app

# errors beyond these mean that a tool was set up wrongly
LIMITS = {
    "relative l2 against a direct sum": 0.06,
    "relative RMSE against closed forms": 0.1,
    "distance from the transpose": 0.02,
    "relative RMSE inside the head": 0.25,
}


# mbirjax and RTK compile or load for a minute; they are run by spinray bench
PEERS = ("astra", "scikit-image", "ducc0", "finufft", "torchkbnufft", "sigpy", "mri-nufft", "bart")


def checked(task: Task) -> None:
    for row in measure(task, 1, PEERS):
        if row["status"] == "ok":
            assert 0 < row["seconds"] < 60
            assert row["error"] < LIMITS[task.error_name], row
        else:
            assert not row["tool"].startswith("spinray"), row
            assert row["status"].startswith("not installed"), row


@pytest.mark.parametrize("name", list(ct.FIELDS))
def test_planar(name: str) -> None:
    for task in ct.planar(name, 64):
        checked(task)


def test_fbp() -> None:
    checked(ct.filtered_back_projection(64))


def test_cones() -> None:
    for task in ct.cones(24):
        checked(task)


def test_transforms_of_every_peer() -> None:
    k = nufft.radial(24, 64)
    for task in nufft.transforms("2D 32", k, (32, 32), 2, 1e-3, tuple(nufft.PEERS)):
        checked(task)


def test_names_tell_tasks_apart() -> None:
    for suite in (ct, nufft):
        for quick in (True, False):
            names = [str(task) for task in suite.tasks(quick)]
            assert len(set(names)) == len(names) > 8


def test_mr_methods() -> None:
    limits = {"share that maps do not explain": 0.2, "NRMSE inside the object": 0.4}
    for task in mri_speed.tasks(n=64):
        for row in measure(task, 1):
            if row["status"] == "ok":
                assert row["error"] < limits[task.error_name], row
            else:
                assert row["status"].startswith("not installed"), row


def test_networks_and_samplers() -> None:
    for task in network_speed.tasks(quick=True):
        for row in measure(task, 1):
            if row["status"] == "ok":
                assert row["error"] < (1e-3 if task.suite == "models" else 2), row
            else:
                assert row["status"].startswith("not installed"), row


def test_the_command_measures_and_draws(tmp_path, monkeypatch) -> None:
    small = nufft.transforms("2D 16", nufft.radial(8, 32), (16, 16), 1, 1e-3, ("ducc0",))
    monkeypatch.setattr(run, "tasks", lambda name, quick: small)
    done = CliRunner().invoke(
        app, ["bench", "nufft", "--quick", "--peers", "ducc", "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["tool"] for row in results["rows"]} == {"spinray", "ducc0"}
    assert {"processor", "cores", "threads", "versions", "commit"} <= set(results["machine"])
    assert "2D 16 adjoint" in (tmp_path / "out" / "report.html").read_text()
    assert "2D 16 adjoint" in (tmp_path / "out" / "report.md").read_text()


def test_the_command_names_peers_that_no_suite_has(tmp_path, monkeypatch) -> None:
    small = nufft.transforms("2D 16", nufft.radial(8, 32), (16, 16), 1, 1e-3, ("ducc0",))
    monkeypatch.setattr(run, "tasks", lambda name, quick: small)
    words = ["bench", "nufft", "--quick", "--peers", "DUCC,ductape", "-o", str(tmp_path / "out")]
    with pytest.warns(UserWarning, match="begins with ductape"):
        assert CliRunner().invoke(app, words).exit_code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["tool"] for row in results["rows"]} == {"spinray", "ducc0"}


def test_the_command_wants_a_folder(tmp_path) -> None:
    (tmp_path / "out").write_text("kept")
    done = CliRunner().invoke(app, ["bench", "nufft", "-o", str(tmp_path / "out")])
    assert "out: is a file, expected a folder" in str(done.exception)
    assert (tmp_path / "out").read_text() == "kept"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_the_suite_for_a_card_has_no_job_without_one() -> None:
    assert not list(suites.tasks("gpu"))


def test_the_command_names_what_there_is() -> None:
    done = CliRunner().invoke(app, ["bench", "xray"])
    assert "nufft, ct, mri" in str(done.exception)
    assert {*bench.SUITES, bench.SMALL} == {*SPEED, "quality", "scaling"}
