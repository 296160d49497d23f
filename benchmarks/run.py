"""A run of ``spinray bench``: suites one after another, into one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import quality, scaling
from .common import machine, write
from .protocol import rows_of
from .report import write_report
from .suites import SPEED, tasks

ROUNDS, QUICK_ROUNDS = 9, 3


def run(
    suites: Sequence[str], folder: Path, *, quick: bool = False, peers: Sequence[str] | None = None
) -> Path:
    """Measure suites; write results.json as they go, then report.html and report.md; the page.

    Parameters
    ----------
    suites
        Names of `suites.SPEED`, "quality", "scaling".
    folder
        Where to; made if it is missing. Images of the quality table lie in ``images`` there.
    quick
        Smaller work, fewer rounds.
    peers
        Peers to run, by the beginnings of their names. Default: all that are installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(), "quick": quick, "rows": []}
    path, images = folder / "results.json", folder / "images"
    for name in (suite for suite in suites if suite in SPEED):
        for row in rows_of(tasks(name, quick), QUICK_ROUNDS if quick else ROUNDS, peers):
            results["rows"].append(row)
            write(path, results)
    if "quality" in suites:
        for results["quality"] in quality.measured(quick, images):
            write(path, results)
    if "scaling" in suites:
        results["scaling"] = list(scaling.measured(quick))
        write(path, results)
    shown = {}
    if "quality" in suites:
        for file in sorted(images.glob("*.npz")):
            with np.load(file) as arrays:
                shown[file.stem] = dict(arrays)
    write_report(results, folder, shown)
    return folder / "report.html"
