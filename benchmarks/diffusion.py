"""Diffusion priors, zero-shot learning and uncertainty on test subjects: figures, as JSON.

    SPINRAY_DATA=FOLDER python -m benchmarks.diffusion [JOB ...] [--output FILE]

Jobs: mr, radial, ct, samplers, deepinv, time, trust, zero-shot, low-dose; all by default. Results of a job
replace those in the output file, others stay.

MR: `brain8ch_full.cfl` (8 coils, 230 x 180), undersampled by `sigpy.mri.poisson` (24 x 24 centre,
seed 0), or simulated along 32 golden-angle spokes from its coil images; NRMSE of the
magnitude inside the object, scale fitted, as benchmarks.mri. CT: slices of `cranium_hu.npz`,
projected on a grid twice as fine with photon noise (fan beam); PSNR inside the body, its range that
of the slice. The priors (experiments/mr_prior.yaml, ct_prior.yaml) never saw these subjects.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, interpolate

from spinray.datasets.simulate import clinical_fan
from spinray.datasets.trajectories import radial
from spinray.recon.ct import from_hounsfield, line_integrals, simulate_counts
from spinray.recon.ct.hounsfield import WATER
from spinray.recon.diffusion.prior import Prior
from spinray.recon.diffusion.problem import make_problem
from spinray.recon.metrics import nrmse, psnr
from spinray.recon.pipelines.diffusion import MrPriorOptions
from spinray.recon.pipelines.mr_noise import noise_of
from spinray.recon.uncertainty import calibrate, coverage, pooled

from .common import data_folder, machine, write
from .diffusion_peers import deepinv_samplers
from .subjects import HEAD, HEAD_SPACING, Brain

CLASSICAL: dict[str, dict[str, Any]] = {name: {} for name in ("sense", "l1-wavelet", "tv", "tgv")}
CLASSICAL_CT: dict[str, dict[str, Any]] = {
    "tv": {}, "tv, rays weighed": {"weight": "auto"}, "pwls": {},
}  # fmt: skip
PASSES = 50
SLICES = (20, 54, 85)  # of the cranium: skull base, orbits, vertex
PHOTONS = 1e5
Scan = sr.MRScan | sr.CTScan
Figures = dict[str, Any]


class Scans(Brain):
    """The real slice, undersampled."""

    def poisson(self, acceleration: int) -> sr.MRScan:
        import sigpy.mri

        mask = sigpy.mri.poisson(self.shape, acceleration, calib=(24, 24), seed=0)
        mask = torch.from_numpy(np.abs(mask) > 0)
        return sr.MRScan(kspace=self.kspace * mask, mask=mask)

    def radial(self, spokes: int) -> sr.MRScan:
        """Spokes through the coil images of the whole scan, which bring their own noise."""
        side = max(self.shape)
        trajectory = radial(spokes, 2 * side)
        samples = sr.NonUniformFourier(trajectory, self.shape)(self.coils)
        # the centre of the Cartesian scan calibrates the coils
        header = {"calibration": sr.MRScan(kspace=self.kspace)}
        return sr.MRScan(
            kspace=samples, trajectory=trajectory, image_shape=self.shape,
            readout_length=2 * side, header=header,
        )  # fmt: skip

    def error(self, image: sr.Image) -> float:
        return nrmse(self.target, image.magnitude(), mask=self.inside, fit_scale=True)


def decibel(error: float) -> float:
    return -20 * math.log10(error)


def reconstructed(scan: Scan, method: str, **options: Any) -> tuple[sr.Image, float]:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = sr.reconstruct(scan, method, progress=False, **options)
    return image, time.perf_counter() - start


def compared(
    scan: Scan, score: Callable[[sr.Image], float], classical: dict[str, dict[str, Any]]
) -> Figures:
    """Decibels of each method; the gain of dds and pnp over the best classical one."""
    rows: Figures = {}
    for name, options in classical.items():
        image, seconds = reconstructed(scan, name.split(",")[0], **options)
        rows[name] = {"dB": score(image), "seconds": seconds}
    for name in ("dds", "pnp"):
        image, seconds = reconstructed(scan, name)
        told = image.metadata["convergence"]  # one a slice
        rows[name] = {"dB": score(image), "seconds": seconds}
        rows[name] |= told if isinstance(told, dict) else told[0]
    best = max(rows[name]["dB"] for name in classical)
    rows["gain of dds, dB"] = rows["dds"]["dB"] - best
    rows["gain of pnp, dB"] = rows["pnp"]["dB"] - best
    for name, row in rows.items():
        print(
            f"    {name:16}", row if isinstance(row, float) else f"{row['dB']:.2f} dB", flush=True
        )
    return rows


def mr(data: Path) -> Figures:
    brain = Scans(data)
    found = {}
    for acceleration in (4, 8):
        print(f"  brain, Poisson {acceleration}x")
        scan = brain.poisson(acceleration)
        found[f"{acceleration}x"] = compared(scan, lambda x: decibel(brain.error(x)), CLASSICAL)
    return found


def radial_mr(data: Path) -> Figures:
    brain = Scans(data)
    print("  brain, 32 spokes")
    return compared(brain.radial(32), lambda x: decibel(brain.error(x)), CLASSICAL)


class Head:
    """Slices of the test head and their scans."""

    def __init__(self, data: Path) -> None:
        hu = np.load(data / HEAD)["hu"]
        slices = from_hounsfield(torch.from_numpy(hu[list(SLICES)].astype(np.float32)))
        self.grid = sr.VolumeGrid(tuple(slices.shape[1:]), (HEAD_SPACING, HEAD_SPACING))
        self.fine = interpolate(
            slices.clamp_min(0)[None], scale_factor=(2, 2), mode="bilinear", align_corners=False
        )[0]
        self.target = avg_pool2d(self.fine, 2)  # of what is projected
        self.inside = self.target > 0.25 * WATER

    def scan(self, geometry: sr.Geometry, photons: float = PHOTONS) -> sr.CTScan:
        fine = sr.VolumeGrid(
            tuple(2 * n for n in self.grid.shape), (HEAD_SPACING / 2, HEAD_SPACING / 2)
        )
        clean = sr.XRayTransform(geometry, fine)(self.fine)
        counts = simulate_counts(clean, photons, electronic_noise=5.0, seed=1)
        return sr.CTScan(line_integrals(counts, photons), geometry, volume=self.grid)

    def fan(self, views: int) -> sr.Geometry:
        radius = HEAD_SPACING * math.hypot(*self.grid.shape) / 2
        return clinical_fan(radius, views, columns=736)

    def parallel(self, views: int, degrees: float) -> sr.Geometry:
        angles = np.deg2rad(degrees) * np.arange(views) / views
        columns = math.ceil(math.hypot(*self.grid.shape)) + 2
        return sr.ParallelBeam(angles, columns, HEAD_SPACING)

    def score(self, image: sr.Image) -> float:
        """Mean PSNR inside the body."""
        values = image.magnitude()
        return float(np.mean([
            psnr(t, x, mask=m) for t, x, m in zip(self.target, values, self.inside, strict=True)
        ]))  # fmt: skip


def ct(data: Path) -> Figures:
    head = Head(data)
    found = {}
    jobs = {"60 views": head.fan(60), "limited angle, 120 degrees": head.parallel(180, 120)}
    for name, geometry in jobs.items():
        print(f"  head, {name}")
        found[name] = compared(head.scan(geometry), head.score, CLASSICAL_CT)
    return found


def samplers(data: Path) -> Figures:
    """Every sampler at the passes that it needs, 4 samples, brain at 4x."""
    brain = Scans(data)
    scan, rows = brain.poisson(4), {}
    needed = {"dds": 25, "dps": PASSES, "diffpir": 25, "daps": PASSES, "langevin": 200}
    for name, passes in needed.items():
        image, seconds = reconstructed(scan, name, passes=passes, samples=4)
        rows[name] = {"passes": passes, "dB": decibel(brain.error(image)), "seconds": seconds}
        print(f"    {name:10}", rows[name], flush=True)
    return rows


def deepinv(data: Path) -> Figures:
    """dps and diffpir of both, brain at 4x: the same prior, maps, noise and passes, from noise.

    Ours at its defaults, deepinv's at each setting of `diffusion_peers`; the faster of two turns.
    """
    if find_spec("deepinv") is None:
        print("    skipped: deepinv is not installed")
        return {}
    brain = Scans(data)
    scan, network = brain.poisson(4), sr.load_model("prior-mr")
    maps = sr.mri.espirit(scan.kspace)
    A = sr.Sense(maps, mask=scan.mask)
    noise = float(noise_of(scan).square().mean().sqrt()) / math.sqrt(2)
    problem = make_problem(network, A, scan.kspace, noise, None, None)
    theirs = deepinv_samplers(Prior(network), problem, maps, scan.mask, 1, PASSES)
    rows: Figures = {}
    for name, settings in theirs.items():
        found = {}
        for setting, call in settings.items():
            start = time.perf_counter()
            images = call()
            found[setting] = decibel(nrmse(
                brain.target, images.mean(0).abs(), mask=brain.inside, fit_scale=True
            ))  # fmt: skip
            print(f"    deepinv {name}, {setting}: {found[setting]:.2f} dB, "
                  f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
        best = max(found, key=lambda setting: found[setting])

        def ours(name: str = name) -> torch.Tensor:
            return sr.diffusion.sample(
                network, A, scan.kspace, sampler=name, passes=PASSES, noise=noise,
                scale=problem.scale, weight=MrPriorOptions.weight,
            )  # fmt: skip

        image = ours().mean(0)
        seconds: dict[str, list[float]] = {"ours": [], "deepinv": []}
        for _ in range(2):
            for tool, call in (("ours", ours), ("deepinv", settings[best])):
                start = time.perf_counter()
                call()
                seconds[tool].append(time.perf_counter() - start)
        rows[name] = {
            "deepinv, dB": found, "deepinv, best": best,
            "ours, dB": decibel(nrmse(brain.target, image.abs(), mask=brain.inside, fit_scale=True)),
            "seconds": {tool: min(times) for tool, times in seconds.items()},
        }  # fmt: skip
        print(f"    ours {name}: {rows[name]['ours, dB']:.2f} dB; {rows[name]['seconds']}")
    return rows


def timed(data: Path) -> Figures:
    """Eight samples of one slice, 50 passes."""
    _, seconds = reconstructed(Scans(data).poisson(4), "dds", passes=PASSES, samples=8)
    print(f"    8 samples, 50 passes: {seconds:.0f} s")
    return {"8 samples, 50 passes, seconds": seconds}


def trust(data: Path) -> Figures:
    """Coverage of conformal intervals, and the standard deviation against the true error.

    Calibrated on every fourth slice of the validation subject (4x and 8x Poisson), judged on other
    slices of it and on the real scan of another subject.
    """
    held = simulated_slices(data, slice(2, 22, 4)), simulated_slices(data, slice(4, 22, 4))
    sets: list[list[tuple[sr.Image, torch.Tensor, torch.Tensor]]] = []
    for slices in held:
        sets.append([])
        for scan, target in slices:
            image, _ = reconstructed(scan, "dds")
            sets[-1].append((image, target, target > 0.08 * target.max()))
    images, targets, masks = zip(*sets[0], strict=True)
    found = calibrate(images, targets, level=0.9, masks=masks)
    rows: Figures = {"factor": found.factor, "slices": len(images)}
    judged = [coverage(t, found.interval(x), m) for x, t, m in sets[1]]
    peak = [float(t.max()) for _, t, _ in sets[1]]
    rows["held-out slices"] = {
        "coverage": float(np.mean([j["coverage"] for j in judged])),
        "width over maximum": float(
            np.mean([j["width"] / p for j, p in zip(judged, peak, strict=True)])
        ),
        "rank correlation": float(
            np.mean([_rank(x, t, torch.ones_like(m)) for x, t, m in sets[1]])
        ),
        "rank correlation in the object": float(np.mean([_rank(x, t, m) for x, t, m in sets[1]])),
    }
    brain = Scans(data)
    for acceleration in (4, 8):
        image, _ = reconstructed(brain.poisson(acceleration), "dds")
        judged_brain = coverage(brain.target, found.interval(image), brain.inside)
        rows[f"real brain {acceleration}x"] = {
            "coverage": judged_brain["coverage"],
            "width over maximum": judged_brain["width"] / float(brain.target.max()),
            "rank correlation in the object": _rank(image, brain.target, brain.inside),
        }
    print("   ", json.dumps(rows, indent=1))
    return rows


def _rank(image: sr.Image, target: torch.Tensor, mask: torch.Tensor) -> float:
    from scipy.stats import spearmanr

    assert image.deviation is not None
    error = (image.data.abs() - target).abs()
    return float(spearmanr(pooled(image.deviation)[mask], error[mask]).statistic)


def simulated_slices(data: Path, which: slice) -> list[tuple[sr.MRScan, torch.Tensor]]:
    """Scans of the validation subject, brain2, at 4x and 8x in turn, and their true images."""
    masks = [sr.datasets.PoissonMask((float(r),), 24) for r in (4, 8)]
    found = []
    for place, number in enumerate(range(*which.indices(23))):
        dataset = sr.datasets.SimulatedMR(
            [data / "mr_images" / "brain2.nrrd"], mask=masks[place % 2], matrix=(192, 192),
            maps="true", fixed=True,
        )  # fmt: skip
        example = dataset[number]
        scan = sr.MRScan(kspace=example.kspace, mask=example.mask[0])
        found.append((scan, example.target))
    return found


def zero_shot(data: Path) -> Figures:
    brain = Scans(data)
    scan = brain.poisson(4)
    rows: Figures = {}
    runs: dict[str, dict[str, Any]] = {name: {} for name in (*CLASSICAL, "zs-ssl", "dip")}
    runs["zs-ssl, unrolled-mr adapted"] = {"weights": "unrolled-mr"}
    for name, options in runs.items():
        image, seconds = reconstructed(scan, name.split(",")[0], **options)
        rows[name] = {"dB": decibel(brain.error(image)), "seconds": seconds}
        print(f"    {name:12} {rows[name]['dB']:.2f} dB, {seconds:.0f} s", flush=True)
    return rows


def low_dose(data: Path) -> Figures:
    """Noise2Inverse against filtered back projection with its best window."""
    head = Head(data)
    scan = head.scan(head.fan(496), photons=5e3)
    rows: Figures = {}
    for window in ("ram-lak", "shepp-logan", "cosine", "hamming", "hann"):
        image, _ = reconstructed(scan, "fbp", filter=window)
        rows[f"fbp {window}"] = head.score(image)
    image, seconds = reconstructed(scan, "noise2inverse")
    rows["noise2inverse"], rows["seconds"] = head.score(image), seconds
    best = max(v for k, v in rows.items() if k.startswith("fbp"))
    rows["gain, dB"] = rows["noise2inverse"] - best
    print("   ", rows)
    return rows


JOBS: dict[str, Callable[[Path], Figures]] = {
    "mr": mr, "radial": radial_mr, "ct": ct, "samplers": samplers, "deepinv": deepinv,
    "time": timed, "trust": trust,
    "zero-shot": zero_shot, "low-dose": low_dose,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], help="default: all")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/diffusion.json"))
    arguments = parser.parse_args()
    data = data_folder()
    if not (data / "mr_kspace" / "brain8ch_full.cfl").exists():
        print("skipped: the real data are not in SPINRAY_DATA")
        return
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for job in arguments.jobs or JOBS:
        print(job, flush=True)
        results[job] = {"machine": machine(), **JOBS[job](data)}
        write(arguments.output, results)


if __name__ == "__main__":
    main()
