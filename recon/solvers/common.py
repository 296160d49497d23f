"""What the solvers share: per-item inner products and the callback."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Callback = Callable[[int, Tensor, float], None]


def item_dot(a: Tensor, b: Tensor, ndim: int) -> Tensor:
    """Real part of <a, b> over the last `ndim` axes, kept as axes of length 1."""
    if a.is_complex():
        product = (torch.view_as_real(a) * torch.view_as_real(b)).sum(-1)
        return product.sum(tuple(range(-ndim, 0)), keepdim=True)
    return (a * b).sum(tuple(range(-ndim, 0)), keepdim=True)
