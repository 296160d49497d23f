"""Some of the measured samples held back, to judge an image by what it did not see."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import LinearOperator
from ..operators.diagonal import Diagonal


def held_back(
    measured: Tensor, part: float, generator: torch.Generator, *, keep: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Split measured samples at random: those that stay, those held back.

    Parameters
    ----------
    measured
        Bool, any shape: which samples there are.
    part
        Of the samples, to hold back, in (0, 1).
    generator
        Draws them.
    keep
        Samples that always stay, such as the centre of k-space; shaped alike.

    Raises
    ------
    ValueError
        A part out of range, or so few samples that one side is empty.
    """
    if not 0 < part < 1:
        raise ValueError(f"the part held back must lie between 0 and 1, got {part}")
    free = measured if keep is None else measured & ~keep
    drawn = torch.rand(measured.shape, generator=generator).to(measured.device) < part
    held = free & drawn
    stay = measured & ~held
    if not bool(held.any()) or not bool(stay.any()):
        raise ValueError(f"{int(measured.sum())} samples are too few to hold some back")
    return stay, held


def central(mask: Tensor, reach: int) -> Tensor:
    """Bool, shaped as a mask ``(..., ky, kx)``: its samples within `reach` of the middle."""
    centre = torch.zeros_like(mask, dtype=torch.bool)
    ky, kx = (n // 2 for n in mask.shape[-2:])
    centre[..., ky - reach : ky + reach, kx - reach : kx + reach] = True
    return centre


def restricted(A: LinearOperator, samples: Tensor) -> LinearOperator:
    """A with the rest of its data left out (zero), for bool `samples` that broadcast to them."""
    mask = samples.expand(A.range_shape).to(A.dtype.to_real()).contiguous()
    selection = Diagonal(mask)
    selection.dtype = A.dtype
    return selection @ A
