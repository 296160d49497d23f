"""The CUDA backend: tables of a trajectory on the GPU, and transforms block by block.

All arrays are torch tensors, so that memory comes from torch's allocator, work goes to torch's
stream, and a transform can be captured in a CUDA graph. The kernels are in nufft.cu.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cuda import Compile, Defines, Module, cuda_module, upload
from . import cpu
from .subspace import SubspaceToeplitz
from .window import best_window, choose

SOURCE = Path(__file__).with_name("nufft.cu")
SHARED = 48 << 10  # bytes of shared memory that every card gives a block
TILE = (256, 16, 8)  # cells of a tile's edge, by dimension, where shared memory allows
THREADS = 128
PIECE = 256  # samples that a block adds one after another; the more of a tile are pieces beside it


@dataclass(frozen=True)
class _Tables:
    """What the kernels look up, in one precision."""

    module: Module
    first: Tensor  # (frame * sample,) int32: flat grid cell under the first tap
    weights: Tensor  # (frame * sample, ndim, width)
    scale: list[Tensor]  # deapodisation along z, y, x


class CudaPlan:
    """Everything that depends on the trajectory alone, and the passes of one transform.

    Parameters
    ----------
    positions : (frame, sample, ndim) float64 on the host, cycles per pixel
    shape, grid_shape : image and oversampled grid
    width : window width in grid cells
    memory_limit : bytes that working grids and pieces may take; None allows half of what is free
    device : where
    compile_source : makes a `Module` of the CUDA source
    """

    backend = "cuda"

    def __init__(
        self,
        positions: NDArray[np.float64],
        shape: tuple[int, ...],
        grid_shape: tuple[int, ...],
        width: int,
        memory_limit: int | None,
        device: torch.device,
        compile_source: Compile = cuda_module,
    ) -> None:
        if positions.shape[0] * positions.shape[1] >= 2**31 or np.prod(grid_shape) >= 2**31:
            raise ValueError("the GPU takes up to 2^31 samples and grid cells")
        self.frames, self.samples, self._ndim = positions.shape
        self.positions, self.shape = positions, shape
        self.grid_shape, self.width = grid_shape, width
        self.device, self.memory_limit, self._compile = device, memory_limit, compile_source
        missing = 3 - self._ndim
        self._image, self._size = (1,) * missing + shape, (1,) * missing + grid_shape
        self._windows = [
            best_window(width, k / n)[0] for k, n in zip(grid_shape, shape, strict=True)
        ]
        self._lanes = 16 if width**self._ndim <= 16 else 32  # that share a coil's tile
        self._edge, groups = self._tile()
        self._cells = (self._edge + width - 1) ** self._ndim
        self._threads = max(32, self._lanes * groups)
        self._sort()
        self._tables: dict[torch.dtype, _Tables] = {}

    def _tile(self) -> tuple[int, int]:
        """Edge of a tile, and coils of a spreading block, that fit in shared memory.

        A tile with its halo may not meet itself around the grid.
        """
        edge = min(TILE[self._ndim - 1], min(self.grid_shape) - self.width + 1)
        room = SHARED - self._lanes * (8 * self._ndim * self.width + 4)  # beside the windows
        while edge > 1 and (edge + self.width - 1) ** self._ndim * 16 > room // 2:
            edge -= 1
        cells = (edge + self.width - 1) ** self._ndim
        if 16 * cells > room:
            raise ValueError(
                f"a window of {self.width} cells in {self._ndim}D is too large for shared memory "
                "of the GPU: give a larger tolerance, or upsampling up to 4"
            )
        return edge, max(1, min(THREADS // self._lanes, room // (16 * cells)))

    def _sort(self) -> None:
        """Order samples by tile; list spreading tasks by colour, and pieces of crowded tiles."""
        sizes, edge = np.array(self.grid_shape), self._edge
        counts = -(-sizes // edge)
        colours = [_colours(n, edge, self.width) for n in self.grid_shape]
        order = np.empty((self.frames, self.samples), np.int64)
        tasks: dict[tuple[int, ...], list[NDArray[np.int64]]] = {}
        pieces: list[NDArray[np.int64]] = []
        known = 0
        for frame in range(self.frames):
            order[frame], starts = cpu.sort_by_tile(
                self.positions[frame], sizes, counts, edge, self.width
            )
            used = np.flatnonzero(np.diff(starts))
            used = used[np.argsort(-np.diff(starts)[used], kind="stable")]  # longest first
            place = np.stack(np.unravel_index(used, counts), -1)
            rows = np.zeros((len(used), 8), np.int64)
            rows[:, 0], rows[:, 1], rows[:, 2] = frame, starts[used], starts[used + 1]
            rows[:, 6 - self._ndim : 6] = place * edge
            rows[:, 7] = (rows[:, 2] - rows[:, 1] - 1) // PIECE
            rows[:, 6] = known + np.cumsum(rows[:, 7]) - rows[:, 7]
            more = np.repeat(rows, rows[:, 7], axis=0)
            number = 1 + known + np.arange(len(more)) - more[:, 6]
            more[:, 1] += PIECE * number
            more[:, 2] = np.minimum(more[:, 1] + PIECE, more[:, 2])
            rows[:, 2] = np.minimum(rows[:, 1] + PIECE, rows[:, 2])
            pieces.append(more)
            known += len(more)
            names = np.stack([c[place[:, axis]] for axis, c in enumerate(colours)], -1)
            for name in np.unique(names, axis=0):
                chosen = rows[(names == name).all(1)]
                tasks.setdefault(tuple(name.tolist()), []).append(chosen)
        self._host_order = order
        self._order = upload(order, torch.int32, self.device)
        self._tasks = [np.concatenate(parts) for parts in tasks.values()]
        self._uploaded_tasks = [upload(t, torch.int32, self.device) for t in self._tasks]
        # a frame's pieces are those from `_piece_of[frame]` on
        self._piece_of = np.cumsum([0, *map(len, pieces)])
        self._pieces = upload(np.concatenate(pieces), torch.int32, self.device)

    def _prepare(self, real: torch.dtype) -> _Tables:
        """Compiled kernels and tables in the precision of the data, made at the first call."""
        if real not in self._tables:
            total, dtype = self.frames * self.samples, str(real).removeprefix("torch.")
            first = np.empty(total, np.int64)
            weights = np.empty((total, self._ndim, self.width), dtype)
            _, y, x = self._size
            order = self._host_order + np.arange(self.frames)[:, None] * self.samples
            cpu.tabulate(
                self.positions.reshape(total, self._ndim), order.ravel(),
                np.array(self.grid_shape), np.array([y * x, x, 1])[3 - self._ndim :], self.width,
                np.stack([w.polynomials() for w in self._windows]), first, weights,
            )  # fmt: skip
            scale = [
                w.deapodisation(n, k)
                for w, n, k in zip(self._windows, self.shape, self.grid_shape, strict=True)
            ]
            scale = [np.ones(1)] * (3 - self._ndim) + scale
            self._tables[real] = _Tables(
                self._compile(SOURCE, self._defines(real)),
                upload(first, torch.int32, self.device),
                upload(weights, real, self.device),
                [upload(s, real, self.device) for s in scale],
            )
        return self._tables[real]

    def _defines(self, real: torch.dtype) -> Defines:
        """What nufft.cu is compiled for."""
        scalar = "float" if real == torch.float32 else "double"
        return (
            ("REAL", scalar), ("REAL2", f"{scalar}2"), ("NDIM", str(self._ndim)),
            ("WIDTH", str(self.width)), ("GROUP", str(self._lanes)), ("CELLS", str(self._cells)),
            ("THREADS", str(self._threads)),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Images (frame, coil, *shape) to samples (frame, coil, sample)."""
        coils, real = images.shape[1], images.real.dtype
        tables = self._prepare(real)
        data = images.new_empty((self.frames, coils, self.samples))
        for block in self._blocks(coils, images.dtype):
            grid = self._grid(block, images.dtype)
            self._pixels("pad", tables, images, grid, block)
            axes = tuple(range(-self._ndim, 0))
            grid = torch.fft.fftn(grid, dim=axes)
            tables.module.launch(
                "interpolate", (-(-self.samples // 128), min(block.frames, 65535)), 128, grid,
                tables.first, tables.weights, self._order, data, block.frame0, block.frames,
                block.coil0, block.coils, coils, self.samples, *self._size,
            )  # fmt: skip
        return data

    def adjoint(self, data: Tensor) -> Tensor:
        """Samples (frame, coil, sample) to images (frame, coil, *shape)."""
        coils, real = data.shape[1], data.real.dtype
        tables = self._prepare(real)
        images = data.new_empty((self.frames, coils, *self.shape))
        groups = self._threads // self._lanes
        for block in self._blocks(coils, data.dtype):
            grid = self._grid(block, data.dtype).zero_()
            frames = block.frame0, block.frame0 + block.frames
            samples = data, tables.first, tables.weights, self._order
            sizes = block.coil0, block.coils, coils, self.samples, self._edge, *self._size
            first, last = (int(self._piece_of[frame]) for frame in frames)
            parts = data.new_empty((last - first) * block.coils * self._cells)
            if last > first:
                tables.module.launch(
                    "spread_parts", (last - first, -(-block.coils // groups)), self._threads,
                    self._pieces[first:last], *samples, parts, *sizes,
                )  # fmt: skip
            for host, tasks in zip(self._tasks, self._uploaded_tasks, strict=True):
                begin, end = np.searchsorted(host[:, 0], frames)
                if end > begin:
                    tables.module.launch(
                        "spread", (int(end - begin), -(-block.coils // groups)), self._threads,
                        tasks[begin:end], *samples, parts, grid, first, block.frame0, *sizes,
                    )  # fmt: skip
            axes = tuple(range(-self._ndim, 0))
            grid = torch.fft.ifftn(grid, dim=axes, norm="forward")
            self._pixels("crop", tables, images, grid, block)
        return images

    def refined(self, tolerance: float) -> CudaPlan:
        """The same trajectory and image at another tolerance."""
        width, grid_shape = choose(tolerance, self.shape, self.samples)
        return CudaPlan(
            self.positions, self.shape, grid_shape, width, self.memory_limit, self.device,
            self._compile,
        )  # fmt: skip

    def convolution(self, psf: Tensor) -> Callable[[Tensor], Tensor]:
        """The convolution with a point spread function (frame, *(2 n)) of `point_spread`."""
        convolution = SubspaceToeplitz(psf[:, None], self.shape, self.memory_limit)
        return lambda images: convolution(images[:, :, None])[:, :, 0]

    def own(self, array: NDArray[Any] | Tensor) -> Tensor:
        """A host array where this plan computes."""
        return torch.as_tensor(array, device=self.device)

    def memory(self, itemsize: int = 8) -> int:
        """Bytes a transform of one coil needs beside its input and output."""
        row = 8 + self._ndim * self.width * itemsize // 2
        return self.frames * self.samples * row + self._item_bytes(itemsize)

    def _item_bytes(self, itemsize: int) -> int:
        """Of one coil of a frame: grid, spectrum, the FFT's own room, pieces of crowded tiles."""
        pieces = int(np.diff(self._piece_of).max()) * self._cells
        return itemsize * (3 * int(np.prod(self.grid_shape)) + pieces)

    def _blocks(self, coils: int, dtype: torch.dtype) -> Iterator[_Block]:
        """Frames and coils whose grids fit in memory together."""
        limit = self.memory_limit or _free_memory(self.device) // 2
        most = max(1, limit // self._item_bytes(dtype.itemsize))
        if self.memory_limit and self._item_bytes(dtype.itemsize) > self.memory_limit:
            raise MemoryError(
                f"the grid {self.grid_shape} needs {self._item_bytes(dtype.itemsize):,} bytes for "
                f"one coil, memory_limit is {limit:,}"
            )
        coil_step = min(coils, most)
        frame_step = max(1, min(self.frames, most // max(coil_step, 1)))
        for frame0 in range(0, self.frames, frame_step):
            for coil0 in range(0, coils, coil_step):
                yield _Block(
                    frame0, min(frame_step, self.frames - frame0),
                    coil0, min(coil_step, coils - coil0),
                )  # fmt: skip

    def _grid(self, block: _Block, dtype: torch.dtype) -> Tensor:
        shape = (block.frames, block.coils, *self.grid_shape)
        return torch.empty(shape, dtype=dtype, device=self.device)

    def _pixels(
        self, name: str, tables: _Tables, images: Tensor, grid: Tensor, block: _Block
    ) -> None:
        """Run `pad` or `crop`."""
        count = grid.numel() if name == "pad" else block.frames * block.coils * images[0, 0].numel()
        tables.module.launch(
            name, (min(-(-count // 256), 1 << 20), 1), 256, images, *tables.scale, grid,
            block.frame0, block.frames, block.coil0, block.coils, images.shape[1], *self._image,
            *self._size,
        )  # fmt: skip


@dataclass(frozen=True)
class _Block:
    """Frames and coils that go through the grid together."""

    frame0: int
    frames: int
    coil0: int
    coils: int


def _colours(cells: int, edge: int, width: int) -> NDArray[np.int64]:
    """Colour the tiles of a periodic axis: those of one colour share no cell, halos included."""
    count = -(-cells // edge)
    colours = np.zeros(count, np.int64)
    reach = edge + width - 1
    covered = [{(t * edge + i) % cells for i in range(reach)} for t in range(count)]
    for tile in range(count):
        taken = {int(colours[other]) for other in range(tile) if covered[other] & covered[tile]}
        colours[tile] = min(set(range(len(taken) + 1)) - taken)
    return colours


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 1 << 30
    return int(torch.cuda.mem_get_info(device)[0])
