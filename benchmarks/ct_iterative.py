"""Iterative CT against FBP and against ASTRA's SIRT and CGLS: JSON with the machine.

    SPINRAY_DATA=FOLDER python -m benchmarks.ct_iterative [quality|sparse|speed] [--output FILE.json]

Slices of `cranium_hu.npz`, projected on a grid twice as fine as that reconstructed, 512^2 pixels, a
clinical curved fan, 1e4 photons a ray and 5 of electronic noise. ASTRA has no curved fan: `sparse`
and `speed` are of a flat one. Methods run at their default settings.

`quality`: 984 views, `pwls`, `tv` and `tgv` against FBP with the best filter by PSNR (peak: the
image's maximum). Resolution is the task transfer of a disc of 6 mm radius and 60 HU, inserted into
the brain before the projection: difference of images with and without it, of the same noise.
`sparse`: 60 views, `tv` against ASTRA's SIRT and CGLS at the iteration of their highest PSNR.
`speed`: wall time until `pwls` is within 1 HU RMS of where it converges, FBP and setup included,
against the time that ASTRA's loops take to their best iteration, from the seconds of their first.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from spinray.datasets.simulate import clinical_fan
from spinray.recon import ct
from spinray.recon.ct.hounsfield import WATER
from spinray.recon.operators import XRayTransform
from spinray.recon.solvers import cgls, sirt

from .common import Report, run_jobs
from .subjects import HEAD, HEAD_SPACING

SLICE, PIXELS, PHOTONS, NOISE = 60, 512, 1e4, 5.0
FILTERS = [("ram-lak", 1.0), ("shepp-logan", 1.0), ("cosine", 1.0), ("hann", 1.0), ("hann", 0.8), ("hann", 0.6)]
DISC = 6.0  # mm
CONTRAST = 60.0  # HU
PASSES = 10


class Head:
    """A scan of one slice on a grid of 512^2 pixels, with its truth and noise."""

    def __init__(self, data: Path, views: int, detector: str) -> None:
        hu = torch.from_numpy(np.load(data / HEAD)["hu"][SLICE].astype(np.float32))
        coarse = ct.from_hounsfield(hu).clamp_min(0)[None, None]
        self.fine = interpolate(coarse, size=(2 * PIXELS,) * 2, mode="bilinear")[0, 0].contiguous()
        extent = HEAD_SPACING * hu.shape[-1]
        self.volume = sr.VolumeGrid((PIXELS, PIXELS), (extent / PIXELS,) * 2)
        self._fine_grid = sr.VolumeGrid((2 * PIXELS,) * 2, (extent / PIXELS / 2,) * 2)
        curved = clinical_fan(extent / math.sqrt(2), views, columns=736)
        widest = float(curved.fan_angles.max())
        flat = curved.column_spacing * math.tan(widest) / widest
        spacing = flat if detector == "flat" else curved.column_spacing
        self.geometry = dataclasses.replace(curved, detector=detector, column_spacing=spacing)
        self.A = XRayTransform(self.geometry, self.volume)
        self.truth = self.mean(self.fine)
        self.counts = ct.simulate_counts(self.project(self.fine), PHOTONS, electronic_noise=NOISE, seed=1)
        self.sinogram = ct.line_integrals(self.counts, PHOTONS)
        self.weights = ct.statistical_weights(self.counts, electronic_noise=NOISE)

    def project(self, fine: Tensor) -> Tensor:
        return XRayTransform(self.geometry, self._fine_grid)(fine)

    def mean(self, fine: Tensor) -> Tensor:
        return avg_pool2d(fine[None], 2)[0]

    def disc(self, x: float, y: float) -> Tensor:
        """The insert on the fine grid, in 1/mm."""
        ys, xs = (torch.from_numpy(self._fine_grid.positions(axis)).float() for axis in (0, 1))
        distance = torch.hypot(ys[:, None] - y, xs[None] - x)
        pitch = self._fine_grid.spacing[0]
        return CONTRAST * WATER / 1000 * ((DISC - distance) / pitch + 0.5).clamp(0, 1)

    def fbp(self, sinogram: Tensor, name: str = "hann", cutoff: float = 1.0) -> Tensor:
        return ct.fbp(sinogram, self.geometry, self.volume, filter=name, cutoff=cutoff)

    def rmse(self, image: Tensor) -> float:
        return rms_hu(image, self.truth)

    def psnr(self, image: Tensor) -> float:
        return 20 * math.log10(1000 * float(self.truth.max()) / WATER / self.rmse(image))


def rms_hu(a: Tensor, b: Tensor) -> float:
    return 1000 / WATER * float((a - b).square().mean().sqrt())


def quality(data: Path) -> Iterator[Report]:
    """984 views: PSNR, and the frequency that an insert of low contrast keeps half of."""
    head = Head(data, 984, "curved")
    place = soft_place(head)
    insert = head.disc(*place)
    with_disc = simulated_with(head, insert)
    rows: Report = {}
    for name, cutoff in FILTERS:
        image = head.fbp(head.sinogram, name, cutoff)
        rows[f"fbp {name} {cutoff}"] = figures(head, image)
    best = max(rows, key=lambda row: rows[row]["psnr"])
    _, name, cutoff = best.split()
    filtered = [head.fbp(s, name, float(cutoff)) for s, _ in with_disc]
    rows[best]["mtf50_per_mm"] = transfer(head, filtered, place)
    report: Report = {"insert at": place, "best filter": best, "rows": rows}
    for method, solve in methods(head).items():
        start = time.perf_counter()
        images = [solve(s, w) for s, w in with_disc]
        row = figures(head, images[0]) | {"seconds": (time.perf_counter() - start) / 2}
        row["mtf50_per_mm"] = transfer(head, images, place)
        row["gain_db"] = row["psnr"] - rows[best]["psnr"]
        row["resolution"] = row["mtf50_per_mm"] / rows[best]["mtf50_per_mm"]
        rows[method] = row
        print(method, row, flush=True)
        yield report


def methods(head: Head) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    return {
        "pwls": lambda s, w: ct.pwls(head.A, s, w, initial=start_of(head, s)),
        "tv": lambda s, w: ct.tv(head.A, s, weight="auto", weights=w, initial=start_of(head, s)),
        "tgv": lambda s, w: ct.tgv(head.A, s, weight="auto", weights=w, initial=start_of(head, s)),
    }


def start_of(head: Head, sinogram: Tensor) -> Tensor:
    return head.fbp(sinogram).clamp_min(0)


def figures(head: Head, image: Tensor) -> Report:
    return {"psnr": head.psnr(image), "rmse_hu": head.rmse(image)}


def soft_place(head: Head) -> tuple[float, float]:
    """Where the brain is most even for 12 mm about."""
    size = 2 * round(12 / head.volume.spacing[0]) + 1
    mean = avg_pool2d(head.truth[None], size, 1)[0]
    spread = (avg_pool2d(head.truth.square()[None], size, 1)[0] - mean.square()).clamp_min(0)
    spread[(mean / WATER - 1.03).abs() > 0.02] = math.inf
    row, column = np.unravel_index(int(spread.argmin()), spread.shape)
    half = size // 2
    return tuple(float(head.volume.positions(a)[i + half]) for a, i in ((1, column), (0, row)))  # type: ignore[return-value]


def simulated_with(head: Head, insert: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Line integrals and weights without and with the insert, of the same noise.

    The insert's own share of the noise (1 %) is left out, so that the difference is the insert.
    """
    change = head.project(insert)
    counts = head.counts * torch.exp(-change)
    pair = []
    for readings in (head.counts, counts):
        weights = ct.statistical_weights(readings, electronic_noise=NOISE)
        pair.append((ct.line_integrals(readings, PHOTONS), weights))
    return pair


def transfer(head: Head, images: list[Tensor], place: tuple[float, float]) -> float:
    """Frequency in cycles/mm of which the insert's rim keeps a half."""
    spacing = head.volume.spacing[0]
    x, y = ((p - float(head.volume.positions(a)[0])) / spacing for a, p in ((1, place[0]), (0, place[1])))
    rim = sr.metrics.ttf_disc(images[1] - images[0], spacing, (y, x), DISC)
    return rim.frequency_at(0.5)


def sparse(data: Path) -> Iterator[Report]:
    """60 views: `tv` at its default weight against ASTRA's SIRT and CGLS at their best."""
    head = Head(data, 60, "flat")
    start = time.perf_counter()
    image = ct.tv(head.A, head.sinogram)
    rows: Report = {"tv": figures(head, image) | {"seconds": time.perf_counter() - start}}
    rows["fbp hann"] = figures(head, head.fbp(head.sinogram))
    yield {"rows": rows}
    for name, most, step in (("SIRT", 160, 10), ("CGLS", 24, 1)):
        rows[f"astra {name}"] = best_of_astra(head, name, most, step)
        rows[f"gain over {name}, dB"] = rows["tv"]["psnr"] - rows[f"astra {name}"]["psnr"]
        print(name, rows[f"astra {name}"], flush=True)
        yield {"rows": rows}


def best_of_astra(head: Head, name: str, most: int, step: int) -> Report:
    run = Astra(head, name)
    best: Report = {"psnr": -math.inf}
    start = time.perf_counter()
    for done in range(step, most + 1, step):
        found = figures(head, run(step))
        if found["psnr"] <= best["psnr"]:
            break
        best = found | {"iterations": done, "seconds": time.perf_counter() - start}
    return best


class Astra:
    """One of ASTRA's algorithms with its line projector, its fastest on a CPU."""

    def __init__(self, head: Head, name: str) -> None:
        import astra

        half = head.volume.extent[0] / 2
        beam = head.geometry.to_astra()
        volume = astra.create_vol_geom(PIXELS, PIXELS, -half, half, -half, half)
        self.data2d, self.run, self.out = astra.data2d, astra.algorithm.run, astra.data2d.create("-vol", volume, 0.0)
        settings = astra.astra_dict(name)
        settings |= {
            "ProjectorId": astra.create_projector("line_fanflat", beam, volume),
            "ProjectionDataId": astra.data2d.create("-sino", beam, head.sinogram.numpy()),
            "ReconstructionDataId": self.out,
        }  # fmt: skip
        if name == "SIRT":
            settings["option"] = {"MinConstraint": 0.0}
        self.algorithm = astra.algorithm.create(settings)

    def __call__(self, iterations: int) -> Tensor:
        """Go on, and return the image in 1/mm."""
        self.run(self.algorithm, iterations)
        return torch.from_numpy(self.data2d.get(self.out)[::-1].copy())


def speed(data: Path) -> Iterator[Report]:
    """Seconds to 1 HU RMS of the converged image, and ASTRA's to their best iteration."""
    head = Head(data, 984, "flat")
    initial = start_of(head, head.sinogram)
    solve(head, initial, 1)  # compiles
    start = time.perf_counter()
    initial = start_of(head, head.sinogram)
    images: list[Tensor] = []
    times: list[float] = []
    overhead = 0.0

    def watch(iteration: int, x: Tensor, change: float) -> None:
        nonlocal overhead
        now = time.perf_counter()
        times.append(now - start - overhead)
        images.append(x.clone())
        overhead += time.perf_counter() - now

    ct.pwls(head.A, head.sinogram, head.weights, initial=initial, iterations=PASSES, callback=watch)
    converged = ct.pwls(ct.ordered_views(head.A, 6), head.sinogram, head.weights, initial=images[-1], iterations=20)
    errors = [rms_hu(image, converged) for image in images]
    report: Report = {
        "subsets": len(ct.ordered_views(head.A)), "seconds": times, "rms_to_converged_hu": errors,
        "start_hu": rms_hu(initial, converged), "psnr": head.psnr(converged),
        "pwls, seconds to 1 HU": next((t for t, e in zip(times, errors, strict=True) if e < 1), None),
    }  # fmt: skip
    print(report, flush=True)
    yield report
    steps = {"SIRT": best_iteration(head, sirt, 200), "CGLS": best_iteration(head, cgls, 40)}
    for name, count in steps.items():
        run = Astra(head, name)
        run(1)
        start = time.perf_counter()
        run(2)
        each = (time.perf_counter() - start) / 2
        report[f"astra {name}"] = {
            "seconds an iteration": each, "best iteration": count, "seconds to it": each * count,
        }  # fmt: skip
        print(name, report[f"astra {name}"], flush=True)
        yield report


def solve(head: Head, initial: Tensor, iterations: int) -> Tensor:
    return ct.pwls(head.A, head.sinogram, head.weights, initial=initial, iterations=iterations)


def best_iteration(head: Head, solver: Any, most: int) -> int:
    """Of the highest PSNR, by Spinray's own solver: the same iterates, in less time."""
    scores: list[float] = []
    solver(head.A, head.sinogram, iterations=most, callback=lambda i, x, c: scores.append(head.psnr(x)))
    return int(np.argmax(scores)) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("job", nargs="?", choices=["quality", "sparse", "speed"], help="default: all")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/ct_iterative.json"))
    arguments = parser.parse_args()
    data = Path(os.environ.get("SPINRAY_DATA", "../shared/data"))
    jobs = {"quality": quality, "sparse": sparse, "speed": speed}
    run_jobs({name: lambda _, job=job: job(data) for name, job in jobs.items()}, arguments.output, arguments.job)


if __name__ == "__main__":
    main()
