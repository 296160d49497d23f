"""A^H W A as a convolution: two transforms of twice the image size, no samples.

Fessler et al., IEEE Trans Signal Process 53, 3393 (2005).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..arena import arena
from ..threads import thread_count
from . import lines
from .fft import fast_length, tables
from .grid import Grid, counter


def pairs(count: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the upper triangle of a matrix."""
    rows, columns = np.triu_indices(count)
    return rows.tolist(), columns.tolist()


def point_spread(transform: Any, weights: Any) -> Any:
    """``sum_j w_j exp(2 pi i k_j . m) / N`` for m of twice the image's size.

    On each axis m runs from 0 to n - 1, then from 1 - n to -1 behind a zero, as circular
    convolution wants it. The range is cut into blocks of the image's size: the centre of each is a
    phase of the weights, and no grid of twice the size is needed.

    Parameters
    ----------
    transform : CpuPlan or CudaPlan
    weights : (frame or 1, count, sample) complex

    Returns
    -------
    (frame, count, *(2 n)) complex
    """
    shape = transform.shape
    double = (transform.frames, weights.shape[1], *(2 * n for n in shape))
    host = isinstance(weights, np.ndarray)
    psf = np.empty(double, weights.dtype) if host else weights.new_empty(double)
    for block in itertools.product((0, 1), repeat=len(shape)):
        centre = [n // 2 - n * second for n, second in zip(shape, block, strict=True)]
        phase = transform.own(np.exp(2j * np.pi * (transform.positions @ centre))[:, None])
        phase = phase.astype(weights.dtype) if host else phase.to(weights.dtype)
        inner: Any = [slice(b * n, (b + 1) * n) for n, b in zip(shape, block, strict=True)]
        psf[..., *inner] = transform.adjoint(weights * phase)
    for axis, n in enumerate(shape):
        rest: list[Any] = [slice(None)] * (len(shape) - 1 - axis)
        psf[..., n, *rest] = 0  # -n is never a difference
    psf *= float(np.prod(shape)) ** -0.5
    return psf


class Toeplitz:
    """The convolution that equals ``A^H W A`` for a trajectory and weights, in 2D and 3D.

    Parameters
    ----------
    psf : (frame, *(2 n)) complex of `point_spread`; it is overwritten
    shape : image
    memory_limit : bytes the working grid may take
    """

    def __init__(self, psf: NDArray[Any], shape: tuple[int, ...], memory_limit: int | None) -> None:
        self.frames = len(psf)
        size = tuple(fast_length(2 * n) for n in shape)
        scale = [np.full(n, s**-0.5) for n, s in zip(shape, size, strict=True)]
        self._grid = Grid(shape, size, 0, scale, memory_limit)
        if size != psf.shape[1:]:
            psf = _lengthened(psf, shape, size)
        axes = tuple(range(1, psf.ndim))
        psf = scipy.fft.fftn(psf, axes=axes, overwrite_x=True, workers=thread_count())
        spectrum = psf.real  # without an imaginary part: W is Hermitian
        missing = 3 - len(shape)
        z, y, x = self._grid.size[0], self._grid.size[1], self._grid.layout[2]
        y = y if missing else self._grid.layout[1]
        padded = np.zeros((self.frames, z, y, x), spectrum.dtype)
        padded[:, :, : self._grid.size[1], : size[-1]] = spectrum.reshape(
            self.frames, *self._grid.size
        )
        # the kernel runs along the last transformed axis, z in 3D and y in 2D, which stays unpadded
        self._axis = missing
        self._grid.layout[missing] = shape[0]
        self._spectrum = padded
        self._spectra: dict[np.dtype[Any], NDArray[Any]] = {}

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Convolve images (frame, coil, *shape)."""
        result = arena.empty(images.shape, images.dtype)
        real = np.dtype(np.float32 if images.dtype == np.complex64 else np.float64)
        if real not in self._spectra:
            self._spectra[real] = self._spectrum.astype(real, copy=False).ravel()
        source, target = images.view(real).ravel(), result.view(real).ravel()
        grid, axis = self._grid, self._axis
        n = grid.size[axis]
        for coils, jobs in grid.launches(self.frames, images.shape[1], 0, images.dtype.itemsize):
            work = grid.empty(len(jobs), coils, real)
            grid.rows(lines.rows_from_image, source, work, coils, jobs)
            if axis == 0:
                grid.columns(work, coils, len(jobs), 1, inverse=False)
            lines.convolve_columns(
                work, *self._lines(coils, len(jobs)), grid.image[axis], n, coils,
                self._spectra[real], np.ascontiguousarray(jobs[:, 0]),
                *tables(n, real.name), counter(), thread_count(),
            )  # fmt: skip
            if axis == 0:
                grid.columns(work, coils, len(jobs), 1, inverse=True)
            grid.rows(lines.image_from_rows, target, work, coils, jobs)
        return result

    def _lines(self, coils: int, jobs: int) -> Any:
        return self._grid.lines(coils, jobs, self._axis)


def _lengthened(psf: NDArray[Any], shape: tuple[int, ...], size: tuple[int, ...]) -> NDArray[Any]:
    """A circular function of length 2 n, zeros between its halves up to a faster length."""
    result = np.zeros((len(psf), *size), psf.dtype)
    for block in itertools.product((0, 1), repeat=len(shape)):
        inner = [
            slice(-n, None) if second else slice(n) for n, second in zip(shape, block, strict=True)
        ]
        result[:, *inner] = psf[:, *inner]
    return result
