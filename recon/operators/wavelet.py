"""Orthonormal Daubechies wavelets."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import LinearOperator, Shape, linear_map, require_trailing

Corner = tuple[EllipsisType | slice, ...]


class Wavelet(LinearOperator):
    """Orthonormal periodised wavelet transform over the last ``len(shape)`` axes.

    ``(*batch, *shape)`` to coefficients ``(*batch, *range_shape)``, real or complex. Axes that
    2^levels does not divide are padded with zeros, so ``W.adjoint(W(x)) == x`` always holds.
    Coefficients lie in Mallat's order: `approximation` and `finest` (diagonal detail) index them.
    Each level is one small orthonormal matrix an axis, which at image sizes outruns a filter bank.

    Parameters
    ----------
    shape
        Axes acted on.
    wavelet
        Any orthogonal wavelet of PyWavelets.
    levels
        Number of levels, for all axes or one for each. Default: as many as leave 12 samples or
        more, at most 5.

    References
    ----------
    I. Daubechies, Ten Lectures on Wavelets (1992); S. Mallat, IEEE PAMI 11, 674 (1989).
    """

    def __init__(
        self, shape: Shape, wavelet: str = "db4", levels: int | Sequence[int] | None = None
    ) -> None:
        import pywt

        filters = pywt.Wavelet(wavelet)
        if not filters.orthogonal:
            raise ValueError(f"wavelet {wavelet!r} is not orthogonal: use dbN, symN or coifN")
        if levels is None:
            levels = [min(5, max(0, (n // 12).bit_length() - 1)) for n in shape]
        per_axis = (levels,) * len(shape) if isinstance(levels, int) else tuple(levels)
        if len(per_axis) != len(shape) or min(per_axis) < 0:
            raise ValueError(f"levels must be one or {len(shape)} counts >= 0, got {levels}")
        padded = tuple(-(-n // 2**k) * 2**k for n, k in zip(shape, per_axis, strict=True))
        super().__init__(shape, padded)
        self.levels = per_axis
        sizes = list(zip(padded, per_axis, strict=True))
        self.approximation_shape = tuple(n >> k for n, k in sizes)
        self.approximation: Corner = _corner(self.approximation_shape)
        self.finest: Corner = (..., *(slice(n // 2 if k else 0, None) for n, k in sizes))
        halves = {n >> k for n, up in sizes for k in range(up)}
        self._matrices = {n: _analysis_matrix(filters.rec_lo, n) for n in halves}
        self._cast: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, *shape)`` to coefficients ``(*batch, *range_shape)``."""
        require_trailing("image", x, self.domain_shape)
        return linear_map(x, self._analyse, self._synthesise)

    def adjoint(self, y: Tensor) -> Tensor:
        """Coefficients to the image; the inverse on the range of the transform."""
        require_trailing("coefficients", y, self.range_shape)
        return linear_map(y, self._synthesise, self._analyse)

    def normal(self, x: Tensor) -> Tensor:
        """Return x itself: the transform is an isometry."""
        require_trailing("image", x, self.domain_shape)
        return x.clone()

    def _analyse(self, x: Tensor) -> Tensor:
        ndim = len(self.domain_shape)
        planes = _planes(x)
        out = planes.new_zeros((*planes.shape[: planes.ndim - ndim], *self.range_shape))
        out[_corner(self.domain_shape)] = planes
        for level in range(max(self.levels)):
            block = out[self._block(level)]
            block.copy_(self._one_level(block, level, transpose=False))
        return _joined(out, x)

    def _synthesise(self, y: Tensor) -> Tensor:
        out = _planes(y)
        for level in reversed(range(max(self.levels))):
            block = out[self._block(level)]
            block.copy_(self._one_level(block, level, transpose=True))
        return _joined(out[_corner(self.domain_shape)], y)

    def _block(self, level: int) -> Corner:
        """Return the corner that holds the approximation after `level` levels."""
        sizes = zip(self.range_shape, self.levels, strict=True)
        return _corner(tuple(n >> min(level, k) for n, k in sizes))

    def _one_level(self, block: Tensor, level: int, *, transpose: bool) -> Tensor:
        ndim = len(self.domain_shape)
        for axis in range(ndim):
            if level >= self.levels[axis]:
                continue
            matrix = self._matrix(block.shape[axis - ndim], block)
            matrix = matrix.mT if transpose else matrix
            if axis == ndim - 1:
                block = block @ matrix.mT
            else:
                rows = block.reshape(*block.shape[: block.ndim - ndim + axis + 1], -1)
                block = (matrix @ rows).reshape(block.shape)
        return block

    def _matrix(self, n: int, like: Tensor) -> Tensor:
        key = (n, like.dtype, like.device)
        if key not in self._cast:
            self._cast[key] = torch.from_numpy(self._matrices[n]).to(like.device, like.dtype)
        return self._cast[key]


def _analysis_matrix(low: Sequence[float], n: int) -> NDArray[np.float64]:
    """One level of a periodised orthonormal filter bank: low-pass rows, then high-pass rows.

    Phase as in PyWavelets' "periodization", where each coefficient lies over its samples.
    """
    h = np.asarray(low)
    g = h[::-1] * (-1.0) ** np.arange(len(h))
    rows = np.arange(n // 2)[:, None]
    columns = (2 * rows + np.arange(len(h)) + 1 - len(h) // 2) % n
    matrix = np.zeros((n, n))
    np.add.at(matrix, (rows, columns), h)
    np.add.at(matrix, (rows + n // 2, columns), g)
    return matrix


def _corner(shape: Shape) -> Corner:
    return (..., *(slice(n) for n in shape))


def _planes(x: Tensor) -> Tensor:
    """Real tensor as a fresh copy; complex as two real planes on a new first axis."""
    return torch.stack((x.real, x.imag)) if x.is_complex() else x.clone()


def _joined(planes: Tensor, like: Tensor) -> Tensor:
    return torch.complex(planes[0], planes[1]) if like.is_complex() else planes.contiguous()
