"""The files that benchmarks write: what is measured anew takes its place, the rest stays."""

from __future__ import annotations

import gc
import json
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinray.benchmarks import common, reading
from spinray.benchmarks.bart import has_bart
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


def test_a_machine_names_what_was_measured() -> None:
    versions = common.machine()["versions"]
    assert {"spinray", "torch"} <= versions.keys()
    assert ("bart" in versions) == has_bart()


def test_a_commit_is_of_the_package_and_says_if_it_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        run = subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return run.stdout.strip()

    module = tmp_path / "spinray" / "benchmarks" / "common.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(common, "__file__", str(module))
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "of a project that has Spinray in it")
    assert common._commit() == ""
    (tmp_path / ".git").rename(module.parents[1] / ".git")
    tmp_path = module.parents[1]
    git("add", ".")
    git("commit", "-qm", "of Spinray")
    commit = git("rev-parse", "--short", "HEAD")
    assert common._commit() == commit
    module.write_text("# edited")
    assert common._commit() == f"{commit}-dirty"


def test_a_file_goes_with_its_task_and_nobody_warns() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        file = reading.File(1)
        path = file.path
        assert path.exists()
        del file
        gc.collect()
    assert not path.parent.exists()
    assert not [w for w in said if w.category is ResourceWarning]
