"""Arrays at the door: NumPy or torch in, checked torch tensors inside."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def as_tensor(data: ArrayLike | Tensor) -> Tensor:
    """View `data` as a torch tensor.

    Copies only what torch cannot hold: foreign byte order, negative strides, read-only memory,
    unsigned 16- and 32-bit integers.
    """
    if isinstance(data, Tensor):
        return data
    array = np.asarray(data)
    widened = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64}
    dtype = array.dtype.newbyteorder("=")
    array = array.astype(widened.get(dtype, dtype), copy=False)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def lengths(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Lengths of the real or complex vectors along `dim`, which stays with size one.

    `torch.linalg.vector_norm` is far slower along any axis but the last; its derivative exists at
    zero, though, and is used where one is asked for.
    """
    if x.requires_grad and torch.is_grad_enabled():
        norm: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
        return norm
    squares = x.abs().square_() if x.is_complex() else x.square()
    return squares.sum(dim=dim, keepdim=True).sqrt_()


def require_finite(name: str, data: Tensor) -> None:
    """Raise a `ValueError` that counts the NaN and infinite values and names the first place."""
    if bool(torch.isfinite(data.sum())):
        return  # one pass is enough for good data: NaN and infinity survive a sum
    bad = ~torch.isfinite(data)
    if bool(bad.any()):  # a sum of large finite values may overflow
        place = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{name} has {int(bad.sum())} values that are NaN or infinite, first at {place}"
        )


def item_scale(x: Tensor, ndim: int, quantile: float = 0.99) -> Tensor:
    """Robust maximum of each image, ``(*batch, 1, ...)``: a quantile of its magnitude, above zero.

    Parameters
    ----------
    x
        ``(*batch, *space)``, real or complex.
    ndim
        Axes of space.
    """
    magnitude = x.detach().abs().flatten(-ndim)
    rank = max(1, round(quantile * magnitude.shape[-1]))
    value = magnitude.kthvalue(rank, -1).values
    # mostly air: the quantile may be zero where the maximum is not
    value = torch.where(value > 0, value, magnitude.amax(-1))
    value = torch.where(value > 0, value, torch.ones_like(value))
    return value.reshape(*value.shape, *[1] * ndim)


NORMAL_QUARTILE = 0.6745  # median of |x| of a standard normal variable


def difference_noise(x: Tensor) -> Tensor:
    """Standard deviation of the noise in each item of ``(item, ..., column)``, ``(item,)``.

    By the median second difference along the columns, which edges hardly move.
    """
    x = x.detach()
    detail = x[..., 1:-1] - (x[..., :-2] + x[..., 2:]) / 2
    return detail.abs().flatten(1).median(1).values / (NORMAL_QUARTILE * math.sqrt(1.5))
