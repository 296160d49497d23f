"""What every benchmark says about its machine, and how it times."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinray.recon.io.atomic import atomic

from .bart import bart_version
from .protocol import SLOW_ROUNDS, Row, Task, interleaved, rows_of, seconds_of

PACKAGES = (
    "spinray", "numpy", "torch", "numba", "ducc0", "finufft", "torchkbnufft", "sigpy", "astra-toolbox",
    "scikit-image", "itk-rtk", "mbirjax", "pygrappa", "spekpy", "xraylib", "algotom", "fastmri",
    "mri-nufft", "tomopy", "deepinv", "mrpro", "cupy-cuda12x", "cufinufft", "leapct", "ismrmrd",
)  # fmt: skip
Report = dict[str, Any]
Job = Callable[[Report], Iterator[Report]]


def data_folder() -> Path:
    """Where real data are: `SPINRAY_DATA`, or beside the clone."""
    return Path(os.environ.get("SPINRAY_DATA") or "../shared/data")


def has(module: str) -> bool:
    """Whether a peer is installed."""
    return importlib.util.find_spec(module) is not None


def machine() -> dict[str, Any]:
    """Processor, threads, load, versions and commit, as kept beside every figure."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((li.split(":")[1].strip() for li in lines if "model name" in li), model)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if version := bart_version():
        versions["bart"] = version
    card = {"card": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        "processor": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "load at start": os.getloadavg()[0], "python": platform.python_version(),
        "versions": versions, "commit": _commit(), **card,
    }  # fmt: skip


def _commit() -> str:
    """Of the clone, "-dirty" if it was edited; what is installed from a wheel has a version."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():  # a repository further up is somebody else's
        return ""
    words = ("git", "describe", "--always", "--dirty", "--exclude", "*")
    try:
        run = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return run.stdout.strip()


def medians(
    calls: Mapping[str, Callable[[], Any]], rounds: int, slow_rounds: int = SLOW_ROUNDS
) -> dict[str, float]:
    """Median seconds of each call, after one to warm up, one of each in turn."""
    for call in calls.values():
        call()
    clocks = {name: partial(seconds_of, call) for name, call in calls.items()}
    times = interleaved(clocks, rounds, slow_rounds)
    return {name: statistics.median(values) for name, values in times.items()}


def relative_l2(found: NDArray[Any], exact: NDArray[Any]) -> float:
    """Length of the difference over that of what is exact."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Keep a report as JSON; a reader never finds half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")


def run_jobs(jobs: Mapping[str, Job], output: Path, chosen: str | None) -> None:
    """Run one job or all; each fills its own part of the file and leaves the others as they are.

    A job takes the report so far and yields its part whenever there is more of it.
    """
    report: Report = json.loads(output.read_text()) if output.exists() else {}
    for name in [chosen] if chosen else jobs:
        here = machine()
        for found in jobs[name](report):
            report[name] = {"machine": here, **found}
            write(output, report)


def run_suite(
    doc: str, tasks: Callable[[bool], Iterator[Task]], arguments: Sequence[str] | None = None
) -> None:
    """The command line of a suite's module: measure its tasks, write rows as JSON."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", help="beginnings of names with facts; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller work")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", nargs="*", help="beginnings of names; default: all installed")
    parser.add_argument("--output", type=Path, help="JSON; rows of other jobs stay in it")
    options = parser.parse_args(arguments)
    chosen = (t for t in tasks(options.quick)
              if options.jobs is None or t.words.startswith(tuple(options.jobs)))  # fmt: skip
    here, rows = machine(), []
    for row in rows_of(chosen, options.rounds, options.peers):
        rows.append(row | {"commit": here["commit"], "load": here["load at start"]})
        if options.output:
            write(options.output, {"machine": here, "rows": merged(options.output, rows)})


def merged(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Rows of a file with those that were measured anew in their places, new ones at the end."""
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    found = {row_key(row): row for row in (*kept, *rows)}
    return list(found.values())


def row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row is of: suite, job, tool, facts."""
    return row["suite"], row["job"], row["tool"], tuple(sorted(row["facts"].items()))
