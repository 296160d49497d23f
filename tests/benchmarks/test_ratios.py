"""Ratios to peers: how they are taken, that they are compared whatever the machine."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from spinray.benchmarks import ratios
from spinray.benchmarks.compare import compare
from spinray.recon.cli.main import app


def row(tool: str, seconds: float, job: str = "a"):
    return {
        "suite": "nufft", "job": job, "tool": tool, "facts": {"coils": 8}, "status": "ok",
        "seconds": 2 * seconds, "low": seconds, "high": 3 * seconds, "least": seconds,
        "error": 1e-3, "memory": None,
    }  # fmt: skip


def run(ours: float, slow: float = 1.0):
    """Job a beside two peers, job b beside one; a machine that is so many times slower."""
    return [
        row("spinray", ours * slow), row("ducc0", 4 * slow), row("finufft", 5 * slow),
        row("spinray", slow, "b"), row("astra line", 8 * slow, "b"),
        {"suite": "nufft", "job": "a", "tool": "bart", "facts": {"coils": 8},
         "status": "not installed: bart"},
    ]  # fmt: skip


def test_ratios_are_of_the_same_run_and_their_spread_is_told() -> None:
    found = ratios.report([run(1.0), run(1.1, slow=7.0), run(0.95, slow=0.3)])
    by = {line["peer"]: line for line in found["ratios"]}
    assert set(by) == {"ducc0", "finufft", "astra line"}
    assert by["ducc0"]["ratio"] == pytest.approx(0.25)
    assert by["ducc0"]["spread"] == pytest.approx(1.1 / 0.95 - 1)
    assert by["astra line"]["spread"] == pytest.approx(0)
    assert found["largest spread"] == pytest.approx(by["ducc0"]["spread"])


def test_a_job_that_lost_against_its_peers_is_named_on_any_machine() -> None:
    baseline = ratios.report([run(1.0)])
    changes, _ = compare(baseline, {"rows": run(1.5, slow=20.0)})
    assert [(c.job, c.verdict) for c in changes] == [
        ("nufft: a, coils 8", "slower"), ("nufft: b, coils 8", "same"),
    ]  # fmt: skip
    assert changes[0].ratio == pytest.approx(1.5)
    assert "1.50 x against ducc0" in str(changes[0])
    faster = [row | {"least": 2.5} if row["tool"] == "finufft" else row for row in run(1.0)]
    (change, _), _ = compare(baseline, {"rows": faster})  # one peer of two gained as much again
    assert (change.job, change.ratio) == ("nufft: a, coils 8", pytest.approx(1.5))
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(baseline, {"rows": [row("spinray", 1.0)]})


def test_the_command_warns_of_a_busy_machine(tmp_path) -> None:
    for name, found in (
        ("old", ratios.report([run(1.0)])),
        ("new", {"rows": run(1.0), "machine": {"load at start": 9.0, "cores": 2}}),
    ):
        (tmp_path / name).write_text(json.dumps(found))
    files = [str(tmp_path / name) for name in ("old", "new")]
    done = CliRunner().invoke(app, ["bench", "--compare", *files])
    assert done.exit_code == 0
    assert "busy, load 9.0 on 2 cores" in done.output


def test_small_jobs_have_peers() -> None:
    found = list(ratios.tasks())
    assert len(found) >= 7
    assert all(len(task.tools) > 1 for task in found)


def test_the_committed_ratios_repeat() -> None:
    """Three runs, within a tenth: the bar that the file was measured for."""
    from spinray.benchmarks.tables import results

    found = results("ratios")
    assert found["runs"] == 3
    assert found["largest spread"] == max(line["spread"] for line in found["ratios"]) <= 0.1
    names = {(line["suite"], line["job"]) for line in found["ratios"]}
    assert names == {(task.suite, task.name) for task in ratios.tasks()}
