"""The footprint projector and the back projection on the GPU: what is uploaded, and the launches.

All arrays are torch tensors, so that memory comes from torch's allocator, work goes to torch's
stream, and a call can be captured in a CUDA graph once it has run. The kernels are in footprint.cu
and backprojection.cu.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..cuda import Compile, Defines, Module, exact_cuda_module, upload
from . import cone
from .backprojection import column_weights
from .footprint import TILE as PLANAR_TILE
from .geometry import CircularBeam, ConeBeam
from .projector import Projector

SOURCE = Path(__file__).with_name("footprint.cu")
BACKPROJECTION = Path(__file__).with_name("backprojection.cu")
DEPTH = 8  # slices, or voxels of `backproject`, that a thread keeps in registers;
SOLID_DEPTH = 16  # rows or voxels along z of a cone, whose coefficients cost more
THREADS = 256
PIECE = 1 << 28  # bytes of scratch where no limit is given: such a piece fills a card


@dataclass(frozen=True)
class _Tables:
    """What the kernels look up, in one precision."""

    beam: Tensor  # (8,) float64, as `Projector.beam`
    turns: Tensor  # (view, 3) float64: cosine, sine, height
    axials: Tensor  # (view, 3): see `row_map` in shadow.cuh; zeros for 2D
    xs: Tensor
    ys: Tensor
    slope: Tensor  # (row, column) of a cone's rays
    straight: Tensor  # (view,) int32: views whose rays run along y
    turned: Tensor  # the others


class CudaFootprint:
    """`Projector`'s footprint model and `backproject` on stacks of CUDA tensors.

    Parameters
    ----------
    plan
        The projector: geometry, grid, footprint, memory limit.
    device
        Where; None for a plan of the memory alone.
    compile_source
        Makes a `Module` of a CUDA source.
    """

    def __init__(
        self,
        plan: Projector,
        device: torch.device | None,
        compile_source: Compile = exact_cuda_module,
    ) -> None:
        self.plan, self.device, self._compile = plan, device, compile_source
        self._solid = plan.volume.ndim == 3
        self._tile = self._tile_of(SOURCE)
        self._across = 32 if self._solid else 128  # columns of a block of `forward`
        self._rows, self._columns = (1, *plan.geometry.shape[1:])[-2:]
        self._depth, self._ny, self._nx = (1, *plan.volume.shape)[-3:]
        self._runs_along_x = np.abs(plan.turns[:, 1]) > np.abs(plan.turns[:, 0])
        self._kept: dict[torch.dtype, _Tables] = {}

    def forward(self, stack: Tensor) -> Tensor:
        """Project ``(n, [z,] y, x)`` to ``(n, view, [row,] column)``."""
        out = stack.new_zeros((len(stack), *self.plan.geometry.shape))
        for images, sinogram in self._piles(stack, out, self._slices(stack.itemsize)):
            self._project(images, sinogram)
        return out

    def adjoint(self, stack: Tensor) -> Tensor:
        """Apply the transpose to ``(n, view, [row,] column)``."""
        out = stack.new_zeros((len(stack), *self.plan.volume.shape))
        tables = self._tables(stack.dtype)
        views = len(self.plan.geometry)
        for images, sinogram in self._piles(out, stack, max(len(stack), 1)):
            step = self._views(stack.itemsize) if self._solid else views
            buffer = sinogram.new_empty((step, *sinogram.shape[1:])) if self._solid else sinogram
            for view in range(0, views, step):
                count = min(step, views - view)
                if self._solid:
                    torch.mul(sinogram[view : view + count], tables.slope, out=buffer[:count])
                self._launch_on_pixels(SOURCE, "adjoint", images, buffer, view, count)
        return out

    def backproject(self, stack: Tensor) -> Tensor:
        """Back project filtered views ``(n, view, [row,] column)``: see `backproject`."""
        out = stack.new_zeros((len(stack), *self.plan.volume.shape))
        self.add_views(out, stack, 0)
        return out

    def add_views(self, images: Tensor, views: Tensor, first: int) -> None:
        """Back project some filtered views, from `first` on: see `BackProjection.add`."""
        geometry = self.plan.geometry
        assert isinstance(geometry, CircularBeam)
        if (weights := column_weights(geometry)) is not None:
            views = views * upload(weights, views.dtype, self.device)
        for image, sinogram in self._piles(images, views.contiguous(), max(len(views), 1)):
            self._launch_on_pixels(
                BACKPROJECTION, "backproject", image, sinogram, first, views.shape[1]
            )

    def memory(self, itemsize: int = 4) -> int:
        """Bytes used beside input and output for one volume or any stack of slices."""
        count = self._depth if self._solid else self._slices(itemsize)
        slab = itemsize * count * self._ny * self._width(count, itemsize)
        scratch = [slab if self._runs_along_x.any() else 0]
        if self._solid:
            scratch.append(self._views(itemsize) * itemsize * self._rows * self._columns)
        return self._fixed(itemsize) + max(scratch)

    def _fixed(self, itemsize: int) -> int:
        """Bytes of the tables."""
        slope = self._rows * self._columns if self._solid else 1
        numbers = self._ny + self._nx + slope + 3 * len(self.plan.geometry)
        return int(
            8 * (self.plan.turns.size + len(self.plan.beam))
            + itemsize * numbers
            + 4 * len(self.plan.turns)
        )

    def _project(self, images: Tensor, sinogram: Tensor) -> None:
        """Add the projection of ``(slice or z, y, x)`` to the sinogram."""
        tables, (count, ny, nx) = self._tables(images.dtype), images.shape
        module = self._module(SOURCE, images.dtype, count)
        self._launch_on_rays(module, images, sinogram, tables, tables.straight, 0, 0, ny)
        if not len(tables.turned):
            return
        width = self._width(count, images.itemsize)
        buffer = images.new_empty(count * width * ny)
        for x in range(0, nx, width):
            part = images[:, :, x : x + width].transpose(1, 2)
            slab = buffer[: part.numel()].view(part.shape).copy_(part)
            self._launch_on_rays(module, slab, sinogram, tables, tables.turned, 1, x, slab.shape[1])

    def _launch_on_rays(
        self, module: Module, images: Tensor, sinogram: Tensor, tables: _Tables, views: Tensor,
        turned: int, origin: int, extent: int,
    ) -> None:  # fmt: skip
        if not len(views):
            return
        depth = self._registers(SOURCE, len(images))
        count = self._rows if self._solid else len(images)
        groups = min(-(-count // depth), THREADS // self._across)
        blocks = len(views) * -(-self._columns // self._across), -(-count // (depth * groups))
        module.launch(
            "forward", blocks, groups * self._across, images, sinogram, tables.beam, tables.turns,
            tables.axials, tables.xs, tables.ys, tables.slope, views, turned, origin, extent,
            len(self.plan.geometry), count, self._columns, len(images), self._ny, self._nx,
        )  # fmt: skip

    def _launch_on_pixels(
        self, source: Path, name: str, images: Tensor, sinogram: Tensor, first: int, views: int
    ) -> None:
        tables = self._tables(images.dtype)
        module = self._module(source, images.dtype, len(images))
        tile = self._tile_of(source)
        tiles, strips = -(-self._nx // tile) * -(-self._ny // tile), -(-(tile**2) // THREADS)
        blocks = tiles * strips, -(-len(images) // self._registers(source, len(images)))
        module.launch(
            name, blocks, THREADS, images, sinogram, tables.beam, tables.turns, tables.axials,
            tables.xs, tables.ys, first, views, len(images), self._rows, self._columns, self._ny,
            self._nx,
        )  # fmt: skip

    def _piles(self, images: Tensor, rays: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Single volumes, or slices that go together."""
        if self._solid:
            yield from zip(images, rays, strict=True)
        else:
            for i in range(0, len(images), most):
                yield images[i : i + most], rays[i : i + most]

    def _registers(self, source: Path, count: int) -> int:
        if self._solid:
            return SOLID_DEPTH if source == SOURCE else DEPTH
        return 1 if count < 3 else DEPTH

    def _budget(self, itemsize: int) -> int:
        """Bytes of scratch."""
        limit = self.plan.memory_limit
        return PIECE if limit is None else limit - self._fixed(itemsize)

    def _slices(self, itemsize: int) -> int:
        """Slices that go together through `forward`."""
        return max(self._budget(itemsize) // (itemsize * self._ny * self._nx), DEPTH)

    def _width(self, count: int, itemsize: int) -> int:
        """Pixels along x, whole tiles, that are turned together for `count` slices or planes."""
        column = itemsize * count * self._ny
        if column * self._nx <= self._budget(itemsize):
            return self._nx
        return self._allowed(column * self._tile, itemsize, "a slab one tile wide") * self._tile

    def _views(self, itemsize: int) -> int:
        """Views that go together through the `adjoint` of a cone."""
        view = itemsize * self._rows * self._columns
        return min(self._allowed(view, itemsize, "a view"), len(self.plan.geometry))

    def _allowed(self, size: int, itemsize: int, name: str) -> int:
        """Pieces of a size that the budget holds."""
        budget, limit = self._budget(itemsize), self.plan.memory_limit
        if limit is not None and size > budget:
            raise ValueError(
                f"memory_limit {limit} bytes is below {name} and the tables, "
                f"{size + limit - budget} bytes"
            )
        return max(budget // size, 1)

    def _module(self, source: Path, dtype: torch.dtype, count: int) -> Module:
        return self._compile(source, self.defines(source, dtype, count))

    def _tile_of(self, source: Path) -> int:
        """Pixels of a tile in x and y, as in Numba's kernels: a fan's series end alike."""
        return cone.TILE if self._solid and source == SOURCE else PLANAR_TILE

    def defines(self, source: Path, dtype: torch.dtype, count: int) -> Defines:
        """What a source is compiled with, for stacks of `count` slices or planes."""
        values = {
            "REAL": "float" if dtype == torch.float32 else "double",
            "NDIM": self.plan.volume.ndim, "DEPTH": self._registers(source, count),
            "FINE": self.plan.beam[7], "TILE": self._tile_of(source), "THREADS": THREADS,
            "ACROSS": self._across,
        }  # fmt: skip
        return tuple((name, str(value)) for name, value in values.items())

    def _tables(self, dtype: torch.dtype) -> _Tables:
        """Tables in the precision of the data, made at the first call."""
        if dtype not in self._kept:
            plan, real = self.plan, torch.float64
            axials, slope = np.zeros((len(plan.geometry), 3)), np.ones((1, 1))
            if isinstance(plan.geometry, ConeBeam):
                sdd, row_spacing, row_edge, dz, z_edge = plan.axial
                axials[:, 0], axials[:, 1] = row_spacing / (sdd * dz), row_edge / row_spacing
                axials[:, 2] = (plan.turns[:, 2] - z_edge) / dz
                slope = plan.geometry.slopes
            xs, ys = plan.axes(np.float64)
            self._kept[dtype] = _Tables(
                *(upload(a, real, self.device) for a in (np.array(plan.beam), plan.turns)),
                *(upload(a, dtype, self.device) for a in (axials, xs, ys, slope)),
                *(upload(np.flatnonzero(chosen), torch.int32, self.device)
                  for chosen in (~self._runs_along_x, self._runs_along_x)),
            )  # fmt: skip
        return self._kept[dtype]
