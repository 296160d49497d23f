"""Proximal maps: ``prox(v, t) = argmin_x |x - v|^2 / 2 + t g(x)``."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import lengths


def soft_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    """Shrink the magnitude of real or complex values: the proximal map of ``threshold |x|_1``."""
    return _shrink(x, x.abs(), threshold)


def p_shrinkage(x: Tensor, threshold: float | Tensor, p: float) -> Tensor:
    """Shrink magnitudes m to ``m - threshold^(2 - p) m^(p - 1)`` where that is positive, else zero.

    Soft thresholding for p = 1; the smaller p, the less is taken off what is large. A proximal map
    of a penalty near ``threshold^(2 - p) |x|^p``, which is not convex for p < 1: one step of
    reweighted l1, with the weights ``(threshold / m)^(1 - p)``.

    References
    ----------
    R. Chartrand, Proc IEEE ISBI, 262 (2009).
    """
    magnitude = x.abs()
    part = threshold / magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny)
    return x * part.pow_(2 - p).neg_().add_(1).clamp_min_(0)


def group_soft_threshold(
    x: Tensor, threshold: float | Tensor, dim: int | tuple[int, ...]
) -> Tensor:
    """Shrink the length of the vectors along `dim`: the map of ``threshold sum |x|_2``.

    Isotropic total variation is the sum of these lengths over a gradient's axes; joint sparsity
    over coils, maps or echoes.
    """
    return _shrink(x, lengths(x, dim), threshold)


def _shrink(x: Tensor, length: Tensor, threshold: float | Tensor) -> Tensor:
    """Scale x by ``max(1 - threshold / length, 0)``; zero length stays zero."""
    shorter = (length - threshold).clamp_min(0)
    return x * shorter.div_(length.clamp_min(torch.finfo(length.dtype).tiny))


def non_negative(x: Tensor) -> Tensor:
    """Project onto values >= 0 (the real part of complex values)."""
    return x.real.clamp_min(0).to(x.dtype) if x.is_complex() else x.clamp_min(0)
