"""What every benchmark says about its machine, and how it times."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "numpy", "torch", "numba", "ducc0", "finufft", "torchkbnufft", "sigpy", "astra-toolbox",
    "scikit-image", "itk-rtk", "mbirjax", "pygrappa", "spekpy", "xraylib", "algotom",
)  # fmt: skip
Report = dict[str, Any]
Job = Callable[[Report], Iterator[Report]]
SLOW = 0.3  # seconds; calls above it run in the first rounds only


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
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "processor": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "load at start": os.getloadavg()[0], "python": platform.python_version(),
        "versions": versions, "commit": commit.stdout.strip(),
    }  # fmt: skip


def medians(
    calls: Mapping[str, Callable[[], Any]], rounds: int, slow_rounds: int = 3
) -> dict[str, float]:
    """Median seconds of each call, after one to warm up, one of each in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for turn in range(rounds):
        for name, call in calls.items():
            if turn >= slow_rounds and statistics.median(times[name]) > SLOW:
                continue
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Keep a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


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
