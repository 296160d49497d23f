"""The files that benchmarks write: what is measured anew takes its place, the rest stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinray.benchmarks.common import data_folder, relative_l2, run_jobs, run_suite
from spinray.benchmarks.protocol import Prepared, Task


def suite(*names: str, seconds: float = 1.0) -> Any:
    """Tasks whose time is what they say."""

    def tasks(quick: bool) -> Iterator[Task]:
        for name in names:
            made = Prepared(lambda: 0, lambda out: 0.5, seconds=lambda out: seconds)
            yield Task("s", name, {"spinray": lambda made=made: made}, "", {"coils": 2}, per=4)

    return tasks


def test_jobs_that_are_measured_again_take_their_places(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    words = ["--output", str(path), "--rounds", "2"]
    run_suite("doc", suite("a", "b"), words)
    run_suite("doc", suite("a", "b", "c", seconds=8.0), [*words, "--jobs", "a", "c"])
    found = json.loads(path.read_text())
    assert [(row["job"], row["seconds"]) for row in found["rows"]] == [
        ("a", 2.0), ("b", 0.25), ("c", 2.0),
    ]  # fmt: skip
    assert all("commit" in row and "load" in row for row in found["rows"])
    assert found["machine"]["cores"]


def test_a_job_fills_its_own_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"other": {"rows": 1}}))

    def job(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert report["other"] == {"rows": 1}
        yield {"found": 1}
        yield {"found": 2}

    run_jobs({"own": job, "other": job}, path, "own")
    found = json.loads(path.read_text())
    assert found["other"] == {"rows": 1}
    assert found["own"]["found"] == 2
    assert found["own"]["machine"]["versions"]["torch"]


def test_the_folder_of_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINRAY_DATA", "somewhere")
    assert data_folder() == Path("somewhere")
    monkeypatch.setenv("SPINRAY_DATA", "")
    assert data_folder().name == "data"


def test_relative_errors() -> None:
    assert relative_l2(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == pytest.approx(0.2)
