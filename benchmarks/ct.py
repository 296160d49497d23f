"""Projectors, FBP, FDK and WFBP against the peers of `ct_peers`: times, errors, memory.

    python -m benchmarks.ct [--jobs parallel ...] [--rounds 5] [--output FILE.json]

Errors of projections are relative RMSE against closed-form line integrals of ellipses and
ellipsoids, averaged over each cell of the detector; those of back projections are how far they are
from the transpose of the tool's own projection.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import torch

from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ConeBeam, FanBeam, HelicalBeam, ParallelBeam, VolumeGrid
from spinray.recon import ct

from .common import run_suite
from .ct_peers import (
    Rtk,
    astra_calls,
    astra_fbp,
    deepinv_calls,
    leap_calls,
    mbirjax_stack,
    tomopy_fbp,
)
from .ct_phantoms import HEAD, image_of, line_integrals_of, relative_rmse
from .protocol import OURS, Prepared, Task

STACK = 32
FIELDS = {"parallel": 0.5, "fan flat": 0.7, "fan curved": 0.7}  # pixels of 512, mm
RMSE = "relative RMSE against closed forms"


def beam(name: str, n: int) -> ParallelBeam | FanBeam:
    """A beam for n x n pixels: a clinical one for 512."""
    share = n / 512
    columns, views = (736, 720) if name == "parallel" else (888, 984)
    angles = np.arange(round(views * share)) * (np.pi if name == "parallel" else 2 * np.pi)
    angles, columns = angles / len(angles), round(columns * share)
    if name == "parallel":
        return ParallelBeam(angles, columns, 0.5 / share)
    detector = name.removeprefix("fan ")
    return FanBeam(angles, columns, 1.0239 / share, 595.0, 1085.6, detector)


def head(field: float):
    """The phantom in a field of view in mm."""
    return [(v, *(field / 240 * s for s in rest[:4]), rest[4]) for v, *rest in HEAD]


def mismatch(forward, image, sinogram, back) -> float:
    """How far ``<A x, y>`` is from ``<x, B y>``."""
    left = np.vdot(np.asarray(forward, float), sinogram)
    return float(abs(np.vdot(image, np.asarray(back, float)) - left) / abs(left))


class Planar:
    """A phantom, its closed form, and every tool's pair."""

    def __init__(self, name: str, n: int, finer: int = 1, every: int = 1) -> None:
        self.geometry, field = beam(name, n)[::every], 512 * FIELDS[name]
        self.grid = VolumeGrid((n * finer, n * finer), field / (n * finer))
        self.phantom = head(0.95 * field)
        self.image = image_of(self.phantom, self.grid).astype(np.float32)
        self.exact = line_integrals_of(self.phantom, self.geometry, cells=16 * finer**2)
        self.sinogram = self.exact.astype(np.float32)

    def forward(self, call: Callable[[], np.ndarray]) -> Prepared:
        return Prepared(call, lambda out: relative_rmse(out, self.exact))

    def back(self, call: Callable[[], np.ndarray], projected: np.ndarray) -> Prepared:
        return Prepared(call, partial(mismatch, projected, self.image, self.sinogram))

    def ours(self, way: str, model: str = "separable-footprint") -> Prepared:
        projector = Projector(self.geometry, self.grid, model=model)
        if way == "forward":
            return self.forward(partial(projector.forward, self.image))
        return self.back(partial(projector.adjoint, self.sinogram), projector.forward(self.image))

    def on_gpu(self, way: str) -> Prepared:
        projector = Projector(self.geometry, self.grid)
        image, sinogram = (torch.from_numpy(a).cuda() for a in (self.image, self.sinogram))
        projected = projector.forward(image).cpu().numpy()
        call = partial(projector.forward, image) if way == "forward" else partial(
            projector.adjoint, sinogram)  # fmt: skip
        here = self.forward(call) if way == "forward" else self.back(call, projected)
        return Prepared(call, lambda out: here.error(out.cpu().numpy()), gpu=True)

    def astra(self, kind: str, way: str) -> Prepared:
        forward, back = astra_calls(self.geometry, self.grid, self.image, self.sinogram, kind)
        return self.forward(forward) if way == "forward" else self.back(back, forward())

    def leap(self, way: str) -> Prepared:
        forward, back = leap_calls(self.geometry, self.grid, self.image, self.sinogram)
        return self.forward(forward) if way == "forward" else self.back(back, forward().copy())

    def deepinv(self, way: str) -> Prepared:
        """Its detector is as wide as the pixels' diagonal."""
        columns = math.ceil(math.sqrt(2) * self.grid.shape[0])
        geometry = dataclasses.replace(self.geometry, columns=columns)
        exact = line_integrals_of(self.phantom, geometry, cells=16)
        sinogram = exact.astype(np.float32)
        forward, back = deepinv_calls(geometry, self.grid, self.image, sinogram)
        if way == "forward":
            return Prepared(forward, lambda out: relative_rmse(out, exact))
        return Prepared(back, partial(mismatch, forward(), self.image, sinogram))

    @property
    def stack(self) -> np.ndarray:
        return np.repeat(self.image[None], STACK, 0)

    @property
    def stack_sinogram(self) -> np.ndarray:
        return np.repeat(self.sinogram[None], STACK, 0)

    def our_stack(self, way: str) -> Prepared:
        projector = Projector(self.geometry, self.grid)
        call = partial(projector.forward, self.stack) if way == "forward" else partial(
            projector.adjoint, self.stack_sinogram)  # fmt: skip
        return self._first(way, call, projector.forward(self.image))

    def mbirjax(self, way: str) -> Prepared:
        pair = mbirjax_stack(self.geometry, self.grid, self.stack, self.stack_sinogram)
        return self._first(way, pair[way == "back"], pair[0]()[0])

    def _first(self, way, call, projected) -> Prepared:
        one = self.forward(call) if way == "forward" else self.back(call, projected)
        return Prepared(call, lambda out: one.error(out[0]))


def planar(name: str, n: int) -> Iterator[Task]:
    """One slice and a stack, both ways."""
    job = cache(lambda: Planar(name, n))
    kinds = () if name == "fan curved" else ("line", "strip") + ("linear",) * (name == "parallel")
    for way in ("forward", "back"):
        measured = RMSE if way == "forward" else "distance from the transpose"
        tools = {OURS: lambda way=way: job().ours(way)}
        if torch.cuda.is_available():
            tools["spinray GPU"] = lambda way=way: job().on_gpu(way)
        tools |= {f"astra {kind}": lambda kind=kind, way=way: job().astra(kind, way)
                  for kind in kinds}  # fmt: skip
        if name == "parallel":
            tools["leap"] = lambda way=way: job().leap(way)
            tools["deepinv"] = lambda way=way: job().deepinv(way)
        yield Task("ct", f"{name} {way}", tools, measured, {"matrix": n})
        tools = {OURS: lambda way=way: job().our_stack(way)}
        if name == "parallel":
            tools["mbirjax"] = lambda way=way: job().mbirjax(way)
        facts = {"matrix": n, "slices": STACK}
        yield Task("ct", f"{name} stack {way}, a slice", tools, measured, facts, STACK)


def accuracy(name: str, n: int) -> Task:
    """Errors where the phantom is finely sampled: pixels of half a column, some of the views."""
    job = cache(lambda: Planar(name, n, finer=2, every=6))
    kinds = ("line", "strip") + ("linear",) * (name == "parallel")
    tools = {f"spinray {model}": lambda model=model: job().ours("forward", model)
             for model in ("separable-footprint", "joseph")}  # fmt: skip
    tools |= {f"astra {kind}": lambda kind=kind: job().astra(kind, "forward") for kind in kinds}
    return Task("ct", f"accuracy, {name}", tools, RMSE, {"matrix": n})


class FilteredBackProjection:
    """Pixels and line integrals, averaged over each column as a detector does."""

    def __init__(self, n: int) -> None:
        self.geometry, self.grid = beam("parallel", n), VolumeGrid((n, n), 256 / n)
        self.image, self.sinogram = self.made(self.geometry, self.grid)

    def made(self, geometry, grid):
        phantom = head(240.0)
        exact = line_integrals_of(phantom, geometry, cells=8)
        return image_of(phantom, grid), exact.astype(np.float32)

    def inside(self, found, image, grid) -> float:
        y, x = grid.positions(0)[:, None], grid.positions(1)
        mask = (np.hypot(x, y) < 125) & (image > 0)
        return relative_rmse(np.asarray(found)[mask], image[mask])

    def ours(self) -> Prepared:
        call = partial(ct.fbp, torch.from_numpy(self.sinogram), self.geometry, self.grid)
        return Prepared(call, lambda out: self.inside(out, self.image, self.grid))

    def scikit_image(self) -> Prepared:
        from skimage.transform import iradon

        # It turns about column n // 2 and pixel n // 2, so it gets a phantom of its own.
        beams = self.geometry
        own = ParallelBeam(beams.angles, beams.columns, beams.column_spacing, -0.5)
        half = self.grid.spacing[0] / 2
        grid = VolumeGrid(self.grid.shape, self.grid.spacing, (half, -half))
        image, sinogram = self.made(own, grid)
        degrees = np.rad2deg(beams.angles)
        return Prepared(
            lambda: iradon(sinogram.T, degrees, output_size=len(image), filter_name="ramp"),
            lambda out: self.inside(out[::-1] / grid.spacing[0], image, grid),
        )

    def tomopy(self) -> Prepared:
        """Its image turns about pixel n // 2 once its rows go upwards."""
        half = self.grid.spacing[0] / 2
        grid = VolumeGrid(self.grid.shape, self.grid.spacing, (-half, -half))
        image, sinogram = self.made(self.geometry, grid)
        call = tomopy_fbp(self.geometry, grid, sinogram)
        return Prepared(call, lambda out: self.inside(out[::-1], image, grid))

    def astra(self) -> Prepared:
        return Prepared(
            astra_fbp(self.geometry, self.grid, self.sinogram),
            lambda out: self.inside(out[::-1], self.image, self.grid),
        )


def filtered_back_projection(n: int) -> Task:
    job = cache(lambda: FilteredBackProjection(n))
    tools = {OURS: lambda: job().ours(), "scikit-image": lambda: job().scikit_image(),
             "astra": lambda: job().astra(), "tomopy": lambda: job().tomopy()}  # fmt: skip
    return Task("ct", "fbp", tools, "relative RMSE inside the head", {"matrix": n})


class Cone:
    """Ellipsoids, their cone-beam views, and the pairs."""

    def __init__(self, n: int, views: int, detector: int, shrink: float = 1.0):
        self.grid = VolumeGrid((n, n, n), shrink * 128 / n)
        angles, cell = np.arange(views) * 2 * np.pi / views, 256 / n
        self.geometry = ConeBeam(angles, detector, detector, cell, cell, 500.0, 1000.0)
        self.solids = [(v, *(shrink * s for s in rest)) for v, *rest in ELLIPSOIDS]

    @cache  # noqa: B019  # lives as long as the task
    def volume(self) -> np.ndarray:
        return ellipsoids_on(self.grid, self.solids)

    @cache  # noqa: B019
    def views(self) -> np.ndarray:
        return cell_averages(self.solids, self.geometry).astype(np.float32)

    def forward(self, call) -> Prepared:
        return Prepared(call, lambda out: relative_rmse(out, self.views()))

    def back(self, call, projected) -> Prepared:
        return Prepared(call, partial(mismatch, projected, self.volume(), self.views()))

    def ours(self, way: str, model: str = "separable-footprint") -> Prepared:
        projector = Projector(self.geometry, self.grid, model=model)
        if way == "forward":
            return self.forward(partial(projector.forward, self.volume()))
        projected = projector.forward(self.volume())
        return self.back(partial(projector.adjoint, self.views()), projected)

    def rtk(self, way: str) -> Prepared:
        pair = Rtk(self.geometry, self.grid)
        forward = pair.forward(self.volume())
        if way == "forward":
            return self.forward(forward)
        call = pair.back(self.views())
        there = self.back(call, forward())
        # RTK's rows and volume are turned: its result in our axes
        return Prepared(call, lambda out: there.error(out[::-1].transpose(1, 0, 2)))

    def leap(self, way: str) -> Prepared:
        forward, back = leap_calls(self.geometry, self.grid, self.volume(), self.views())
        return self.forward(forward) if way == "forward" else self.back(back, forward().copy())

    def on_gpu(self, way: str) -> Prepared:
        projector = Projector(self.geometry, self.grid)
        volume, views = (torch.from_numpy(a).cuda() for a in (self.volume(), self.views()))
        if way == "forward":
            call, here = partial(projector.forward, volume), self.forward(None)
        else:
            projected = projector.forward(volume).cpu().numpy()
            call, here = partial(projector.adjoint, views), self.back(None, projected)
        return Prepared(call, lambda out: here.error(out.cpu().numpy()), gpu=True)

    def fdk(self) -> Prepared:
        call = partial(ct.fdk, torch.from_numpy(self.views()), self.geometry, self.grid)
        return Prepared(call, lambda out: relative_rmse(out.numpy(), self.volume()))

    def rtk_fdk(self) -> Prepared:
        call = Rtk(self.geometry, self.grid).fdk(self.views())
        return Prepared(call, lambda out: relative_rmse(out, self.volume()))


def cones(n: int) -> Iterator[Task]:
    """The projector pair, FDK, and errors with voxels of half a cell."""
    detector = 3 * n // 2
    job = cache(lambda: Cone(n, 16, detector))
    for way in ("forward", "back"):
        tools = {OURS: lambda way=way: job().ours(way)}
        if torch.cuda.is_available():
            tools["spinray GPU"] = lambda way=way: job().on_gpu(way)
        tools |= {"rtk joseph": lambda way=way: job().rtk(way),
                  "leap": lambda way=way: job().leap(way)}  # fmt: skip
        measured = RMSE if way == "forward" else "distance from the transpose"
        yield Task("ct", f"cone {way}, a view", tools, measured, {"matrix": n, "views": 16}, 16)
    full = cache(lambda: Cone(n, 90, detector))
    tools = {OURS: lambda: full().fdk(), "rtk": lambda: full().rtk_fdk()}
    yield Task("ct", "fdk, a view", tools, RMSE, {"matrix": n, "views": 90}, 90)
    fine = cache(lambda: Cone(n, 6, detector // 2, shrink=0.5))
    tools = {f"spinray {model}": lambda model=model: fine().ours("forward", model)
             for model in ("separable-footprint", "joseph")}  # fmt: skip
    tools["rtk joseph"] = lambda: fine().rtk("forward")
    yield Task("ct", "accuracy, cone", tools, RMSE, {"matrix": n, "views": 6})


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


class Helix:
    """A cylinder of water seen by 16 rows at pitch 1, two turns."""

    def __init__(self) -> None:
        views, height = 360, 16 * 2.0 * 595.0 / 1085.6
        self.geometry = HelicalBeam(
            (np.arange(2 * views) - views) * 2 * np.pi / views, 16, 368, 2.0, 2.4, 595.0, 1085.6,
            "curved", column_offset=0.25, pitch=height,
        )  # fmt: skip
        self.grid = VolumeGrid((8, 256, 256), (1.0, 1.6, 1.6))
        cylinder = [(0.0193, 7.0, -11.0, 0.0, 150.0, 150.0, 1e5)]
        self.sinogram = torch.from_numpy(line_integrals_of(cylinder, self.geometry)).float()
        y, x = self.grid.positions(1)[:, None], self.grid.positions(2)
        self.inside = np.hypot(x - 7, y + 11) < 120

    def ours(self) -> Prepared:
        return Prepared(
            partial(ct.wfbp, self.sinogram, self.geometry, self.grid),
            lambda out: float(abs(out.numpy()[:, self.inside].mean() / 0.0193 - 1)),
        )


def tasks(quick: bool = False) -> Iterator[Task]:
    """Projectors in 2D and 3D, their accuracy, FBP, FDK, WFBP."""
    n = 128 if quick else 512
    for name in FIELDS:
        yield from planar(name, n)
    if not quick:
        yield from (accuracy(name, n) for name in ("parallel", "fan flat"))
    yield filtered_back_projection(n)
    yield from cones(48 if quick else 256)
    helix = cache(Helix)
    tools = {OURS: lambda: helix().ours()}
    yield Task("ct", "wfbp, a slice", tools, "mean of water", {"slices": 8}, 8)


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
