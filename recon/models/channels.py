"""Complex images as real channels, padding to a multiple, and precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def to_channels(x: Tensor) -> Tensor:
    """Complex ``(batch, channel, y, x)`` to real ``(batch, 2 channel, y, x)``, real parts first."""
    return torch.view_as_real(x.resolve_conj()).movedim(-1, 1).flatten(1, 2)


def from_channels(x: Tensor) -> Tensor:
    """Inverse of `to_channels`."""
    real, imaginary = (x if x.dtype == torch.float64 else x.float()).chunk(2, 1)  # no complex bf16
    return torch.complex(real, imaginary)


class Padding:
    """Zeros around the last axes up to a multiple, as evenly as can be, and back.

    Parameters
    ----------
    shape
        Sizes of the last axes.
    multiple
        What every padded size divides by.
    """

    def __init__(self, shape: tuple[int, ...], multiple: int) -> None:
        gaps = [-n % multiple for n in shape]
        self._before = [gap // 2 for gap in gaps]
        self._shape = shape
        sides = [(before, gap - before) for before, gap in zip(self._before, gaps, strict=True)]
        self._pads = [side for pair in reversed(sides) for side in pair]

    def pad(self, x: Tensor) -> Tensor:
        """Pad ``(..., *shape)``."""
        return functional.pad(x, self._pads) if any(self._pads) else x

    def crop(self, x: Tensor) -> Tensor:
        """Undo `pad`."""
        for axis, (before, size) in enumerate(zip(self._before, self._shape, strict=True)):
            x = x.narrow(axis - len(self._shape), before, size)
        return x


def in_own_precision(network: nn.Module, x: Tensor, *more: Tensor) -> Tensor:
    """``network(x, *more)`` in the precision of its weights; the answer is in that of x."""
    dtype = next(network.parameters()).dtype
    answer: Tensor = network(*(t.to(dtype) for t in (x, *more)))
    return answer.to(x.dtype)


def channels_last(x: Tensor) -> Tensor:
    """Channels innermost in memory, as the kernels of convolutions take them.

    Parameters
    ----------
    x
        ``(batch, channel, y, x)``.
    """
    return x.contiguous(memory_format=torch.channels_last)
