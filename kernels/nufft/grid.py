"""Zero-padded grids of blocks of coils, their pruned transforms, and how much memory they take."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arena import arena
from ..threads import thread_count
from . import lines
from .fft import LANES, tables

CACHE = 4 << 20  # bytes of grid worked on at once, so that it stays in cache between passes


class Grid:
    """The passes between images ``(frame, coil, *shape)`` and grids of one block of coils a job.

    Parameters
    ----------
    shape, grid_shape : of the image and of the padded grid
    halo : cells behind the end of each axis that repeat its beginning
    scale : a factor for each position of each image axis, applied both ways
    memory_limit : bytes that the grids worked on at once may take
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        grid_shape: tuple[int, ...],
        halo: int,
        scale: list[NDArray[np.float64]],
        memory_limit: int | None,
    ) -> None:
        missing = 3 - len(shape)
        self.halo, self.first_axis = halo, missing
        self.image, self.size = (1,) * missing + shape, (1,) * missing + grid_shape
        z, y, x = (n + halo * (axis >= missing) for axis, n in enumerate(self.size))
        # Odd lengths: a line that is a multiple of 4 KiB behind another has its place in the cache.
        self.layout = np.array([z, y | 1, (-(-x // LANES) | 1) * LANES])
        self._scale = [np.ones(1)] * missing + scale
        self._scales: dict[np.dtype[Any], tuple[NDArray[Any], NDArray[Any]]] = {}
        self.memory_limit = memory_limit or _free_memory() // 2

    def job_bytes(self, coils: int, itemsize: int) -> int:
        """Bytes of the grid of one job."""
        return int(np.prod(self.layout)) * coils * itemsize

    def memory(self, itemsize: int) -> int:
        """Bytes of the grids worked on at once, for many coils."""
        block = self._block(8, itemsize)
        return self.job_bytes(block, itemsize) * self._at_once(block, itemsize)

    def _at_once(self, coils: int, itemsize: int) -> int:
        return max(1, min(CACHE, self.memory_limit) // self.job_bytes(coils, itemsize))

    def _block(self, coils: int, itemsize: int) -> int:
        """Coils of one job: up to eight (four in double precision), fewer if memory is short."""
        most = 8 if itemsize == 8 else 4
        while most > 1 and self.job_bytes(most, itemsize) > self.memory_limit:
            most //= 2
        if self.job_bytes(most, itemsize) > self.memory_limit:
            raise MemoryError(
                f"the grid {self.size[self.first_axis :]} needs {self.job_bytes(1, itemsize):,} "
                f"bytes for one coil, memory_limit is {self.memory_limit:,}"
            )
        block = 1
        while block < min(coils, most):
            block *= 2
        return min(block, most)

    def launches(
        self, frames: int, coils: int, samples: int, itemsize: int
    ) -> list[tuple[int, NDArray[np.int64]]]:
        """Split frames and coils into launches: coils a job, rows (frame, image, data, coils).

        image and data are where a job begins in the flat arrays, counted in complex numbers.
        """
        points = int(np.prod(self.image))
        blocks: dict[int, list[tuple[int, int]]] = {}
        done = 0
        while done < coils:
            block = self._block(coils - done, itemsize)
            blocks.setdefault(block, []).append((done, min(block, coils - done)))
            done += block
        launches = []
        for block, parts in blocks.items():
            jobs = [
                (f, (f * coils + c) * points, (f * coils + c) * samples, valid)
                for f in range(frames)
                for c, valid in parts
            ]
            step = self._at_once(block, itemsize)
            launches += [(block, np.array(jobs[i : i + step])) for i in range(0, len(jobs), step)]
        return launches

    def empty(self, jobs: int, coils: int, dtype: Any) -> NDArray[Any]:
        """Memory for the grids of a launch, flat, real and imaginary parts in turn."""
        return arena.empty((jobs * int(np.prod(self.layout)) * coils * 2,), dtype)

    def from_image(self, image: Any, grid: Any, coils: int, jobs: Any) -> None:
        """Pad and transform images (flat, real) into grids."""
        self.rows(lines.rows_from_image, image, grid, coils, jobs)
        for axis in range(1, self.first_axis - 1, -1):
            self.columns(grid, coils, len(jobs), axis, inverse=False)

    def to_image(self, image: Any, grid: Any, coils: int, jobs: Any) -> None:
        """Transpose of `from_image`."""
        for axis in range(self.first_axis, 2):
            self.columns(grid, coils, len(jobs), axis, inverse=True)
        self.rows(lines.image_from_rows, image, grid, coils, jobs)

    def rows(self, kernel: Any, image: Any, grid: Any, coils: int, jobs: Any) -> None:
        """Run the pass between image lines and grid lines along x."""
        if grid.dtype not in self._scales:
            outer = np.multiply.outer(self._scale[0], self._scale[1]).ravel()
            self._scales[grid.dtype] = outer.astype(grid.dtype), self._scale[2].astype(grid.dtype)
        kernel(
            image, grid, self.layout, np.array([*self.image, self.size[2]]), self.halo, coils,
            jobs, *self._scales[grid.dtype], *tables(self.size[2], grid.dtype.name), counter(),
            thread_count(),
        )  # fmt: skip

    def columns(self, grid: Any, coils: int, jobs: int, axis: int, *, inverse: bool) -> None:
        """Transform along y (1) or z (0) in place."""
        lines.columns(
            grid, *self.lines(coils, jobs, axis), self.image[axis], self.size[axis], self.halo,
            inverse, *tables(self.size[axis], grid.dtype.name), counter(), thread_count(),
        )  # fmt: skip

    def lines(
        self, coils: int, jobs: int, axis: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Where the lines along an axis lie: outer counts, strides, neighbouring lines."""
        z, y, x = (int(size) for size in self.layout)
        plane, line = y * x * coils, x * coils
        outer, stride, inner = (1, plane, plane) if axis == 0 else (self.image[0], line, line)
        return np.array([jobs, outer]), np.array([z * plane, plane, stride]), inner


def counter() -> NDArray[np.int64]:
    """A fresh task counter for the threads of one launch."""
    return np.zeros(1, np.int64)


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
