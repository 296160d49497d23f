"""``--scheduler`` of the command line."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import write_fastmri

import spinray as sr

Command = Callable[..., Any]


def test_recon_on_a_cluster(
    files: list[Path], broken: Path, cluster: Any, tmp_path: Path, spinray: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Relative names, one bad file, the dashboard; images as without a cluster."""
    monkeypatch.chdir(files[0].parent)
    words = (files[0].name, broken.name, files[2].name, "-o", tmp_path, "--json")
    done = spinray("recon", *words, "--scheduler", cluster.scheduler_address, "--retries", 0)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == f"dashboard: {cluster.dashboard_link}"
    with urllib.request.urlopen(cluster.dashboard_link) as page:
        assert page.status == 200
    assert any(line.startswith("spinray: broken.h5: ") for line in lines)
    assert lines[-1] == "spinray: 1 of 3 files failed"
    made = json.loads(done.stdout)
    assert [one["input"] for one in made] == [files[0].name, broken.name, files[2].name]
    assert "error" in made[1]
    for one, source in ((made[0], files[0]), (made[2], files[2])):
        expected = sr.reconstruct(sr.load(source), progress=False).data.abs().numpy()
        written = sr.load_image(one["output"]).data.abs().numpy()
        assert np.allclose(written, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_slabs_of_the_command_line(files: list[Path], tmp_path: Path, spinray: Command) -> None:
    whole, slabs = tmp_path / "whole.npy", tmp_path / "slabs.npy"
    assert spinray("recon", files[2], "-o", whole, "-m", "fbp").returncode == 0
    done = spinray("recon", files[2], "-o", slabs, "-m", "fbp", "--slabs", 2)
    assert done.returncode == 0, done.stderr
    assert np.allclose(np.load(slabs), np.load(whole), atol=1e-7)
    refused = spinray("recon", files[2], "-o", slabs, "-m", "sirt", "--slabs", 2)
    assert refused.returncode == 2
    assert "sirt cannot work by slabs" in refused.stderr


def test_evaluation_on_a_cluster(cluster: Any, tmp_path: Path, spinray: Command) -> None:
    """A volume a task: the same table; a broken volume is left out and listed."""
    for n in range(3):
        write_fastmri(tmp_path / f"file{n}.h5", seed=n, matrix=(48, 40), crop=(32, 32))
    whole = (tmp_path / "file2.h5").read_bytes()
    (tmp_path / "file3.h5").write_bytes(whole[: len(whole) // 2])
    words = ("evaluate", tmp_path, "-m", "rss", "--mask", "random", "--acceleration", 2, "--json")
    here = spinray(*words)
    there = spinray(*words, "--scheduler", cluster.scheduler_address)
    assert (here.returncode, there.returncode) == (1, 1), there.stderr
    assert "dashboard: " in there.stderr
    assert "left out: file3.h5" in there.stderr
    expected, found = json.loads(here.stdout), json.loads(there.stdout)
    assert [v["volume"] for v in found["volumes"]] == [f"file{n}.h5" for n in range(3)]
    for a, b in zip(expected["volumes"], found["volumes"], strict=True):
        assert b["figures"] == pytest.approx(a["figures"], rel=1e-3)
    assert found["skipped"] == expected["skipped"]


def test_no_scheduler_is_one_line(
    files: list[Path], tmp_path: Path, spinray: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinray.recon.cluster._CONNECT", 0.5)
    done = spinray("recon", files[0], "-o", tmp_path / "a.npy", "--scheduler", "tcp://127.0.0.1:9")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "tcp://127.0.0.1:9" in done.stderr
    assert not list(tmp_path.iterdir())
