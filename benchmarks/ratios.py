"""Small jobs' times over those of a peer in the same run: what CI compares, and whether it repeats.

    python -m benchmarks.ratios [--runs 3] [--output FILE.json]

Peers run in turn with Spinray on the same work, so that ratios carry over between machines and days
where milliseconds do not. The file holds the ratio of each run, the median, and the spread: the
largest over the least, less one. `spinray bench small` measures the same jobs, and `spinray bench
--compare FILE.json results.json` names those that lost against the peers.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from . import ct, nufft
from .common import machine, row_key, write
from .protocol import OURS, Row, Task, rows_of

ROUNDS, RUNS = 15, 3
PEERS = ("ducc0", "finufft", "torch FFT Toeplitz", "astra", "astra line", "scikit-image")


def tasks(quick: bool = False) -> Iterator[Task]:
    """Jobs of a few milliseconds, whose peers come with ``pip install .[dev]``."""
    yield from nufft.transforms(
        "2D 256", nufft.radial(402), (256, 256), 8, 1e-3, ("ducc0", "finufft")
    )
    yield from nufft.transforms(
        "3D 64", nufft.kooshball(100_000, 64), (64,) * 3, 8, 1e-3, ("ducc0",)
    )
    for task in (nufft.normal(), *ct.planar("parallel", 256), ct.filtered_back_projection(256)):
        tools = {n: t for n, t in task.tools.items() if n in (OURS, *PEERS)}
        if len(tools) > 1:
            yield replace(task, tools=tools)


def ratios(rows: Sequence[Row]) -> dict[tuple[Any, ...], float]:
    """Spinray's seconds over those of each peer, by the key of the peer's row.

    Of the least times, which other work on the machine disturbs least; older files have the lower
    quartile.
    """
    timed = {row_key(row): row.get("least") or row["low"] for row in rows if row["status"] == "ok"}
    ours = {key[:2] + key[3:]: t for key, t in timed.items() if key[2] == OURS}
    return {
        key: ours[key[:2] + key[3:]] / t
        for key, t in timed.items()
        if key[2] != OURS and key[:2] + key[3:] in ours
    }


def table(runs: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """What the file holds of each job and peer that every run measured."""
    found = [ratios(rows) for rows in runs]
    lines = []
    for key in found[0]:
        if not all(key in one for one in found):
            continue
        values = [one[key] for one in found]
        suite, job, peer, facts = key
        lines.append({
            "suite": suite, "job": job, "peer": peer, "facts": dict(facts),
            "ratio": median(values), "runs": values, "spread": max(values) / min(values) - 1,
        })  # fmt: skip
    return lines


def report(runs: Sequence[Sequence[Row]]) -> Mapping[str, Any]:
    """The file."""
    lines = table(runs)
    return {
        "machine": machine(), "rounds": ROUNDS, "runs": len(runs), "ratios": lines,
        "largest spread": max(line["spread"] for line in lines),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--output", type=Path, help="JSON")
    options = parser.parse_args()
    runs = [list(rows_of(tasks(), ROUNDS)) for _ in range(options.runs)]
    found = report(runs)
    for line in found["ratios"]:
        print(f"{line['ratio']:6.3f} +- {100 * line['spread']:4.1f} %  "
              f"{line['suite']}: {line['job']} over {line['peer']}")  # fmt: skip
    print(f"largest spread: {100 * found['largest spread']:.1f} %")
    if options.output:
        write(options.output, found)


if __name__ == "__main__":
    main()
