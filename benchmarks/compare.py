"""Two runs side by side: which jobs of Spinray became slower, or worse, beyond noise.

The first may be the file of `ratios`: then each job is judged by its time over its peers' in the
same run, whatever the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .common import row_key
from .protocol import OURS, Row
from .ratios import ratios

FLOOR = 0.10  # of the time: what runs on one machine differ by without a cause
MARGIN = 3.0  # spreads, both runs' together
WORSE = 1.05  # factor between errors
OTHERS = 0.35  # of a ratio to peers: what processors and versions of peers differ by
DRIFT_PEERS = 3  # rows of peers from which the machine's own drift is judged
KEYS = {"suite", "job", "tool", "facts", "status"}  # of every row


@dataclass(frozen=True)
class Change:
    """A job before and after: in words, and the ratio of times with the machine taken out."""

    job: str
    words: str
    ratio: float
    verdict: str  # slower, faster, less accurate, same

    def __str__(self) -> str:
        return f"{self.verdict:14} {self.ratio:5.2f} x  {self.job}: {self.words}"


def compare(old: Any, new: Any) -> tuple[list[Change], float | None]:
    """Changes of all jobs that both runs measured, and how much slower the machine itself was.

    Peers did not change: the median ratio of their times is the machine's drift, and is divided
    out where at least three of them ran in both; where fewer did, nobody knows it (None). A job is slower when its ratio exceeds one by
    more than a tenth and by more than three times the half-widths between quartiles of both runs.

    Parameters
    ----------
    old, new
        What ``results.json`` holds; `old` may be the file of `ratios`.

    Raises
    ------
    ValueError
        No job in common, or no results of ``spinray bench``.
    """
    if isinstance(old, Mapping) and "ratios" in old:
        return _against_peers(old["ratios"], ratios(list(_timed("NEW", new).values()))), None
    before, after = _timed("OLD", old), _timed("NEW", new)
    common = [key for key in before if key in after]
    if not any(_ours(key) for key in common):
        raise ValueError("no job was measured in both: nothing to compare")
    peers = [after[k]["seconds"] / before[k]["seconds"] for k in common if not _ours(k)]
    drift = median(peers) if len(peers) >= DRIFT_PEERS else None
    changes = [_change(key, before[key], after[key], drift or 1.0) for key in common if _ours(key)]
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
    times = f"{1e3 * old['seconds']:.3g} to {1e3 * new['seconds']:.3g} ms"
    return Change(f"{_words(key)}, {key[2]}", times, ratio, verdict)


def _against_peers(
    baseline: Sequence[Mapping[str, Any]], now: Mapping[tuple[Any, ...], float]
) -> list[Change]:
    """Each job by the median over its peers of how much its ratio to them has grown."""
    grown: dict[str, list[tuple[str, float]]] = {}
    for line in baseline:
        key = row_key({**line, "tool": line["peer"]})
        if key in now:
            grown.setdefault(_words(key), []).append((line["peer"], now[key] / line["ratio"]))
    if not grown:
        raise ValueError("no job was measured beside a peer in both: nothing to compare")
    changes = []
    for job, found in grown.items():
        ratio = median(factor for _, factor in found)
        verdict = (
            "slower" if ratio > 1 + OTHERS else "faster" if ratio < 1 / (1 + OTHERS) else "same"
        )
        words = ", ".join(f"{factor:.2f} x against {peer}" for peer, factor in found)
        changes.append(Change(job, words, ratio, verdict))
    return sorted(changes, key=lambda change: -change.ratio)


def _words(key: tuple[Any, ...]) -> str:
    suite, job, _, facts = key
    return ", ".join([f"{suite}: {job}", *(f"{name} {value:g}" for name, value in facts)])


def _timed(which: str, results: Any) -> dict[tuple[Any, ...], Row]:
    """What a run measured, by what it is of."""
    rows = results.get("rows") if isinstance(results, Mapping) else None
    if not isinstance(rows, list) or not all(
        isinstance(row, Mapping) and row.keys() >= KEYS for row in rows
    ):
        raise ValueError(
            f"{which}: expected the results.json of spinray bench, which has a list of rows with "
            f"{', '.join(sorted(KEYS))}"
        )
    return {row_key(row): row for row in rows if row["status"] == "ok"}


def _ours(key: tuple[Any, ...]) -> bool:
    return str(key[2]).startswith(OURS)
