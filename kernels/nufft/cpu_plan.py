"""The CPU backend: tables of a trajectory, and transforms block by block of coils and frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arena import arena
from ..threads import thread_count
from . import cpu
from .grid import Grid, counter
from .toeplitz import Toeplitz
from .window import best_window, choose

# Cells of a tile edge by dimension: at least the halo, so that tiles of one colour never touch.
EDGE = (1024, 32, 16)
PIECE = 1024  # samples of an interpolation task


class CpuPlan:
    """Everything that depends on the trajectory alone, and the passes of one transform.

    Parameters
    ----------
    positions : (frame, sample, ndim) float64, cycles per pixel
    shape, grid_shape : image and oversampled grid
    width : window width in grid cells
    memory_limit : bytes that the working grid may take
    """

    backend = "numba"

    def __init__(
        self,
        positions: NDArray[np.float64],
        shape: tuple[int, ...],
        grid_shape: tuple[int, ...],
        width: int,
        memory_limit: int | None,
    ) -> None:
        self.frames, self.samples, nd = positions.shape
        self.positions, self.shape = positions, shape
        self.grid_shape, self.width = grid_shape, width
        self._widths = (1,) * (3 - nd) + (width,) * nd
        windows = [best_window(width, k / n)[0] for k, n in zip(grid_shape, shape, strict=True)]
        self._polynomials = np.stack([w.polynomials() for w in windows])
        scale = [w.deapodisation(n, k) for w, n, k in zip(windows, shape, grid_shape, strict=True)]
        self._grid = Grid(shape, grid_shape, width - 1, scale, memory_limit)
        self._sort()
        self._tables: dict[np.dtype[Any], tuple[NDArray[np.int64], NDArray[Any]]] = {}

    def _sort(self) -> None:
        """Order samples by tile; list interpolation tasks and, by colour, spreading tasks."""
        sizes = np.array(self.grid_shape)
        edge = EDGE[len(sizes) - 1]
        counts = -(-sizes // edge)
        self._order = np.empty((self.frames, self.samples), np.int64)
        self._pieces, self._coloured = [], []
        colour = np.zeros((1,), np.int64)
        for count in counts:
            colour = (2 * colour[:, None] + np.arange(count) % 2).ravel()
        for frame in range(self.frames):
            order, starts = cpu.sort_by_tile(self.positions[frame], sizes, counts, edge, self.width)
            self._order[frame] = order
            first = frame * self.samples
            begin = np.arange(0, self.samples, PIECE)
            end = np.minimum(begin + PIECE, self.samples)
            self._pieces.append(np.stack([begin, end], 1) + first)
            used = np.flatnonzero(np.diff(starts))
            used = used[np.argsort(-np.diff(starts)[used], kind="stable")]  # longest first
            groups = [used[colour[used] == c] for c in range(2 ** len(counts))]
            self._coloured.append([np.stack([starts[g], starts[g + 1]], 1) + first for g in groups])

    def _prepare(self, dtype: np.dtype[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Cells and window weights in the precision of the data, computed at the first call."""
        if dtype not in self._tables:
            nd = len(self.shape)
            total = self.frames * self.samples
            cells, weights = np.empty(total, np.int64), np.empty((total, nd, self.width), dtype)
            _, y, x = self._grid.layout
            order = self._order + np.arange(self.frames)[:, None] * self.samples
            cpu.tabulate(
                self.positions.reshape(total, nd), order.ravel(), np.array(self.grid_shape),
                np.array([y * x, x, 1])[3 - nd :], self.width, self._polynomials, cells, weights,
            )  # fmt: skip
            self._tables[dtype] = cells, weights.ravel()
        return self._tables[dtype]

    def memory(self, itemsize: int = 8) -> int:
        """Bytes a transform needs beside its input and output (itemsize: 8 for complex64)."""
        row = 16 + len(self.shape) * (8 + self.width * itemsize // 2)
        return self.frames * self.samples * row + self._grid.memory(itemsize)

    def forward(self, images: NDArray[Any]) -> NDArray[Any]:
        """Images (frame, coil, *shape) to samples (frame, coil, sample)."""
        coils = images.shape[1]
        real = _real(images.dtype)
        cells, weights = self._prepare(real)
        data = arena.empty((self.frames, coils, self.samples), images.dtype)
        source, target = images.view(real).ravel(), data.view(real).ravel()
        for block, jobs in self._launches(coils, images.dtype):
            grid = self._grid.empty(len(jobs), block, real)
            self._grid.from_image(source, grid, block, jobs)
            cpu.interpolator(block, *self._widths)(
                grid, self._grid.layout, cells, weights, self._order.ravel(),
                _tasks([self._pieces[f] for f in jobs[:, 0]]), jobs, self.samples, target,
                counter(), thread_count(),
            )  # fmt: skip
        return data

    def adjoint(self, data: NDArray[Any]) -> NDArray[Any]:
        """Samples (frame, coil, sample) to images (frame, coil, *shape)."""
        coils = data.shape[1]
        real = _real(data.dtype)
        cells, weights = self._prepare(real)
        images = arena.empty((self.frames, coils, *self.shape), data.dtype)
        source, target = data.view(real).ravel(), images.view(real).ravel()
        for block, jobs in self._launches(coils, data.dtype):
            grid = self._grid.empty(len(jobs), block, real)
            cpu.clear(grid, thread_count())
            for colour in range(2 ** len(self.shape)):
                cpu.spreader(block, *self._widths)(
                    grid, self._grid.layout, cells, weights, self._order.ravel(),
                    _tasks([self._coloured[f][colour] for f in jobs[:, 0]]), jobs, self.samples,
                    source, counter(), thread_count(),
                )  # fmt: skip
            self._grid.to_image(target, grid, block, jobs)
        return images

    def refined(self, tolerance: float) -> CpuPlan:
        """The same trajectory and image at another tolerance."""
        width, grid_shape = choose(tolerance, self.shape, self.samples)
        limit = self._grid.memory_limit
        return CpuPlan(self.positions, self.shape, grid_shape, width, limit)

    def convolution(self, psf: NDArray[Any]) -> Toeplitz:
        """The convolution with a point spread function (frame, *(2 n)) of `point_spread`."""
        return Toeplitz(psf, self.shape, self._grid.memory_limit)

    def own(self, array: NDArray[Any]) -> NDArray[Any]:
        """A host array where this plan computes."""
        return array

    def _launches(self, coils: int, dtype: np.dtype[Any]) -> list[tuple[int, NDArray[np.int64]]]:
        return self._grid.launches(self.frames, coils, self.samples, dtype.itemsize)


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32 if dtype == np.complex64 else np.float64)


def _tasks(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Rows (job, begin, end) of all jobs of a launch."""
    jobs = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.column_stack([jobs, np.concatenate(parts)]).astype(np.int64)
