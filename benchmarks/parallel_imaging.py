"""Parallel imaging and the raw chain against their bars: time, image error, noise, JSON.

    SPINRAY_DATA=FOLDER python -m benchmarks.parallel_imaging [--output FILE.json] [--rounds 7]

GRAPPA: `brain8ch_und2x2.cfl` against pygrappa's mdgrappa with a 7 x 7 kernel, both calibrated on
the 20 x 20 centre; error as in benchmarks.mri. SPIRiT and NLINV stand beside it. g-factor: pseudo
replicas over the closed form, for Cartesian SENSE with the brain's own maps at 108 x 84. EPI: a head in closed
form, echoes late by 0.7 samples in either direction; the ghost's region over the object.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinray.datasets import simulate_mr
from spinray.recon.metrics import nrmse
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

from .common import has, machine, medians, write
from .mri import read_cfl, timed

KERNEL = (7, 7)
CENTRE = (slice(105, 125), slice(80, 100))  # fully sampled in brain8ch_und2x2


def rss(kspace: torch.Tensor) -> torch.Tensor:
    return root_sum_of_squares(Fourier(kspace.shape[-2:]).adjoint(kspace))


def brain(data: Path, name: str) -> torch.Tensor:
    raw = np.moveaxis(read_cfl(data / "mr_kspace" / name), -1, 0)
    return torch.from_numpy(np.ascontiguousarray(raw))


def k_space_methods(data: Path, rounds: int) -> dict[str, Any]:
    """Seconds and errors at 2 x 2."""
    full, under = brain(data, "brain8ch_full"), brain(data, "brain8ch_und2x2")
    truth = rss(full)
    inside = truth > 0.08 * truth.flatten().quantile(0.995)

    def error(image: torch.Tensor) -> float:
        return nrmse(truth, image.abs(), mask=inside, fit_scale=True)

    A = Sampling((under != 0).any(0)) @ Fourier(under.shape[1:])
    results = {
        "GRAPPA": {"nrmse": error(rss(grappa(under)))},
        "SPIRiT": {"nrmse": error(rss(spirit(under)))},
        "NLINV": {"nrmse": error(nlinv(A, under)[0])},
    }
    calls: dict[str, Callable[[], Any]] = {"GRAPPA": lambda: grappa(under)}
    if has("pygrappa"):
        from pygrappa import mdgrappa

        samples, centre = under.numpy(), under[:, *CENTRE].numpy().copy()

        def peer() -> Any:
            return mdgrappa(samples.copy(), centre, kernel_size=KERNEL, coil_axis=0)

        image = torch.from_numpy(np.ascontiguousarray(peer())).to(torch.complex64)
        results["pygrappa"] = {"nrmse": error(rss(image))}
        calls["pygrappa"] = peer
    for name, seconds in medians(calls, rounds).items():
        results[name]["seconds"] = seconds
    results["SPIRiT"]["seconds"] = timed(lambda: spirit(under))[0]
    results["NLINV"]["seconds"] = timed(lambda: nlinv(A, under))[0]
    return results


def noise(data: Path, replicas: int) -> dict[str, Any]:
    """Mean over the object of the ratio of both g-factors, and of its 5 x 5 means' deviation."""
    size = 108, 84  # that 2, 3 and 4 divide
    part = resize(brain(data, "brain8ch_full"), size)
    maps, truth = espirit(part), rss(part)
    inside = truth > 0.08 * truth.flatten().quantile(0.995)
    results = {}
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
        results[f"R={acceleration}"] = {
            "mean g": float(g[inside].mean()),
            "replicas over closed form": float(ratio[inside].mean()),
            "95 % of 5 x 5 means within": float((smooth - 1)[inside].abs().quantile(0.95)),
        }
    return results


def epi_ghost(n: int = 64, delay: float = 0.7) -> dict[str, float]:
    """Mean of the region where the ghost lies over the mean of the object."""
    scan = simulate_mr("head", matrix=n, coils=8)
    cells = (np.arange(n) - n // 2) / n
    reverse = torch.arange(n) % 2 == 1

    def echo(ky: Any, kx: Any, backward: torch.Tensor) -> torch.Tensor:
        kx = kx + np.where(backward, -delay, delay)[:, None] / n
        places = np.stack([ky, kx], -1).reshape(-1, 2) / np.array(scan.spacing)
        values = scan.header["coils"].kspace(scan.header["phantom"], places)
        return torch.from_numpy(values).reshape(-1, *ky.shape).to(torch.complex64)

    kspace = echo(*np.meshgrid(cells, cells, indexing="ij"), reverse)
    own = torch.tensor([False, True, False])
    navigators = echo(np.zeros((3, n)), np.broadcast_to(cells, (3, n)), own)
    truth = rss(scan.kspace)
    inside = truth > 0.05 * truth.max()
    near = torch.nn.functional.max_pool2d(inside[None].float(), 5, 1, 2)[0] > 0
    ghost = inside.roll(n // 2, 0) & ~near

    def level(k: torch.Tensor) -> float:
        image = rss(k)
        return float(image[ghost].mean() / image[inside].mean())

    return {
        "without delay": level(scan.kspace),
        "uncorrected": level(kspace),
        "navigators": level(correct_ghost(kspace, reverse, navigator_phase(navigators, own))),
        "entropy": level(correct_ghost(kspace, reverse, entropy_phase(kspace, reverse))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/parallel_imaging.json")
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the timings")
    parser.add_argument("--replicas", type=int, default=100, help="of the g-factors")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SPINRAY_DATA", "../shared/data"))
    if not (data / "mr_kspace" / "brain8ch_und2x2.cfl").exists():
        print("skipped: mr_kspace/brain8ch_und2x2.cfl is not in SPINRAY_DATA")
        return
    results: dict[str, Any] = {"machine": machine()}
    jobs: dict[str, Callable[[], Any]] = {
        "brain at 2x2": lambda: k_space_methods(data, arguments.rounds),
        "EPI ghost over signal": epi_ghost,
        "g-factor": lambda: noise(data, arguments.replicas),
    }
    for name, job in jobs.items():
        results[name] = job()
        print(f"{name}:")
        for row, values in results[name].items():
            print(f"  {row:16}", values)
        write(arguments.output, results)


if __name__ == "__main__":
    main()
