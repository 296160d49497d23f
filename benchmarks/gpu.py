"""The CUDA kernels against cuFINUFFT, torchkbnufft, SigPy and ASTRA on the same card.

    python -m benchmarks.gpu [--jobs "2D 256" cone ...] [--rounds 9] [--output FILE.json]

All data lie in the card's memory before the clock starts, and results stay there; times are those
between two events of the stream. Errors of transforms are relative l2 against direct sums in
double precision over some of the outputs, after removing a peer's own normalisation; those of
projections are relative RMSE against closed-form line integrals.
"""

from __future__ import annotations

import spinray  # noqa: F401  # before torch: see GOMP_SPINCOUNT there

# isort: split
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spinray.kernels.ct import Projector
from spinray.kernels.ct.geometry import ConeBeam, VolumeGrid
from spinray.kernels.nufft import Plan
from spinray.recon import ct
from spinray.recon.operators import Sense

from .common import run_suite
from .ct import ELLIPSOIDS, beam, cell_averages, ellipsoids_on, head
from .ct_phantoms import image_of, line_integrals_of
from .gpu_peers import NUFFTS, Astra
from .nufft import kooshball, noise, radial, ring_of_maps
from .protocol import OURS, Prepared, Task

STACK = 32
CHECKED = 400  # outputs of a transform that are compared with direct sums
TRANSFORMS = "relative l2 against a direct sum"
RMSE = "relative RMSE against closed forms"


def relative(found: Tensor, exact: Tensor, *, scaled: bool) -> float:
    """Relative l2, where `scaled` after one real factor: a peer's own normalisation."""
    found = found.reshape(exact.shape).to(exact.dtype)
    if scaled:
        found = found * (torch.vdot(found.ravel(), exact.ravel()).real / found.norm() ** 2)
    return float((found - exact).norm() / exact.norm())


class Transform:
    """One trajectory with data on the card."""

    def __init__(self, k: np.ndarray, shape: tuple[int, ...], coils: int, tolerance: float) -> None:
        self.k, self.shape, self.tolerance = k, shape, tolerance
        self.x = torch.from_numpy(noise(coils, *shape)).cuda()
        self.y = torch.from_numpy(noise(coils, len(k), seed=1)).cuda()

    def _turns(self, points: Tensor, axis: int) -> Tensor:
        """``exp(-2 pi i k n)``, (point, pixel), in double precision."""
        n = torch.arange(self.shape[axis], device="cuda") - self.shape[axis] // 2
        angle = -2 * np.pi * points[:, axis, None] * n
        return torch.polar(torch.ones_like(angle), angle)

    def forward_error(self, out: Tensor, *, scaled: bool) -> float:
        """Of the first coil's samples."""
        pick = np.random.default_rng(1).choice(len(self.k), CHECKED, replace=False)
        points = torch.from_numpy(self.k[pick]).cuda()
        exact = self.x[0].to(torch.complex128) @ self._turns(points, -1).mT
        for axis in range(len(self.shape) - 2, -1, -1):
            exact = torch.einsum("...nj,jn->...j", exact, self._turns(points, axis))
        exact = exact / np.prod(self.shape) ** 0.5
        return relative(out.reshape(-1, len(self.k))[0, pick], exact, scaled=scaled)

    def adjoint_error(self, out: Tensor, *, scaled: bool) -> float:
        """Of the first coil's image."""
        rng, k = np.random.default_rng(1), torch.from_numpy(self.k).cuda()
        pick = np.stack([rng.integers(0, n, CHECKED // 4) for n in self.shape], -1)
        y = self.y[0].to(torch.complex128)
        pixels = torch.from_numpy(pick - np.array(self.shape) // 2).double().cuda()
        angles = (2 * np.pi * (pixels @ part.mT) for part in k.split(1 << 18))
        parts = y.split(1 << 18)
        exact = sum(torch.polar(torch.ones_like(a), a) @ p
                    for a, p in zip(angles, parts, strict=True))  # fmt: skip
        assert isinstance(exact, Tensor)
        exact = exact / np.prod(self.shape) ** 0.5
        return relative(out.reshape(-1, *self.shape)[0][tuple(pick.T)], exact, scaled=scaled)

    def prepared(
        self, way: str, pair: tuple[Callable[[], Any], Callable[[], Any]], *, scaled: bool
    ) -> Prepared:
        forward = way == "forward"
        error = self.forward_error if forward else self.adjoint_error
        return Prepared(pair[not forward], partial(error, scaled=scaled), gpu=True)

    def ours(self, way: str) -> Prepared:
        plan = Plan(torch.from_numpy(self.k).cuda(), self.shape, tolerance=self.tolerance)
        pair = partial(plan.forward, self.x), partial(plan.adjoint, self.y)
        return self.prepared(way, pair, scaled=False)

    def peer(self, name: str, way: str) -> Prepared:
        pair = NUFFTS[name](self.k, self.x, self.y, self.tolerance)
        prepared = self.prepared(way, pair, scaled=True)
        return replace(prepared, process=name != "torchkbnufft")  # its memory torch counts


def transforms(name: str, k: np.ndarray, shape, coils: int, tolerance: float) -> Iterator[Task]:
    """Forward and adjoint of one job."""
    job = cache(lambda: Transform(k, shape, coils, tolerance))
    for way in ("forward", "adjoint"):
        tools = {OURS: lambda way=way: job().ours(way)}
        tools |= {peer: lambda peer=peer, way=way: job().peer(peer, way) for peer in NUFFTS}
        facts = {"coils": coils, "tolerance": tolerance}
        yield Task("gpu", f"{name} {way}", tools, TRANSFORMS, facts)


class ConjugateGradients:
    """64 spokes, 32 coils: one application of the normal operator of SENSE."""

    def __init__(self, coils: int = 32) -> None:
        self.k = radial(64)
        self.maps = torch.from_numpy(ring_of_maps(coils)).cuda()
        self.x = torch.from_numpy(noise(256, 256)).cuda()
        fine = self._sense(self.maps.to(torch.complex128), tolerance=1e-9)
        self.exact = fine.adjoint(fine(self.x.to(torch.complex128)))

    def _sense(self, maps: Tensor, **options: Any) -> Sense:
        from spinray.recon.operators import NonUniformFourier

        k = torch.from_numpy(self.k).cuda()
        return Sense(maps, trajectory=NonUniformFourier(k, (256, 256), **options))

    def prepared(self, call: Callable[[], Tensor], *, scaled: bool) -> Prepared:
        return Prepared(call, lambda out: relative(out, self.exact, scaled=scaled), gpu=True)

    def ours(self) -> Prepared:
        return self.prepared(partial(self._sense(self.maps).normal, self.x), scaled=False)

    def torchkbnufft(self) -> Prepared:
        import torchkbnufft

        points = torch.from_numpy(2 * np.pi * self.k.T).float().contiguous().cuda()
        kernel = torchkbnufft.calc_toeplitz_kernel(points, (256, 256))
        toeplitz = torchkbnufft.ToepNufft().cuda()
        maps, x = self.maps[None], self.x[None, None]
        return self.prepared(lambda: toeplitz(x, kernel, smaps=maps)[0, 0], scaled=True)

    def sigpy(self) -> Prepared:
        import cupy
        import sigpy.mri

        maps = cupy.from_dlpack(self.maps)
        coordinates = cupy.asarray((self.k * 256).astype(np.float32))
        normal, x = sigpy.mri.linop.Sense(maps, coord=coordinates).N, cupy.from_dlpack(self.x)
        prepared = self.prepared(lambda: torch.from_dlpack(normal(x)), scaled=True)
        return replace(prepared, process=True)


class Projections:
    """A phantom on the card, views of it, closed forms of some of the views."""

    def __init__(self, geometry, grid: VolumeGrid, volume: np.ndarray, exact, every: int) -> None:
        self.geometry, self.grid, self.every = geometry, grid, every
        self.volume = torch.from_numpy(volume).cuda()
        self.exact = torch.from_numpy(np.asarray(exact, np.float32)).cuda()
        self.projector = Projector(geometry, grid)

    def measured(self, out: Tensor) -> float:
        """Relative RMSE of every so many-th view; of the first slice of a stack."""
        found = out[:: self.every] if self.exact.ndim == out.ndim else out[0, :: self.every]
        return float((found - self.exact).norm() / self.exact.norm())

    @cache  # noqa: B019  # lives as long as the task
    def views(self) -> Tensor:
        return self.projector.forward(self.volume)

    def ours(self, way: str) -> Prepared:
        if way == "forward":
            call = partial(self.projector.forward, self.volume)
            return Prepared(call, self.measured, gpu=True)
        call = partial(self.projector.adjoint, self.views())
        return Prepared(call, partial(self.mismatch, self.views()), gpu=True)

    def mismatch(self, projected: Tensor, back: Tensor) -> float:
        """How far the pair is from each other's transpose."""
        left = torch.vdot(projected.ravel().double(), self.views().ravel().double())
        right = torch.vdot(self.volume.ravel().double(), back.ravel().double())
        return float((left - right).abs() / left.abs())

    def astra(self, way: str) -> Prepared:
        stack = self.exact.ndim < self.views().ndim
        shape = self.volume.shape
        spacing = (1.0, *self.grid.spacing) if stack else self.grid.spacing
        peer = Astra(self.geometry, VolumeGrid(tuple(shape), spacing))

        def turned(views: Tensor) -> Tensor:  # a stack's are (slice, view, column)
            return views.transpose(0, 1) if stack else views

        forward = peer.forward(self.volume)
        if way == "forward":
            return Prepared(lambda: turned(forward()), self.measured, gpu=True, process=True)
        projected = turned(forward()).clone()
        call = peer.back(turned(self.views()))
        return Prepared(call, partial(self.mismatch, projected), gpu=True, process=True)

    def our_fdk(self) -> Prepared:
        call = partial(ct.fdk, self.views(), self.geometry, self.grid)
        return Prepared(call, self._of_volume, gpu=True)

    def astra_fdk(self) -> Prepared:
        call = Astra(self.geometry, self.grid).fdk(self.views())
        return Prepared(call, None, gpu=True, process=True)  # its values are in a scale of its own

    def _of_volume(self, out: Tensor) -> float:
        return float((out - self.volume).norm() / self.volume.norm())


def stack(n: int) -> Projections:
    """Slices under parallel beams."""
    geometry, grid = beam("parallel", n), VolumeGrid((n, n), 256 / n)
    phantom = head(0.95 * 256)
    image = image_of(phantom, grid).astype(np.float32)
    exact = line_integrals_of(phantom, geometry[::30], cells=16)
    return Projections(geometry, grid, np.repeat(image[None], STACK, 0), exact, 30)


def cone(n: int) -> Projections:
    """Ellipsoids in a circle of 360 views."""
    grid, detector, cell = VolumeGrid((n, n, n), 128 / n), 3 * n // 2, 256 / n
    geometry = ConeBeam(
        np.arange(360) * 2 * np.pi / 360, detector, detector, cell, cell, 500.0, 1000.0
    )
    volume = ellipsoids_on(grid, ELLIPSOIDS)
    return Projections(geometry, grid, volume, cell_averages(ELLIPSOIDS, geometry[::120]), 120)


def projections(
    name: str, job: Callable[[], Projections], facts: dict[str, float]
) -> Iterator[Task]:
    """Both ways of one job."""
    for way in ("forward", "back"):
        tools = {OURS: lambda way=way: job().ours(way), "astra": lambda way=way: job().astra(way)}
        measured = RMSE if way == "forward" else "distance from the transpose"
        yield Task("gpu", f"{name} {way}", tools, measured, facts)


def tasks(quick: bool = False) -> Iterator[Task]:
    """Transforms in 2D and 3D, SENSE, parallel and cone beams, FDK; nothing without a card."""
    if not torch.cuda.is_available():
        print("gpu: no card here")
        return
    k = radial(402)
    for coils in (8,) if quick else (1, 8, 32):
        yield from transforms("2D 256", k, (256, 256), coils, 1e-3)
    if not quick:
        yield from transforms("2D 256", k, (256, 256), 8, 1e-5)
        yield from transforms("3D 128", kooshball(1_000_000), (128,) * 3, 8, 1e-3)
    sense = cache(ConjugateGradients)
    tools = {OURS: lambda: sense().ours(), "torchkbnufft Toeplitz": lambda: sense().torchkbnufft(),
             "sigpy": lambda: sense().sigpy()}  # fmt: skip
    yield Task("gpu", "SENSE normal operator", tools, "relative l2 at 1e-9", {"coils": 32})
    n, m = (128, 64) if quick else (512, 256)
    slices = cache(lambda: stack(n))
    yield from projections("parallel stack", slices, {"matrix": n, "slices": STACK})
    circle = cache(lambda: cone(m))
    yield from projections("cone", circle, {"matrix": m, "views": 360})
    tools = {OURS: lambda: circle().our_fdk(), "astra": lambda: circle().astra_fdk()}
    yield Task("gpu", "fdk", tools, "relative RMSE", {"matrix": m, "views": 360})


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
