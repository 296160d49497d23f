"""Proximal maps of nuclear norms: series of low rank, locally or as a whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def singular_value_threshold(x: Tensor, threshold: float) -> Tensor:
    """Shrink the singular values of matrices ``(*batch, n, m)``: the map of the nuclear norm.

    By the eigenvectors of the smaller Gram matrix: cheap where frames or pixels are few.
    """
    if x.shape[-2] > x.shape[-1]:
        return singular_value_threshold(x.mT, threshold).mT
    values, vectors = torch.linalg.eigh(x @ x.mH)
    singular = values.clamp_min(0).sqrt()
    tiny = torch.finfo(singular.dtype).tiny
    kept = (singular - threshold).clamp_min(0) / singular.clamp_min(tiny)
    shrunk: Tensor = (vectors * kept.unsqueeze(-2)) @ (vectors.mH @ x)
    return shrunk


class LocallyLowRankProx:
    """``prox(v, t)`` of ``weight sum_blocks |block|_*`` over blocks of a series, at random shifts.

    A block is a matrix (frame, pixel). The threshold is measured by what noise does: weight times
    ``sqrt(frames) + sqrt(pixels)``, the largest singular value of noise of unit variance, so that
    the weight is a noise level whatever the block.

    Parameters
    ----------
    weight
        In units of the series.
    block
        Width of the blocks in pixels; None takes the whole image as one.
    seed
        Of the shifts.

    References
    ----------
    T. Zhang, J. M. Pauly, I. R. Levesque, Magn Reson Med 73, 655 (2015).
    """

    def __init__(self, weight: float, *, block: int | None = 8, seed: int = 0) -> None:
        if block is not None and block < 1:
            raise ValueError(f"block must be 1 pixel or more, got {block}")
        self.weight, self.block = weight, block
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, v: Tensor, t: float) -> Tensor:
        """Apply the map to a series ``(frame, [z,] y, x)``."""
        frames, space = v.shape[0], v.shape[1:]
        if self.block is None:
            pixels = math.prod(space)
            threshold = t * self.weight * (frames**0.5 + pixels**0.5)
            return singular_value_threshold(v.reshape(frames, -1), threshold).reshape(v.shape)
        widths = [min(self.block, n) for n in space]
        axes = tuple(range(1, v.ndim))
        shift = [int(torch.randint(w, (), generator=self._generator)) for w in widths]
        counts = [-(-n // w) for n, w in zip(space, widths, strict=True)]
        padded = v.new_zeros(frames, *(n * w for n, w in zip(counts, widths, strict=True)))
        inner = (slice(None), *(slice(n) for n in space))
        padded[inner] = torch.roll(v, shift, axes)
        cut = (k for pair in zip(counts, widths, strict=True) for k in pair)
        split = padded.reshape(frames, *cut)
        d = len(space)
        order = (*range(1, 2 * d, 2), 0, *range(2, 2 * d + 1, 2))  # blocks, frame, pixels
        blocks = split.permute(order).reshape(-1, frames, math.prod(widths))
        threshold = t * self.weight * (frames**0.5 + math.prod(widths) ** 0.5)
        shrunk = singular_value_threshold(blocks, threshold).reshape(*counts, frames, *widths)
        back = (d, *(k for i in range(d) for k in (i, d + 1 + i)))
        result = shrunk.permute(back).reshape(padded.shape)[inner]
        return torch.roll(result, [-s for s in shift], axes)
