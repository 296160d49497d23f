"""A run of ``spinray bench``: suites one after another, into one folder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import official, quality, scaling
from .common import machine, write
from .protocol import named, rows_of
from .report import write_report
from .suites import SPEED, tasks

ROUNDS, QUICK_ROUNDS = 9, 3


@dataclass(frozen=True)
class PublicData:
    """A public data set on disk, and the methods that are tried on it (default: the usual)."""

    name: str
    folder: Path
    methods: Sequence[str] = ()


def run(
    suites: Sequence[str],
    folder: Path,
    *,
    quick: bool = False,
    peers: Sequence[str] | None = None,
    data: PublicData | None = None,
) -> Path:
    """Measure suites; write results.json as they go, then report.html and report.md; the page.

    Parameters
    ----------
    suites
        Names of `suites.SPEED`, "quality", "scaling"; none where only `data` is wanted.
    folder
        Where to; made if it is missing. Images of the quality table lie in ``images`` there.
    quick
        Smaller work, fewer rounds.
    peers
        Peers to run, by the beginnings of their names. Default: all that are installed.
    data
        A public data set that is evaluated by its official protocol.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(), "quick": quick, "rows": [], "seconds": {}}
    path, images = folder / "results.json", folder / "images"

    def kept(part: str, found: Iterator[Any]) -> Iterator[Any]:
        """What is found, one after another; the file is written after each."""
        start = time.perf_counter()
        for item in found:
            yield item
            results["seconds"][part] = time.perf_counter() - start
            write(path, results)

    for name in (suite for suite in suites if suite in SPEED):
        rounds = QUICK_ROUNDS if quick else ROUNDS
        for row in kept(name, rows_of(tasks(name, quick), rounds, peers)):
            results["rows"].append(row)
    for name in peers or ():
        if not any(named(row["tool"], [name]) for row in results["rows"]):
            warnings.warn(
                f"no tool of these suites has a name that begins with {name}", stacklevel=2
            )
    if data is not None:
        rows = results.setdefault("official", {}).setdefault(data.name, [])
        found = official.measured(data.name, data.folder, data.methods, quick=quick)
        for row in kept(data.name, found):
            rows.append(row)
        print(official.in_words(data.name, rows), flush=True)
    if "quality" in suites:
        for results["quality"] in kept("quality", quality.measured(quick, images)):
            pass
    if "scaling" in suites:
        rows = results.setdefault("scaling", [])
        for row in kept("scaling", scaling.measured(quick)):
            rows.append(row)
    shown = {}
    for scan in dict.fromkeys(row["scan"] for row in results.get("quality", {}).get("table", [])):
        with np.load(images / f"{scan}.npz") as arrays:
            shown[scan] = dict(arrays)
    write_report(results, folder, shown)
    return folder / "report.html"
