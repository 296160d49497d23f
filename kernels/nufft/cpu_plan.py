"""The CPU backend: tables of a trajectory, and transforms block by block of coils and frames."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..threads import thread_count
from . import cpu
from .fft import LANES, tables
from .window import best_window

EDGE = 16  # cells of a tile edge; at least the halo, so that tiles of one colour never touch
PIECE = 1024  # samples of an interpolation task
CACHE = 24 << 20  # bytes of grid worked on at once: about a third-level cache


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
        self.shape, self.grid_shape, self.width = shape, grid_shape, width
        missing = 3 - nd
        self._image = (1,) * missing + shape
        self._grid = (1,) * missing + grid_shape
        self._widths = (1,) * missing + (width,) * nd
        halos = [w - 1 for w in self._widths]
        z, y, x = (n + h for n, h in zip(self._grid, halos, strict=True))
        self._layout = np.array([z, y, -(-x // LANES) * cpu.LANES])
        self._limit = memory_limit or _free_memory() // 2
        windows = [best_window(width, k / n)[0] for k, n in zip(grid_shape, shape, strict=True)]
        self._polynomials = np.stack([w.polynomials() for w in windows])
        self._scale = [
            1 / w.transform((np.arange(n) - n // 2) / k) / np.sqrt(n)
            for w, n, k in zip(windows, shape, grid_shape, strict=True)
        ]
        self._sort(positions)
        self._positions = positions
        self._tables: dict[np.dtype[Any], Any] = {}
        self._spare: list[NDArray[Any]] = []

    def _sort(self, positions: NDArray[np.float64]) -> None:
        """Order samples by tile; list interpolation tasks and, by colour, spreading tasks."""
        sizes = np.array(self.grid_shape)
        counts = -(-sizes // EDGE)
        self._order = np.empty((self.frames, self.samples), np.int64)
        pieces, coloured = [], []
        colour = np.zeros((1,), np.int64)
        for count in counts:
            colour = (2 * colour[:, None] + np.arange(count) % 2).ravel()
        for frame in range(self.frames):
            order, starts = cpu.sort_by_tile(positions[frame], sizes, counts, EDGE, self.width)
            self._order[frame] = order
            first = frame * self.samples
            begin = np.arange(0, self.samples, PIECE)
            pieces.append(np.stack([begin, np.minimum(begin + PIECE, self.samples)], 1) + first)
            used = np.flatnonzero(np.diff(starts))
            used = used[np.argsort(-np.diff(starts)[used], kind="stable")]  # longest first
            groups = [used[colour[used] == c] for c in range(2 ** len(counts))]
            coloured.append([np.stack([starts[g], starts[g + 1]], 1) + first for g in groups])
        self._pieces, self._coloured = pieces, coloured

    def _prepare(self, dtype: np.dtype[Any]) -> Any:
        """Window tables in the precision of the data, built at the first call."""
        if dtype not in self._tables:
            nd = len(self.shape)
            total = self.frames * self.samples
            cells, weights = np.empty(total, np.int64), np.empty((total, nd, self.width), dtype)
            pitches = np.array([self._layout[1] * self._layout[2], self._layout[2], 1])[3 - nd :]
            order = self._order + np.arange(self.frames)[:, None] * self.samples
            cpu.tabulate(
                self._positions.reshape(total, nd), order.ravel(), np.array(self.grid_shape),
                pitches, self.width, self._polynomials, cells, weights,
            )  # fmt: skip
            scale = [np.ones(1)] * (3 - nd) + self._scale
            outer = np.multiply.outer(scale[0], scale[1]).ravel().astype(dtype)
            self._tables[dtype] = cells, weights.ravel(), outer, scale[2].astype(dtype)
        return self._tables[dtype]

    def memory(self, itemsize: int = 8) -> int:
        """Bytes a transform needs beside its input and output (itemsize: 8 for complex64)."""
        tables = (
            self.frames * self.samples * (16 + len(self.shape) * (8 + self.width * itemsize // 2))
        )
        block = self._block(8, itemsize)
        return int(tables + self._job_bytes(block, itemsize) * self._at_once(block, itemsize))

    def _job_bytes(self, coils: int, itemsize: int) -> int:
        return int(np.prod(self._layout)) * coils * itemsize

    def _at_once(self, coils: int, itemsize: int) -> int:
        return max(1, min(CACHE, self._limit) // self._job_bytes(coils, itemsize))

    def _block(self, coils: int, itemsize: int) -> int:
        """Coils of one job: up to eight (four in double precision), fewer if memory is short."""
        most = 8 if itemsize == 8 else 4
        while most > 1 and self._job_bytes(most, itemsize) > self._limit:
            most //= 2
        if self._job_bytes(most, itemsize) > self._limit:
            raise MemoryError(
                f"the grid {self.grid_shape} needs {self._job_bytes(1, itemsize):,} bytes for one "
                f"coil, memory_limit is {self._limit:,}"
            )
        block = 1
        while block < min(coils, most):
            block *= 2
        return min(block, most)

    def _launches(self, extra: int, itemsize: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Split (frame, coil) into launches: coils a job, and rows (frame, image, data, coils)."""
        points = int(np.prod(self.shape))
        blocks: dict[int, list[tuple[int, int]]] = {}
        done = 0
        while done < extra:
            block = self._block(extra - done, itemsize)
            blocks.setdefault(block, []).append((done, min(block, extra - done)))
            done += block
        launches = []
        for block, parts in blocks.items():
            jobs = [
                (f, (f * extra + c) * points, (f * extra + c) * self.samples, valid)
                for f in range(self.frames)
                for c, valid in parts
            ]
            step = self._at_once(block, itemsize)
            launches += [(block, np.array(jobs[i : i + step])) for i in range(0, len(jobs), step)]
        return launches

    def forward(self, images: NDArray[Any]) -> NDArray[Any]:
        """Images (frame, coil, *shape) to samples (frame, coil, sample)."""
        extra = images.shape[1]
        real = np.dtype(np.float32 if images.dtype == np.complex64 else np.float64)
        cells, weights, _, _ = self._prepare(real)
        data = np.empty((self.frames, extra, self.samples), images.dtype)
        source, target = images.view(real).ravel(), data.view(real).ravel()
        for coils, jobs in self._launches(extra, images.dtype.itemsize):
            grid = self._borrow(len(jobs) * self._job_bytes(coils, 8) // 4, real)
            self._rows(cpu.rows_from_image, source, grid, coils, jobs)
            for axis in (1, 0):
                self._columns(grid, coils, len(jobs), axis, inverse=False)
            tasks = _tasks([self._pieces[f] for f in jobs[:, 0]])
            cpu.interpolator(coils, *self._widths)(
                grid, self._layout, cells, weights, self._order.ravel(), tasks, jobs,
                self.samples, target, _counter(), thread_count(),
            )  # fmt: skip
            self._spare.append(grid)
        return data

    def adjoint(self, data: NDArray[Any]) -> NDArray[Any]:
        """Samples (frame, coil, sample) to images (frame, coil, *shape)."""
        extra = data.shape[1]
        real = np.dtype(np.float32 if data.dtype == np.complex64 else np.float64)
        cells, weights, _, _ = self._prepare(real)
        images = np.empty((self.frames, extra, *self.shape), data.dtype)
        source, target = data.view(real).ravel(), images.view(real).ravel()
        for coils, jobs in self._launches(extra, data.dtype.itemsize):
            grid = self._borrow(len(jobs) * self._job_bytes(coils, 8) // 4, real)
            cpu.clear(grid, thread_count())
            kernel = cpu.spreader(coils, *self._widths)
            for colour in range(2 ** len(self.shape)):
                kernel(
                    grid, self._layout, cells, weights, self._order.ravel(),
                    _tasks([self._coloured[f][colour] for f in jobs[:, 0]]), jobs,
                    self.samples, source, _counter(), thread_count(),
                )  # fmt: skip
            for axis in (0, 1):
                self._columns(grid, coils, len(jobs), axis, inverse=True)
            self._rows(cpu.image_from_rows, target, grid, coils, jobs)
            self._spare.append(grid)
        return images

    def _rows(self, kernel: Any, image: Any, grid: Any, coils: int, jobs: Any) -> None:
        _, _, outer, dx = self._prepare(grid.dtype)
        n = self._grid[2]
        shape = np.array([*self._image, n])
        kernel(
            image, grid, self._layout, shape, self.width - 1, coils, jobs, outer, dx,
            *tables(n, grid.dtype.name), _counter(), thread_count(),
        )  # fmt: skip

    def _columns(self, grid: Any, coils: int, jobs: int, axis: int, *, inverse: bool) -> None:
        n = self._grid[axis]
        if 3 - len(self.shape) > axis:
            return
        z, y, x = (int(size) for size in self._layout)
        plane, line = y * x * coils, x * coils
        outer, stride, inner = (1, plane, plane) if axis == 0 else (self._image[0], line, line)
        cpu.columns(
            grid, np.array([jobs, outer]), np.array([z * plane, plane, stride]), inner,
            self._image[axis], n, self.width - 1, inverse,
            *tables(n, grid.dtype.name), _counter(), thread_count(),
        )  # fmt: skip

    def _borrow(self, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A working grid: one that an earlier call left, so that its pages are mapped already."""
        try:
            grid = self._spare.pop()
        except IndexError:
            return np.empty(size, dtype)
        fits = grid.dtype == dtype and grid.base is None and grid.size >= size
        return grid[:size] if fits else np.empty(size, dtype)


def _tasks(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Rows (job, begin, end) of all jobs of a launch."""
    jobs = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.column_stack([jobs, np.concatenate(parts)]).astype(np.int64)


def _counter() -> NDArray[np.int64]:
    return np.zeros(1, np.int64)


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
