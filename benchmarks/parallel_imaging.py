"""Parallel imaging and the raw chain against their bars: image error, time, noise, ghosts, JSON.

    SPINRAY_DATA=FOLDER python -m benchmarks.parallel_imaging [--job NAME] [--output FILE.json]

quality, times (wants a quiet machine, under a minute): GRAPPA of `brain8ch_und2x2.cfl` against
pygrappa's mdgrappa with a 7 x 7 kernel, both calibrated on the 20 x 20 centre; error as in
benchmarks.mri. SPIRiT and NLINV stand beside it. ghost: EPI of phantoms in closed form, echoes late
by 0.7 samples in either direction. g-factor: pseudo replicas over the closed form, for Cartesian
SENSE with the brain's own maps at 108 x 84.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinray.datasets import simulate_mr
from spinray.recon.mri import (
    correct_ghost,
    entropy_phase,
    espirit,
    grappa,
    navigator_phase,
    nlinv,
    pseudo_replicas,
    resize,
    root_sum_of_squares,
    sense_g_factor,
    spirit,
)
from spinray.recon.operators import Fourier, Sampling, Sense
from spinray.recon.solvers import conjugate_gradient

from .common import Job, Report, has, medians, run_jobs
from .mri_cases import Undersampled, brain, folder_with_brain, object_of
from .protocol import seconds_of

KERNEL = (7, 7)
CENTRE = (slice(105, 125), slice(80, 100))  # fully sampled in brain8ch_und2x2
PHANTOMS = ("head", "shepp-logan", "letter-f", "water")
JOBS = ("quality", "times", "ghost", "g-factor")


def rss(kspace: torch.Tensor) -> torch.Tensor:
    return root_sum_of_squares(Fourier(kspace.shape[-2:]).adjoint(kspace))


def quality(data: Path) -> Iterator[Report]:
    """Errors at 2 x 2."""
    full, under = brain(data), brain(data, "brain8ch_und2x2")
    error = Undersampled(full, (under != 0).any(0), rss(full)).error
    A = Sampling((under != 0).any(0)) @ Fourier(under.shape[1:])
    found = {
        "GRAPPA": error(rss(grappa(under))),
        "SPIRiT": error(rss(spirit(under))),
        "NLINV": error(nlinv(A, under)[0]),
    }
    if peer := pygrappa(under):
        found["pygrappa"] = error(rss(torch.from_numpy(np.ascontiguousarray(peer()))))
    yield {"nrmse": found}


def times(data: Path, rounds: int) -> Iterator[Report]:
    """Seconds at 2 x 2; of SPIRiT and NLINV once."""
    under = brain(data, "brain8ch_und2x2")
    A = Sampling((under != 0).any(0)) @ Fourier(under.shape[1:])
    calls: dict[str, Callable[[], Any]] = {"GRAPPA": lambda: grappa(under)}
    if peer := pygrappa(under):
        calls["pygrappa"] = peer
    seconds = medians(calls, rounds)
    seconds["SPIRiT"] = seconds_of(lambda: spirit(under))
    seconds["NLINV"] = seconds_of(lambda: nlinv(A, under))
    yield {"seconds": seconds}


def pygrappa(under: torch.Tensor) -> Callable[[], Any] | None:
    """A call that fills in the k-space, if the package is installed."""
    if not has("pygrappa"):
        return None
    from pygrappa import mdgrappa

    samples, centre = under.numpy(), under[:, *CENTRE].numpy().copy()
    return lambda: mdgrappa(samples.copy(), centre, kernel_size=KERNEL, coil_axis=0).astype(
        np.complex64
    )


def g_factor(data: Path, replicas: int) -> Iterator[Report]:
    """Mean over the object of the ratio of both g-factors, and of its 5 x 5 means' deviation."""
    size = 108, 84  # that 2, 3 and 4 divide
    part = resize(brain(data), size)
    maps, truth = espirit(part), rss(part)
    inside = object_of(truth)
    rows: Report = {}
    for acceleration in (2, 3, 4):
        mask = torch.zeros(size, dtype=torch.bool)
        mask[::acceleration] = True
        g = sense_g_factor(maps, mask)
        A = Sense(maps, mask=mask)
        std = pseudo_replicas(
            lambda k, A=A: conjugate_gradient(A, k, iterations=60), part * mask, mask,
            replicas=replicas,
        )  # fmt: skip
        ratio = std * (2 / acceleration) ** 0.5 / g
        smooth = torch.nn.functional.avg_pool2d(ratio[None], 5, 1, 2)[0]
        rows[f"R={acceleration}"] = {
            "mean g": float(g[inside].mean()),
            "replicas over closed form": float(ratio[inside].mean()),
            "95 % of 5 x 5 means within": float((smooth - 1)[inside].abs().quantile(0.95)),
        }
        yield {"rows": rows}


def ghost(n: int = 64, delay: float = 0.7) -> Iterator[Report]:
    """The region where the ghost lies over the object, of phantoms with sharp edges.

    "level" is the mean of the image there, ringing of the edges included; "beyond ringing" that of
    its difference from the scan without delay.
    """
    rows: Report = {}
    for name in PHANTOMS:
        rows[name] = _ghost(name, n, delay)
        yield {"rows": rows}


def _ghost(name: str, n: int, delay: float) -> Report:
    scan = simulate_mr(name, matrix=n, coils=8)
    cells = (np.arange(n) - n // 2) / n
    reverse = torch.arange(n) % 2 == 1

    def echo(ky: Any, kx: Any, backward: torch.Tensor) -> torch.Tensor:
        kx = kx + np.where(backward, -delay, delay)[:, None] / n
        places = np.stack([ky, kx], -1).reshape(-1, 2) / np.array(scan.spacing)
        values = scan.header["coils"].kspace(scan.header["phantom"], places)
        scale = 1 / (n * np.prod(scan.spacing))
        return torch.from_numpy(scale * values).reshape(-1, *ky.shape).to(torch.complex64)

    kspace = echo(*np.meshgrid(cells, cells, indexing="ij"), reverse)
    own = torch.tensor([False, True, False])
    navigators = echo(np.zeros((3, n)), np.broadcast_to(cells, (3, n)), own)
    truth = rss(scan.kspace)
    inside = truth > 0.05 * truth.max()
    near = torch.nn.functional.max_pool2d(inside[None].float(), 5, 1, 2)[0] > 0
    place, signal = inside.roll(n // 2, 0) & ~near, truth[inside].mean()

    def levels(k: torch.Tensor) -> dict[str, float]:
        rest = (k - scan.kspace) * (k != 0)
        return {
            "level": float(rss(k)[place].mean() / signal),
            "beyond ringing": float(rss(rest)[place].mean() / signal),
        }

    return {
        "without delay": levels(scan.kspace),
        "uncorrected": levels(kspace),
        "navigators": levels(correct_ghost(kspace, reverse, navigator_phase(navigators, own))),
        "entropy": levels(correct_ghost(kspace, reverse, entropy_phase(kspace, reverse))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/parallel_imaging.json")
    )
    parser.add_argument("--job", choices=JOBS, help="one of them; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the timings")
    parser.add_argument("--replicas", type=int, default=100, help="of the g-factors")
    arguments = parser.parse_args()
    if (data := folder_with_brain()) is None:
        print("skipped: mr_kspace/brain8ch_full.cfl is not in SPINRAY_DATA")
        return
    jobs: dict[str, Job] = {
        "quality": lambda report: quality(data),
        "times": lambda report: times(data, arguments.rounds),
        "ghost": lambda report: ghost(),
        "g-factor": lambda report: g_factor(data, arguments.replicas),
    }
    run_jobs(jobs, arguments.output, arguments.job)
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
