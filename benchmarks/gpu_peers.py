"""The NUFFTs and projectors that Spinray is measured against on a card, data in its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spinray.kernels.ct.geometry import Geometry, ParallelBeam, VolumeGrid

Pair = tuple[Callable[[], Any], Callable[[], Any]]


def cufinufft_pair(k: np.ndarray, x: Tensor, y: Tensor, tolerance: float) -> Pair:
    """Planned transforms of all coils at once, into arrays that exist."""
    import cufinufft

    axes = [torch.from_numpy(2 * np.pi * a).float().cuda() for a in k.T]
    coils, shape = len(x), tuple(x.shape[1:])
    plans = []
    for kind, sign in ((2, -1), (1, 1)):
        plan = cufinufft.Plan(
            kind, shape, n_trans=coils, eps=tolerance, isign=sign, dtype="complex64"
        )
        plan.setpts(*axes)
        plans.append(plan)
    samples, images = torch.empty_like(y), torch.empty_like(x)
    return (
        lambda: plans[0].execute(x if coils > 1 else x[0], samples if coils > 1 else samples[0]),
        lambda: plans[1].execute(y if coils > 1 else y[0], images if coils > 1 else images[0]),
    )


def torchkbnufft_pair(k: np.ndarray, x: Tensor, y: Tensor, tolerance: float) -> Pair:
    """Its defaults: tables of a window of six cells, a grid of twice the matrix."""
    import torchkbnufft

    points = torch.from_numpy(2 * np.pi * k.T).float().contiguous().cuda()
    shape = tuple(x.shape[1:])
    to = torchkbnufft.KbNufft(im_size=shape).cuda()
    back = torchkbnufft.KbNufftAdjoint(im_size=shape).cuda()
    return lambda: to(x[None], points)[0], lambda: back(y[None], points)[0]


def sigpy_pair(k: np.ndarray, x: Tensor, y: Tensor, tolerance: float) -> Pair:
    """Through CuPy, its defaults."""
    import cupy
    import sigpy

    coordinates = cupy.asarray((k * x.shape[1:]).astype(np.float32))
    images, samples = cupy.from_dlpack(x), cupy.from_dlpack(y)
    return (
        lambda: torch.from_dlpack(sigpy.nufft(images, coordinates)),
        lambda: torch.from_dlpack(sigpy.nufft_adjoint(samples, coordinates, images.shape)),
    )


NUFFTS = {"cufinufft": cufinufft_pair, "torchkbnufft": torchkbnufft_pair, "sigpy": sigpy_pair}


class Astra:
    """ASTRA's CUDA projectors of volumes ``(z, y, x)`` that lie in the card's memory.

    A stack of slices is a volume under parallel beams. Sinograms come back ``(view, row, column)``.
    """

    def __init__(self, geometry: Geometry, grid: VolumeGrid) -> None:
        import astra

        self._astra = astra
        vectors = dict(geometry.to_astra())
        depth, ny, nx = grid.shape
        if isinstance(geometry, ParallelBeam):
            flat = vectors["Vectors"]
            rows = np.zeros((len(flat), 3))
            rows[:, 2] = grid.spacing[0]
            parts = [np.pad(flat[:, i : i + 2], ((0, 0), (0, 1))) for i in (0, 2, 4)]
            vectors = {
                "type": "parallel3d_vec", "DetectorRowCount": depth,
                "DetectorColCount": geometry.columns,
                "Vectors": np.concatenate([*parts, rows], axis=1),
            }  # fmt: skip
        z, y, x = (n * s / 2 for n, s in zip(grid.shape, grid.spacing, strict=True))
        self._beam = vectors
        self._window = astra.create_vol_geom(ny, nx, depth, -x, x, -y, y, -z, z)
        self._projector = astra.create_projector("cuda3d", vectors, self._window)
        self._sinogram = (vectors["DetectorRowCount"], len(geometry), geometry.columns)

    def forward(self, volume: Tensor) -> Callable[[], Tensor]:
        """A call that projects."""
        from astra.experimental import direct_FP3D

        out = torch.zeros(self._sinogram, device="cuda")

        def call() -> Tensor:
            direct_FP3D(self._projector, volume, out)
            return out.transpose(0, 1)

        return call

    def back(self, sinogram: Tensor) -> Callable[[], Tensor]:
        """A call that back projects ``(view, row, column)``."""
        from astra.experimental import direct_BP3D

        views, out = sinogram.transpose(0, 1).contiguous(), self._empty()

        def call() -> Tensor:
            direct_BP3D(self._projector, out, views)
            return out

        return call

    def fdk(self, sinogram: Tensor) -> Callable[[], Tensor]:
        """A call of its FDK."""
        views, out = sinogram.transpose(0, 1).contiguous(), self._empty()
        data = self._astra.data3d
        settings = self._astra.astra_dict("FDK_CUDA")
        settings["ProjectionDataId"] = data.link("-sino", self._beam, views)
        settings["ReconstructionDataId"] = data.link("-vol", self._window, out)
        algorithm = self._astra.algorithm.create(settings)

        def call() -> Tensor:
            self._astra.algorithm.run(algorithm)
            return out

        return call

    def _empty(self) -> Tensor:
        window = self._window
        shape = window["GridSliceCount"], window["GridRowCount"], window["GridColCount"]
        return torch.zeros(shape, device="cuda")
