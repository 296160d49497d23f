"""The page's SLURM script: what it submits, and the work it does where sbatch is a shell script."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import spinray as sr

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
# as SLURM's, it takes a copy: dask-jobqueue removes the script once it is submitted
SBATCH = """#!/bin/sh
cp "$1" {folder}/submitted.sh
setsid bash {folder}/submitted.sh > {folder}/job.txt 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what was submitted; jobs run on this machine."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(text.format(folder=folder) if "{" in text else text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return folder


def script() -> str:
    (found,) = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def test_the_script_of_the_page(slurm: Path, files: list[Path]) -> None:
    raw, images = Path("raw"), Path("images")
    raw.mkdir()
    images.mkdir()
    for path in files[:2]:
        shutil.copy(path, raw)
    names: dict[str, Any] = {}
    exec(compile(script().replace("jobs=20", "jobs=1"), str(PAGE), "exec"), names)
    assert names["paths"] == [Path.cwd() / "images" / f"mr{n}.nii.gz" for n in (2, 3)]
    assert sr.load_image(names["paths"][1]).data.shape == (3, 32, 32)
    submitted = (slurm / "submitted.sh").read_text()
    for line in (
        "#SBATCH -p cpu", "#SBATCH -n 1", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=15G",
        "#SBATCH -t 02:00:00", "export OMP_NUM_THREADS=8",
    ):  # fmt: skip
        assert line in submitted.splitlines()
    command = submitted.splitlines()[-1]
    assert re.search(r"dask.worker tcp://\S+ ", command)
    assert "--nthreads 1" in command
    assert "--lifetime 110m" in command
