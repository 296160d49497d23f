"""Two runs side by side: which jobs of Spinray became slower, or worse, beyond noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from .protocol import OURS, Row

FLOOR = 0.10  # of the time: what runs on one machine differ by without a cause
MARGIN = 3.0  # spreads, both runs' together
WORSE = 1.05  # factor between errors
DRIFT_PEERS = 3  # rows of peers from which the machine's own drift is judged


@dataclass(frozen=True)
class Change:
    """A job before and after: seconds, and the ratio with the machine's drift taken out."""

    job: str
    before: float
    after: float
    ratio: float
    verdict: str  # slower, faster, less accurate, same

    def __str__(self) -> str:
        times = f"{1e3 * self.before:.3g} to {1e3 * self.after:.3g} ms"
        return f"{self.verdict:14} {self.ratio:5.2f} x  {self.job}: {times}"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[Change], float]:
    """Changes of all jobs that both runs measured, and how much slower the machine itself was.

    Peers did not change: the median ratio of their times is the machine's drift, and is divided
    out where at least three of them ran in both. A job is slower when its ratio exceeds one by
    more than a tenth and by more than three times the half-widths between quartiles of both runs.

    Parameters
    ----------
    old, new
        What ``results.json`` holds.

    Raises
    ------
    ValueError
        No job in common, or no results of ``spinray bench``.
    """
    before, after = _timed(old), _timed(new)
    common = [key for key in before if key in after]
    if not any(_ours(key) for key in common):
        raise ValueError("no job was measured in both: nothing to compare")
    peers = [after[k]["seconds"] / before[k]["seconds"] for k in common if not _ours(k)]
    drift = median(peers) if len(peers) >= DRIFT_PEERS else 1.0
    changes = [_change(key, before[key], after[key], drift) for key in common if _ours(key)]
    return sorted(changes, key=lambda change: -change.ratio), drift


def _change(key: tuple[Any, ...], old: Row, new: Row, drift: float) -> Change:
    ratio = new["seconds"] / old["seconds"] / drift
    noise = sum(((r["high"] - r["low"]) / 2 / r["seconds"]) ** 2 for r in (old, new)) ** 0.5
    bound = max(FLOOR, MARGIN * noise)
    verdict = "same"
    if ratio > 1 + bound:
        verdict = "slower"
    elif ratio < 1 / (1 + bound):
        verdict = "faster"
    if old["error"] and new["error"] and new["error"] > WORSE * old["error"]:
        verdict = "less accurate"
    suite, job, tool, facts = key
    words = ", ".join([f"{suite}: {job}", *(f"{name} {value:g}" for name, value in facts), tool])
    return Change(words, old["seconds"], new["seconds"], ratio, verdict)


def _timed(results: Mapping[str, Any]) -> dict[tuple[Any, ...], Row]:
    rows = results.get("rows")
    if not isinstance(rows, list) or not all("facts" in row for row in rows):
        raise ValueError("expected the results.json of spinray bench: it has a list of rows")
    return {
        (row["suite"], row["job"], row["tool"], tuple(sorted(row["facts"].items()))): row
        for row in rows
        if row["status"] == "ok"
    }


def _ours(key: tuple[Any, ...]) -> bool:
    return str(key[2]).startswith(OURS)
