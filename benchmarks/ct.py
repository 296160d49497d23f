"""Projectors, FBP and FDK against ASTRA, RTK, mbirjax and scikit-image in one interleaved run.

    python -m benchmarks.ct [--rounds 5] [--output benchmarks/results/ct.json]

Errors are relative RMSE against closed-form line integrals of ellipses and ellipsoids, averaged
over each cell of the detector.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import dataclasses
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from ct_phantoms import HEAD, image_of, line_integrals_of, relative_rmse

from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ConeBeam, FanBeam, HelicalBeam, ParallelBeam, VolumeGrid
from spinray.recon import ct

from .common import has, machine, medians, write
from .ct_peers import Rtk, astra_calls, astra_fbp, mbirjax_stack

N = 512


def jobs():
    half, full = np.arange(720) * np.pi / 720, np.arange(984) * 2 * np.pi / 984
    return {
        "parallel": (ParallelBeam(half, 736, 0.5), VolumeGrid((N, N), 0.5)),
        "fan flat": (FanBeam(full, 888, 1.0239, 595.0, 1085.6), VolumeGrid((N, N), 0.7)),
        "fan curved": (
            FanBeam(full, 888, 1.0239, 595.0, 1085.6, "curved"),
            VolumeGrid((N, N), 0.7),
        ),
    }


def planar(rounds, results):
    for name, (geometry, grid) in jobs().items():
        scale = grid.spacing[0] / (240 / 512) * 0.95
        head = [(v, *(scale * s for s in rest[:4]), rest[4]) for v, *rest in HEAD]
        image = image_of(head, grid).astype(np.float32)
        exact = line_integrals_of(head, geometry, cells=16)
        sinogram = exact.astype(np.float32)
        projector = Projector(geometry, grid)
        stack = np.repeat(image[None], 32, 0)
        stack_sinogram = np.repeat(sinogram[None], 32, 0)
        calls = {
            "spinray forward": partial(projector.forward, image),
            "spinray back": partial(projector.adjoint, sinogram),
            "spinray stack forward": partial(projector.forward, stack),
            "spinray stack back": partial(projector.adjoint, stack_sinogram),
        }
        errors = {"spinray": relative_rmse(projector.forward(image), exact)}
        if has("astra") and name != "fan curved":
            for kind in ("line", "strip") + (("linear",) if name == "parallel" else ()):
                forward, back = astra_calls(geometry, grid, image, sinogram, kind)
                calls[f"astra {kind} forward"], calls[f"astra {kind} back"] = forward, back
                errors[f"astra {kind}"] = relative_rmse(forward(), exact)
        if has("mbirjax") and name == "parallel":
            forward, back = mbirjax_stack(geometry, grid, stack, stack_sinogram)
            calls["mbirjax stack forward"], calls["mbirjax stack back"] = forward, back
        seconds = medians(calls, rounds)
        for call in [call for call in seconds if " stack " in call]:
            seconds[call + " a slice"] = seconds.pop(call) / 32
        report(results, name, seconds, errors)


def accuracy(rounds, results):
    """Errors where the phantom is finely sampled: pixels of half a column, some of the views."""
    del rounds
    for name, field in (("parallel", N * 0.5), ("fan flat", N * 0.7)):
        geometry = jobs()[name][0][::6]
        grid = VolumeGrid((2 * N, 2 * N), field / (2 * N))
        head = [(v, *(field / 240 * 0.95 * s for s in rest[:4]), rest[4]) for v, *rest in HEAD]
        image = image_of(head, grid).astype(np.float32)
        exact = line_integrals_of(head, geometry, cells=64)
        errors = {
            f"spinray {model}": relative_rmse(
                Projector(geometry, grid, model=model).forward(image), exact
            )
            for model in ("separable-footprint", "joseph")
        }
        if has("astra"):
            for kind in ("line", "strip") + (("linear",) if name == "parallel" else ()):
                forward, _ = astra_calls(geometry, grid, image, exact.astype(np.float32), kind)
                errors[f"astra {kind}"] = relative_rmse(forward(), exact)
        report(results, f"accuracy, {name}", {}, errors)
    angles = np.arange(0, 16, 3) * np.pi / 8
    geometry = ConeBeam(angles, 192, 192, 1.0, 1.0, 500.0, 1000.0)
    grid = VolumeGrid((256, 256, 256), 0.25)
    halved = [(v, *(0.5 * s for s in rest)) for v, *rest in ELLIPSOIDS]
    volume, exact = ellipsoids_on(grid, halved), cell_averages(halved, geometry, 8)
    errors = {
        f"spinray {model}": relative_rmse(
            Projector(geometry, grid, model=model).forward(volume), exact
        )
        for model in ("separable-footprint", "joseph")
    }
    if has("itk"):
        errors["rtk joseph"] = relative_rmse(Rtk(geometry, grid).forward(volume)(), exact)
    report(results, "accuracy, cone", {}, errors)


def analytic(rounds, results):
    geometry, grid = jobs()["parallel"]
    head = [(v, *(240 / 512 * s for s in rest[:4]), rest[4]) for v, *rest in HEAD]
    image, sinogram = fbp_job(head, geometry, grid)
    tensor = torch.from_numpy(sinogram)
    calls = {"spinray": lambda: ct.fbp(tensor, geometry, grid)}
    errors = {"spinray": error_inside(calls["spinray"]().numpy(), image, grid)}
    if has("skimage"):
        from skimage.transform import iradon

        # It turns about column n // 2 and pixel n // 2, so it gets a phantom of its own.
        own = ParallelBeam(geometry.angles, geometry.columns, geometry.column_spacing, -0.5)
        own_grid = VolumeGrid(grid.shape, grid.spacing, (0.25, -0.25))
        own_image, own_sinogram = fbp_job(head, own, own_grid)
        degrees = np.rad2deg(geometry.angles)
        calls["scikit-image"] = lambda: iradon(
            own_sinogram.T, degrees, output_size=N, filter_name="ramp"
        )
        found = calls["scikit-image"]()[::-1] / grid.spacing[0]
        errors["scikit-image"] = error_inside(found, own_image, own_grid)
    if has("astra"):
        calls["astra"] = astra_fbp(geometry, grid, sinogram)
        errors["astra"] = error_inside(calls["astra"]()[::-1], image, grid)
    report(results, "fbp", medians(calls, rounds), errors)


def fbp_job(head, geometry, grid):
    """Pixels and line integrals, averaged over each column as a detector does."""
    return image_of(head, grid), line_integrals_of(head, geometry, cells=8).astype(np.float32)


def error_inside(found, image, grid):
    y, x = grid.positions(0)[:, None], grid.positions(1)
    inside = (np.hypot(x, y) < 125) & (image > 0)
    return relative_rmse(found[inside], image[inside])


def cone(rounds, results):
    """The projector pair: 256^3 voxels, 16 views of 384 x 384, RTK's beside."""
    grid, geometry = VolumeGrid((256, 256, 256), 0.5), circle(16)
    volume, exact = ellipsoids_on(grid, ELLIPSOIDS), cell_averages(ELLIPSOIDS, geometry)
    sinogram, projector = exact.astype(np.float32), Projector(geometry, grid)
    calls = {
        "spinray forward": partial(projector.forward, volume),
        "spinray back": partial(projector.adjoint, sinogram),
    }
    errors = {"spinray": relative_rmse(projector.forward(volume), exact)}
    if has("itk"):
        pair = Rtk(geometry, grid)
        calls["rtk joseph forward"] = pair.forward(volume)
        calls["rtk joseph back"] = pair.back(sinogram)
        errors["rtk joseph"] = relative_rmse(calls["rtk joseph forward"](), exact)
    seconds = medians(calls, rounds)
    report(results, "cone, a view", {k: v / len(geometry) for k, v in seconds.items()}, errors)


def fdk(rounds, results):
    """FDK of the same from 90 views, RTK's beside."""
    grid, geometry = VolumeGrid((256, 256, 256), 0.5), circle(90)
    volume = ellipsoids_on(grid, ELLIPSOIDS)
    views = line_integrals_of(ELLIPSOIDS, geometry, cells=4).astype(np.float32)
    calls = {"spinray": partial(ct.fdk, torch.from_numpy(views), geometry, grid)}
    errors = {"spinray": relative_rmse(calls["spinray"]().numpy(), volume)}
    if has("itk"):
        calls["rtk"] = Rtk(geometry, grid).fdk(views)
        errors["rtk"] = relative_rmse(calls["rtk"](), volume)
    seconds = medians(calls, rounds)
    report(results, "fdk, a view", {k: v / len(geometry) for k, v in seconds.items()}, errors)


def circle(views):
    angles = np.arange(views) * 2 * np.pi / views
    return ConeBeam(angles, 384, 384, 1.0, 1.0, 500.0, 1000.0)


# value (1/mm), x, y, z (mm), semi-axes a, b, c (mm)
ELLIPSOIDS = [
    (0.020, 2.0, -3.0, 1.0, 48.0, 40.0, 50.0),
    (0.010, 15.0, 10.0, -12.0, 12.0, 9.0, 14.0),
    (-0.015, -18.0, -8.0, 10.0, 9.0, 14.0, 8.0),
]


def cell_averages(ellipsoids, geometry, cells=4):
    """Line integrals averaged over ``cells x cells`` rays of every cell of a cone's detector."""
    _, rows, columns = geometry.shape
    fine = dataclasses.replace(
        geometry, rows=rows * cells, row_spacing=geometry.row_spacing / cells
    )
    views = (line_integrals_of(ellipsoids, fine[i : i + 1], cells) for i in range(len(fine)))
    return np.concatenate([v.reshape(1, rows, cells, columns).mean(2) for v in views])


def ellipsoids_on(grid, ellipsoids, oversampling=3):
    """Volume-averaged voxels."""
    sub = (np.arange(oversampling) - (oversampling - 1) / 2) / oversampling
    zs, ys, xs = (
        (grid.positions(a)[:, None] + sub * grid.spacing[a]).ravel().astype(np.float32)
        for a in range(3)
    )
    volume = np.zeros(grid.shape, np.float32)
    for k, plane in enumerate(volume):
        for z in zs[k * oversampling : (k + 1) * oversampling]:
            for v, x0, y0, z0, a, b, c in ellipsoids:
                r = ((xs - x0) / a) ** 2 + (((ys - y0) / b) ** 2)[:, None] + ((z - z0) / c) ** 2
                inside = (r <= 1).reshape(grid.shape[1], oversampling, grid.shape[2], oversampling)
                plane += (v / oversampling) * inside.mean((1, 3), dtype=np.float32)
    return volume


def helical(rounds, results):
    """A 16-row helix at pitch 1: milliseconds a slice of 256^2, error of water in the middle."""
    views, height = 360, 16 * 2.0 * 595.0 / 1085.6
    angles = (np.arange(2 * views) - views) * 2 * np.pi / views
    geometry = HelicalBeam(
        angles, 16, 368, 2.0, 2.4, 595.0, 1085.6, "curved", column_offset=0.25, pitch=height
    )
    grid = VolumeGrid((8, 256, 256), (1.0, 1.6, 1.6))
    cylinder = [(0.0193, 7.0, -11.0, 0.0, 150.0, 150.0, 1e5)]
    tensor = torch.from_numpy(line_integrals_of(cylinder, geometry)).float()
    image = ct.wfbp(tensor, geometry, grid).numpy()
    inside = np.hypot(grid.positions(2) - 7, grid.positions(1)[:, None] + 11) < 120
    error = float(abs(image[:, inside].mean() / 0.0193 - 1))
    seconds = medians({"spinray wfbp": lambda: ct.wfbp(tensor, geometry, grid)}, rounds)
    seconds = {f"{name}, a slice": value / grid.shape[0] for name, value in seconds.items()}
    report(results, "helical", seconds, {"spinray mean of water": error})


def report(results, name, seconds, errors):
    results[name] = {"seconds": seconds, "relative_rmse": errors}
    print(name)
    for call, value in seconds.items():
        print(f"  {call:34s} {1e3 * value:9.1f} ms")
    for call, value in errors.items():
        print(f"  {call:34s} {value:9.2e} relative error", flush=True)


def draw(results, path):
    """Bars of every job's times, shortest first."""
    from matplotlib.figure import Figure

    jobs_timed = {
        k: v["seconds"] for k, v in results.items() if isinstance(v, dict) and v.get("seconds")
    }
    figure = Figure(figsize=(10, 2.2 * len(jobs_timed)), layout="constrained")
    for axis, (job, seconds) in zip(
        figure.subplots(len(jobs_timed), squeeze=False)[:, 0], jobs_timed.items(), strict=True
    ):
        calls = sorted(seconds, key=seconds.get)
        colours = ["tab:blue" if call.startswith("spinray") else "tab:grey" for call in calls]
        axis.barh(calls, [1e3 * seconds[call] for call in calls], color=colours)
        axis.set(title=job, xlabel="ms")
        axis.tick_params(axis="y", labelsize=7)
    figure.savefig(path, dpi=100)


JOBS = (planar, accuracy, analytic, cone, fdk, helical)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--only", choices=[job.__name__ for job in JOBS])
    options = parser.parse_args()
    results = {"machine": machine(), "rounds": options.rounds}
    for job in JOBS:
        if options.only in (None, job.__name__):
            job(options.rounds, results)
    if options.output:
        write(options.output, results)
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
