"""Cropping and zero-padding about the centre."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

from torch import Tensor


def resize(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Crop or zero-pad the last ``len(shape)`` axes so that index ``n // 2`` stays the centre.

    Parameters
    ----------
    x
        ``(*batch, *old_shape)``.
    shape
        New sizes of the last axes.
    """
    ndim = len(shape)
    if x.ndim < ndim or min(shape, default=1) < 1:
        raise ValueError(f"cannot resize {tuple(x.shape)} to {tuple(shape)}")
    old = x.shape[x.ndim - ndim :]
    if tuple(old) == tuple(shape):
        return x
    source: list[EllipsisType | slice] = [...]
    target: list[EllipsisType | slice] = [...]
    for n, m in zip(old, shape, strict=True):
        start, size = n // 2 - m // 2, min(n, m)
        source.append(slice(max(start, 0), max(start, 0) + size))
        target.append(slice(max(-start, 0), max(-start, 0) + size))
    if all(m <= n for n, m in zip(old, shape, strict=True)):
        return x[tuple(source)]
    out = x.new_zeros((*x.shape[: x.ndim - ndim], *shape))
    out[tuple(target)] = x[tuple(source)]
    return out
