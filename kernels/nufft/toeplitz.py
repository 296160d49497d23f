"""A^H W A as a convolution: two transforms of twice the image size, no samples.

Fessler et al., IEEE Trans Signal Process 53, 3393 (2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..threads import thread_count
from . import cpu
from .arena import arena
from .fft import fast_length, tables
from .grid import Grid, counter


class Toeplitz:
    """The convolution that equals ``A^H W A`` for a trajectory and weights, in 2D and 3D.

    Parameters
    ----------
    psf : (frame, *(2 n)) complex: ``sum_j w_j exp(2 pi i k_j . m) / N``, m from -n on each axis
    shape : image
    """

    def __init__(
        self, psf: NDArray[Any], shape: tuple[int, ...], memory_limit: int | None = None
    ) -> None:
        self.frames = len(psf)
        size = tuple(fast_length(2 * n) for n in shape)
        scale = [np.full(n, s**-0.5) for n, s in zip(shape, size, strict=True)]
        self._grid = Grid(shape, size, 0, scale, memory_limit)
        circular = np.zeros((self.frames, *size), psf.dtype)
        inner = tuple(slice(1, None) for _ in shape)  # -n itself is never a difference
        offsets = [np.arange(1 - n, n) % s for n, s in zip(shape, size, strict=True)]
        circular[np.ix_(np.arange(self.frames), *offsets)] = psf[:, *inner]
        spectrum = np.fft.fftn(circular, axes=range(1, psf.ndim)).real  # real: W is Hermitian
        missing = 3 - len(shape)
        padded = np.zeros((self.frames, *self._grid.size[:2], self._grid.layout[2]))
        padded[..., : size[-1]] = spectrum.reshape(self.frames, *(1,) * missing, *size)
        # the kernel runs along the last transformed axis: z in 3D, y in 2D
        self._axis = missing
        self._spectrum = padded
        self._spectra: dict[np.dtype[Any], NDArray[Any]] = {}

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Convolve images (frame, coil, *shape)."""
        result = arena.empty(images.shape, images.dtype)
        real = np.dtype(np.float32 if images.dtype == np.complex64 else np.float64)
        if real not in self._spectra:
            self._spectra[real] = self._spectrum.astype(real).ravel()
        source, target = images.view(real).ravel(), result.view(real).ravel()
        grid, axis = self._grid, self._axis
        n = grid.size[axis]
        for coils, jobs in grid.launches(self.frames, images.shape[1], 0, images.dtype.itemsize):
            work = grid.empty(len(jobs), coils, real)
            grid.rows(cpu.rows_from_image, source, work, coils, jobs)
            if axis == 0:
                grid.columns(work, coils, len(jobs), 1, inverse=False)
            cpu.convolve_columns(
                work, *self._lines(coils, len(jobs)), grid.image[axis], n, coils,
                self._spectra[real], np.ascontiguousarray(jobs[:, 0]),
                *tables(n, real.name), counter(), thread_count(),
            )  # fmt: skip
            if axis == 0:
                grid.columns(work, coils, len(jobs), 1, inverse=True)
            grid.rows(cpu.image_from_rows, target, work, coils, jobs)
        return result

    def _lines(self, coils: int, jobs: int) -> Any:
        return self._grid.lines(coils, jobs, self._axis)
