"""A job that became slower is named; noise and a slower machine are not."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from spinray.benchmarks.compare import compare
from spinray.recon.cli.main import app


def row(tool: str, seconds: float, job: str = "j", spread: float = 0.02, error: float = 1e-3):
    return {
        "suite": "s", "job": job, "tool": tool, "facts": {"coils": 8}, "status": "ok",
        "seconds": seconds, "low": seconds * (1 - spread), "high": seconds * (1 + spread),
        "error": error,
    }  # fmt: skip


def verdicts(old: list, new: list) -> dict[str, str]:
    changes, _ = compare({"rows": old}, {"rows": new})
    return {change.job.split(",")[0]: change.verdict for change in changes}


def test_slower_faster_and_noise() -> None:
    old = [row("spinray", 1.0, job) for job in "abc"] + [row("spinray", 1.0, "d", spread=0.2)]
    new = [row("spinray", t, job) for job, t in zip("abc", (1.3, 0.7, 1.05), strict=True)]
    new.append(row("spinray", 1.3, "d", spread=0.2))
    assert verdicts(old, new) == {
        "s: a": "slower", "s: b": "faster", "s: c": "same", "s: d": "same",
    }  # fmt: skip


def test_a_slower_machine_is_told_by_the_peers() -> None:
    peers = ("ducc0", "finufft", "sigpy")
    old = [row("spinray", 1.0), *(row(peer, 2.0) for peer in peers)]
    new = [row("spinray", 1.5), *(row(peer, 3.0) for peer in peers)]
    changes, drift = compare({"rows": old}, {"rows": new})
    assert drift == pytest.approx(1.5)
    assert [change.verdict for change in changes] == ["same"]
    changes, drift = compare({"rows": old[:2]}, {"rows": new[:2]})  # one peer is no measure
    assert (drift, [change.verdict for change in changes]) == (None, ["slower"])


def test_errors_that_grow_are_named() -> None:
    assert verdicts([row("spinray", 1.0)], [row("spinray", 1.0, error=2e-3)]) == {
        "s: j": "less accurate"
    }


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({"rows": [row("spinray", 1.0, "a")]}, {"rows": [row("spinray", 1.0, "b")]})


@pytest.mark.parametrize("other", [[], {"parallel": {}}, {"rows": [1]}, {"rows": [{"facts": {}}]}])
def test_what_is_no_run_is_named(other) -> None:
    run = {"rows": [row("spinray", 1.0)]}
    with pytest.raises(ValueError, match=r"^OLD: expected the results\.json"):
        compare(other, run)
    for old in (run, {"ratios": []}):
        with pytest.raises(ValueError, match=r"^NEW: expected the results\.json"):
            compare(old, other)


def test_the_command_exits_with_one(tmp_path) -> None:
    files = []
    for name, seconds in (("old", 1.0), ("new", 2.0)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps({"rows": [row("spinray", seconds)]}))
    run = CliRunner().invoke(app, ["bench", "--compare", *map(str, files)])
    assert run.exit_code == 1
    assert "slower          2.00 x  s: j, coils 8, spinray" in run.output
    same = CliRunner().invoke(app, ["bench", "--compare", str(files[0]), str(files[0])])
    assert same.exit_code == 0


def test_the_command_takes_folders_and_tells_machines_apart(tmp_path) -> None:
    for name, threads in (("old", 2), ("new", 1)):
        (tmp_path / name).mkdir()
        found = {"machine": {"threads": threads, "cores": 2}, "rows": [row("spinray", 1.0)]}
        (tmp_path / name / "results.json").write_text(json.dumps(found))
    words = ["bench", "--compare", str(tmp_path / "old"), str(tmp_path / "new")]
    lines = CliRunner().invoke(app, words).output.splitlines()
    assert lines[0] == "measured otherwise: threads 2, now 1"
    assert lines[1].startswith("too few peers ran in both")
    broken = tmp_path / "broken.json"
    broken.write_bytes(b"\xff\xfe{")
    done = CliRunner().invoke(app, ["bench", "--compare", str(broken), str(tmp_path / "new")])
    assert "broken.json: is no JSON" in str(done.exception)
