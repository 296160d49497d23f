"""Projectors and FBP against ASTRA's CPU code in one interleaved run: times, errors, JSON.

    python -m benchmarks.ct [--rounds 5] [--output benchmarks/results/ct.json]

Errors are relative RMSE against closed-form line integrals of ellipses, averaged over each column.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
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


def astra_calls(geometry, grid, image, sinogram, kind):
    """Forward and back projection by one of ASTRA's CPU projectors, in its pixel units."""
    import astra

    size = grid.spacing[0]
    volume = astra.create_vol_geom(*grid.shape)
    spacing = geometry.column_spacing / size
    # ASTRA's angles turn the other way with its y axis, which grows upwards.
    if isinstance(geometry, ParallelBeam):
        beam = astra.create_proj_geom("parallel", spacing, geometry.columns, geometry.angles)
        projector = astra.create_projector(kind, beam, volume)
    else:
        sid, sdd = geometry.source_to_isocenter / size, geometry.source_to_detector / size
        beam = astra.create_proj_geom(
            "fanflat", spacing, geometry.columns, geometry.angles, sid, sdd - sid
        )
        projector = astra.create_projector(f"{kind}_fanflat", beam, volume)
    flipped = np.ascontiguousarray(image[::-1])

    def forward():
        ident, data = astra.create_sino(flipped, projector)
        astra.data2d.delete(ident)
        return data * size

    def back():
        ident, data = astra.create_backprojection(sinogram, projector)
        astra.data2d.delete(ident)
        return data

    return forward, back


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
        seconds = medians(calls, rounds)
        for call in ("spinray stack forward", "spinray stack back"):
            seconds[call + " a slice"] = seconds.pop(call) / 32
        report(results, name, seconds, errors)


def analytic(rounds, results):
    geometry, grid = jobs()["parallel"]
    head = [(v, *(240 / 512 * s for s in rest[:4]), rest[4]) for v, *rest in HEAD]
    image = image_of(head, grid)
    sinogram = line_integrals_of(head, geometry, cells=8).astype(np.float32)
    tensor = torch.from_numpy(sinogram)
    calls = {"spinray": lambda: ct.fbp(tensor, geometry, grid)}
    found = {"spinray": calls["spinray"]().numpy()}
    if has("skimage"):
        from skimage.transform import iradon

        degrees = np.rad2deg(geometry.angles)
        calls["scikit-image"] = lambda: iradon(
            sinogram.T, degrees, output_size=N, filter_name="ramp"
        )
        found["scikit-image"] = calls["scikit-image"]()[::-1] / grid.spacing[0]
    if has("astra"):
        calls["astra"] = astra_fbp(geometry, grid, sinogram)
        found["astra"] = calls["astra"]()[::-1]
    y, x = grid.positions(0)[:, None], grid.positions(1)
    inside = (np.hypot(x, y) < 125) & (image > 0)
    errors = {name: relative_rmse(f[inside], image[inside]) for name, f in found.items()}
    report(results, "fbp", medians(calls, rounds), errors)


def astra_fbp(geometry, grid, sinogram):
    import astra

    size = grid.spacing[0]
    volume = astra.create_vol_geom(*grid.shape)
    beam = astra.create_proj_geom(
        "parallel", geometry.column_spacing / size, geometry.columns, geometry.angles
    )
    projector = astra.create_projector("linear", beam, volume)

    def call():
        data = astra.data2d.create("-sino", beam, sinogram)
        out = astra.data2d.create("-vol", volume)
        settings = astra.astra_dict("FBP")
        settings |= {
            "ProjectorId": projector, "ProjectionDataId": data, "ReconstructionDataId": out,
            "FilterType": "ram-lak",
        }  # fmt: skip
        algorithm = astra.algorithm.create(settings)
        astra.algorithm.run(algorithm)
        image = astra.data2d.get(out) / size
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([data, out])
        return image

    return call


def cone(rounds, results):
    """256^3 to views of 384 x 384. No peer's CPU cone beam is on PyPI for every platform."""
    angles = np.arange(16) * 2 * np.pi / 16
    geometry = ConeBeam(angles, 384, 384, 1.0, 1.0, 500.0, 1000.0)
    grid = VolumeGrid((256, 256, 256), 0.5)
    projector = Projector(geometry, grid)
    rng = np.random.default_rng(0)
    volume = rng.random(grid.shape, dtype=np.float32)
    sinogram = rng.random(geometry.shape, dtype=np.float32)
    tensor = torch.from_numpy(sinogram)
    seconds = medians(
        {
            "spinray forward": lambda: projector.forward(volume),
            "spinray back": lambda: projector.adjoint(sinogram),
            "spinray fdk": lambda: ct.fdk(tensor, geometry, grid),
        },
        rounds,
    )
    report(results, "cone, a view", {k: v / len(angles) for k, v in seconds.items()}, {})


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=["planar", "analytic", "cone", "helical"])
    options = parser.parse_args()
    results = {"machine": machine(), "rounds": options.rounds}
    for job in (planar, analytic, cone, helical):
        if options.only in (None, job.__name__):
            job(options.rounds, results)
    if options.output:
        write(options.output, results)


if __name__ == "__main__":
    main()
