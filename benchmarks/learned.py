"""Trained networks against the best classical methods, on scans that they never saw.

    SPINRAY_DATA=FOLDER python -m benchmarks.learned [mr|ct] [--weights FILE] [--output FILE.json]

MR: `brain8ch_full.cfl` (8 coils, 230 x 180) undersampled by Poisson discs and by lines, as it was
measured and with noise added, as of weaker fields or thinner slices. Figures are of magnitudes
inside the object (full-data root sum of squares above 8 % of its 99.5 percentile), scale fitted
there. CT: slices of `cranium_hu.npz`, projected on a grid twice as fine,
curved fan, 1e4 photons a ray. Classical methods run at each weight of a sweep and show their best.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spinray.datasets import LineMask, SimulatedCT, kspace_findings, masks, report
from spinray.datasets.reports import crimes_in_words
from spinray.recon.ct.hounsfield import WATER
from spinray.recon.metrics import nrmse, ssim
from spinray.recon.operators import XRayTransform

from .bart import has_bart
from .common import data_folder, machine, write
from .mri_peers import BART_WEIGHTS, bart_runs
from .subjects import HEAD, HEAD_SPACING, Brain


def _disc(acceleration: float) -> Callable[[Sequence[int], int], tuple[Tensor, int]]:
    return lambda shape, seed: (masks.poisson(shape, acceleration, calibration=24, seed=seed), 24)


MR_CASES: dict[str, Any] = {
    "Poisson 4x": _disc(4),
    "Poisson 8x": _disc(8),
    "Poisson 12x": _disc(12),
    "lines 4x": LineMask(kind="equispaced", center_fractions=[0.08], accelerations=[4]),
    "lines 8x": LineMask(kind="equispaced", center_fractions=[0.04], accelerations=[8]),
}
MR_METHODS: dict[str, tuple[str | float, ...]] = {  # weights of each sweep
    "l1-wavelet": ("auto", 0.8, 1.5, 2.4, 4.0),
    "tv": ("auto", 0.25, 0.5, 1.0, 2.0),
    "tgv": ("auto", 0.25, 0.5, 1.0, 2.0),
}
NOISY: dict[str, tuple[str | float, ...]] = {  # where noise is added
    "l1-wavelet": (*MR_METHODS["l1-wavelet"], 6.0),
    "tv": (*MR_METHODS["tv"], 4.0),
}
MR_NOISE = (1, 2, 4)  # times the noise that was measured; the target keeps its own
CT_VIEWS = (984, 60)
FEW_VIEWS = 100  # for plug-and-play, whose time grows with the views
CT_SLICES = range(15, 100, 15)
CT_FILTERS = ("ram-lak", "shepp-logan", "cosine", "hann")
CT_WEIGHTS = {984: (5e-5, 1e-4, 2e-4, 4e-4, 8e-4), 60: (2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3)}
PHOTONS, READOUT = 1e4, 5.0  # a ray without object; their standard deviation of electronic noise
SOFT_TISSUE = (0.0, 80.0)  # HU
Row = dict[str, Any]


class Scored(Brain):
    """What an image of the brain scores."""

    @property
    def noise(self) -> float:
        """Of the target, from two corners in the air."""
        corners = torch.cat([self.coils[:, :12, :12], self.coils[:, -12:, :12]])
        return float(corners.real.square().mean().sqrt())

    def noisier(self, times: float) -> Tensor:
        """The k-space with noise added, so that there is so many times as much."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.kspace.shape, dtype=self.kspace.dtype, generator=generator)
        return self.kspace + math.sqrt(2 * (times**2 - 1)) * self.noise * noise

    def score(self, image: Tensor) -> Row:
        """NRMSE, PSNR by the maximum and mean SSIM, all inside the object, scale fitted there."""
        image = image.abs()
        x, t = image[self.inside].double(), self.target[self.inside].double()
        image = image * float(x @ t / (x @ x))
        error = nrmse(self.target, image, mask=self.inside)
        peak = float(t.max() / t.square().mean().sqrt())
        return {
            "nrmse": error,
            "psnr": 20 * math.log10(peak / error),
            "ssim": ssim(self.target, image, mask=self.inside),
        }

    def limit(self) -> Row:
        """What the true image would score: the target holds one image's worth of noise."""
        inside = self.target[self.inside].double()
        error = self.noise / float(inside.square().mean().sqrt())
        return {"nrmse": error, "psnr": 20 * math.log10(float(inside.max()) / self.noise)}


def mr(data: Path, weights: str) -> dict[str, Any]:
    """Every case: the network, each classical method at its best weight, BART's at its best."""
    brain = Scored(data)
    result: dict[str, Any] = {"reference noise": brain.limit()}
    print(crimes_in_words(kspace_findings(brain.kspace, where="the brain"), 1), flush=True)
    for times in MR_NOISE:
        for name, sampler in MR_CASES.items():
            mask, _ = sampler(brain.kspace.shape[1:], 0)
            mask = mask.expand(brain.kspace.shape[1:])
            scan = sr.MRScan(kspace=brain.noisier(times) * mask, mask=mask)
            case = name if times == 1 else f"{name}, noise x {times}"
            result[case] = _mr_rows(brain, scan, weights, MR_METHODS if times == 1 else NOISY)
            if times == 1 and has_bart():
                result[case]["bart pics"] = _best(dict(_bart(brain, scan.kspace)))
            _print(case, result[case])
    return result


def _mr_rows(
    brain: Scored, scan: sr.MRScan, weights: str, methods: dict[str, tuple[str | float, ...]]
) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    image = sr.reconstruct(scan, method="unrolled", weights=weights)  # compiles
    start = time.perf_counter()
    image = sr.reconstruct(scan, method="unrolled", weights=weights)
    rows["unrolled"] = brain.score(image.data) | {"seconds": time.perf_counter() - start}
    rows["pnp"] = brain.score(sr.reconstruct(scan, method="pnp", progress=False).data)
    for method, sweep in methods.items():
        images = {w: sr.reconstruct(scan, method=method, weight=w).data for w in sweep}
        rows[method] = _best({w: brain.score(x) for w, x in images.items()})
    return rows


def _bart(brain: Scored, kspace: Tensor) -> Iterator[tuple[float, Row]]:
    with bart_runs(kspace) as prepare:
        for weight in BART_WEIGHTS:
            image = prepare({"weight": weight, "iterations": 100})()
            yield weight, brain.score(torch.from_numpy(np.ascontiguousarray(image)))


def ct(data: Path, weights: str) -> dict[str, Any]:
    """Each number of views: both networks, `tv` at its best weight and by weighed rays, best FBP."""
    network = sr.models.load_model(weights or "unrolled-ct")
    result = {}
    for views in CT_VIEWS:
        scans = SimulatedCT(
            [data / HEAD],
            spacing=HEAD_SPACING, views=views, photons=PHOTONS, electronic_noise=READOUT, fixed=True,
        )  # fmt: skip
        print(report(scans), flush=True)
        A = XRayTransform(scans.geometry, scans.volume)
        examples = [scans[number] for number in CT_SLICES]
        data_, targets = [e.sinogram for e in examples], [e.target for e in examples]
        start = time.perf_counter()
        with torch.inference_mode():
            images = [network(A, y) for y in data_]
        seconds = (time.perf_counter() - start) / len(images)
        rows = {"unrolled": _ct_score(images, targets) | {"seconds": seconds}}
        starts = {
            f: [sr.ct.fbp(y, A.geometry, A.volume, filter=f) for y in data_] for f in CT_FILTERS
        }
        rows["tv"] = _best(
            {w: _ct_score(_tv(A, data_, starts["hann"], w), targets) for w in CT_WEIGHTS[views]}
        )
        weighed = [_weighed_tv(A, y, start) for y, start in zip(data_, starts["hann"], strict=True)]
        rows["tv, rays weighed"] = _ct_score(weighed, targets)
        rows["fbp"] = _best({f: _ct_score(x, targets) for f, x in starts.items()})
        if views <= FEW_VIEWS:
            rows["pnp"] = _ct_score([_pnp(A, y) for y in data_], targets)
        result[f"{views} views"] = rows
        _print(f"{views} views", rows)
    return result


def _tv(A: XRayTransform, data: list[Tensor], starts: list[Tensor], weight: float) -> list[Tensor]:
    return [
        sr.ct.tv(A, y, weight=weight, initial=start) for y, start in zip(data, starts, strict=True)
    ]


def _weighed_tv(A: XRayTransform, y: Tensor, start: Tensor) -> Tensor:
    weights = sr.ct.statistical_weights(PHOTONS * torch.exp(-y), electronic_noise=READOUT)
    return sr.ct.tv(A, y, weight="auto", weights=weights, initial=start)


def _pnp(A: XRayTransform, y: Tensor) -> Tensor:
    """The prior that comes with Spinray, by the method's defaults."""
    scan = sr.CTScan(y, A.geometry, volume=A.volume)
    return sr.reconstruct(scan, "pnp", progress=False).data


def _ct_score(images: list[Tensor], targets: list[Tensor]) -> Row:
    """Means over slices, PSNR and SSIM by the slice's maximum; the largest bias of soft tissue."""
    rows = []
    for image, target in zip(images, targets, strict=True):
        hu, error = 1000 * (target / WATER - 1), 1000 * (image - target) / WATER
        soft = (hu >= SOFT_TISSUE[0]) & (hu <= SOFT_TISSUE[1])
        rmse, maximum = float(error.square().mean().sqrt()), float(target.max())
        rows.append(
            {
                "psnr": 20 * math.log10(1000 * maximum / WATER / rmse),
                "rmse_hu": rmse,
                "ssim": ssim(target, image, data_range=maximum),
                "bias_hu": abs(float(error[soft].mean())),
                "soft_rmse_hu": float(error[soft].square().mean().sqrt()),
            }
        )
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return means | {"bias_hu": max(row["bias_hu"] for row in rows)}


def _best(runs: dict[Any, Row]) -> Row:
    """The run of the highest PSNR, and its weight."""
    weight = max(runs, key=lambda key: runs[key]["psnr"])
    return runs[weight] | {"weight": weight}


def _print(case: str, rows: dict[str, Row]) -> None:
    for method, row in rows.items():
        figures = "  ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
        )
        print(f"{case:14}{method:12}{figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modality", nargs="?", choices=["mr", "ct"], help="default: both")
    parser.add_argument("--weights", default="", help="a file instead of the shipped network")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/learned.json"))
    arguments = parser.parse_args()
    if arguments.weights and not arguments.modality:
        parser.error("--weights goes with mr or ct")
    data = data_folder()
    if not data.is_dir():
        parser.error(f"no data in {data}: set SPINRAY_DATA")
    old = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    results: dict[str, Any] = old | {"machine": machine()}
    for name, job in {"mr": mr, "ct": ct}.items():
        if arguments.modality not in (None, name):
            continue
        results[name] = job(data, arguments.weights)
        write(arguments.output, results)


if __name__ == "__main__":
    main()
