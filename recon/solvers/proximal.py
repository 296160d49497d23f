"""Proximal maps: ``prox(v, t) = argmin_x |x - v|^2 / 2 + t g(x)``."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import lengths


def soft_threshold(x: Tensor, threshold: float | Tensor) -> Tensor:
    """Shrink the magnitude of real or complex values: the proximal map of ``threshold |x|_1``."""
    return _shrink(x, x.abs(), threshold)


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
