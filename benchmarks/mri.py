"""MR methods against BART and SigPy: image errors, times, JSON.

    SPINRAY_DATA=FOLDER python -m benchmarks.mri [--job quality|weights|times] [--output FILE.json]

quality: `brain8ch_full.cfl` (real, 8 coils, 230 x 180) under three masks at each of three
accelerations, and two slices that are simulated through 8 coils (`mri_cases`). The peers run at
each weight of a sweep and show the best on that very scan; Spinray runs once, at its default weight.

weights: how that default was chosen: a sweep on three other simulated images. Neither the real
slice nor the simulated ones of `quality` take part.

times (after quality; wants a quiet machine, under a minute): seconds until each peer's error at its
best settings is reached, against the peer's own seconds, and ESPIRiT maps. BART's are of the whole
process, files included.

Every job writes its own part of the file and leaves the others as they are.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from spinray.recon.mri import espirit, wavelet_sense
from spinray.recon.operators import Sense

from .common import Job, Report, medians, run_jobs
from .mri_cases import DEVELOPMENT, Case, Undersampled, brain, folder_with_brain
from .mri_peers import best, espirit_calls, peers
from .protocol import seconds_of

ACCELERATIONS, MASKS = (4, 8, 12), (0, 1, 2)
CASES = [Case("brain", a, seed) for a in ACCELERATIONS for seed in MASKS]
CASES += [Case(name, a, 0) for name in ("other patient", "chest") for a in ACCELERATIONS]
WEIGHTS = (1.4, 2.0, 2.4, 2.8, 3.4)
JOBS = ("quality", "weights", "times")


def quality(data: Path, report: Report, *, fresh: bool) -> Iterator[Report]:
    """Errors of every case; the peers' that are already in the file are kept."""
    rows = {} if fresh else dict(report.get("quality", {}).get("rows", {}))
    for case in CASES:
        scan, row = case.load(data), dict(rows.get(str(case), {}))
        A = Sense(espirit(scan.kspace), mask=scan.mask)
        row["Spinray"] = {"nrmse": scan.error(wavelet_sense(A, scan.kspace))}
        row |= {peer: best(peer, scan) for peer in peers() if peer not in row}
        rows[str(case)] = row
        shown = (f"{tool} {found['nrmse']:.4f}" for tool, found in rows[str(case)].items())
        print(f"{case}: {', '.join(shown)}", flush=True)
        yield {"rows": rows}


def weights(data: Path) -> Iterator[Report]:
    """Errors at each weight on the images that are for choosing it."""
    rows: dict[str, dict[str, float]] = {}
    means: dict[str, float] = {}
    for case in (Case(name, a, 3) for name in DEVELOPMENT for a in ACCELERATIONS):
        scan = case.load(data)
        A = Sense(espirit(scan.kspace), mask=scan.mask)
        row = {f"{w:g}": scan.error(wavelet_sense(A, scan.kspace, weight=w)) for w in WEIGHTS}
        rows[str(case)] = row
        print(case, {w: round(error, 4) for w, error in row.items()}, flush=True)
        means = {w: statistics.geometric_mean(r[w] for r in rows.values()) for w in row}
        yield {"rows": rows, "geometric mean": means}
    print("geometric mean", {w: round(mean, 4) for w, mean in means.items()})


def times(data: Path, report: Report, rounds: int) -> Iterator[Report]:
    """Seconds to the peers' errors on the real slice's first mask, and of ESPIRiT."""
    kspace = brain(data)
    with tempfile.TemporaryDirectory() as name:
        calls = {"Spinray": lambda: espirit(kspace)} | espirit_calls(kspace, Path(name))
        maps = medians(calls, rounds)
    print("ESPIRiT maps, seconds:", maps, flush=True)
    rows: Report = {}
    for case in (Case("brain", a, 0) for a in ACCELERATIONS):
        rows[str(case)] = time_to_errors(
            case.load(data), report["quality"]["rows"][str(case)], rounds
        )
        print(case, rows[str(case)], flush=True)
        yield {"espirit": maps, "to the peers' errors": rows}


def time_to_errors(
    scan: Undersampled, row: dict[str, dict[str, float]], rounds: int
) -> dict[str, dict[str, float | None]]:
    """For each peer: its seconds at its best settings, and ours until that error is reached."""
    A = Sense(espirit(scan.kspace), mask=scan.mask)
    goals = {peer: row[peer]["nrmse"] for peer in row if peer != "Spinray"}
    history: list[torch.Tensor] = []
    wavelet_sense(A, scan.kspace, callback=lambda i, x, change: history.append(x.clone()))
    errors = [scan.error(x) for x in history]
    steps = {p: next((i for i, e in enumerate(errors) if e <= g), None) for p, g in goals.items()}
    ours = {p: [s for _ in range(rounds) if (s := until(scan, A, n))] for p, n in steps.items()}
    found: dict[str, dict[str, float | None]] = {}
    for peer, (runs, _) in peers().items():
        with runs(scan.kspace) as prepare:
            settings = {k: row[peer][k] for k in ("weight", "iterations")}
            seconds = [seconds_of(prepare(settings)) for _ in range(min(rounds, 3))]
        reached = statistics.median(ours[peer]) if ours[peer] else None
        found[peer] = {"Spinray": reached, peer: statistics.median(seconds)}
    return found


def until(scan: Undersampled, A: Sense, last: int | None) -> float | None:
    """Seconds from the start to the end of an iteration."""
    if last is None:
        return None
    stamps: list[float] = []
    start = time.perf_counter()
    wavelet_sense(A, scan.kspace, callback=lambda i, x, change: stamps.append(time.perf_counter()))
    return stamps[last] - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/mri.json"))
    parser.add_argument("--job", choices=JOBS, help="one of them; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the timings")
    parser.add_argument("--fresh", action="store_true", help="run the peers' sweeps again")
    arguments = parser.parse_args()
    if (data := folder_with_brain()) is None:
        print("skipped: mr_kspace/brain8ch_full.cfl is not in SPINRAY_DATA")
        return
    jobs: dict[str, Job] = {
        "quality": lambda report: quality(data, report, fresh=arguments.fresh),
        "weights": lambda report: weights(data),
        "times": lambda report: times(data, report, arguments.rounds),
    }
    run_jobs(jobs, arguments.output, arguments.job)


if __name__ == "__main__":
    main()
