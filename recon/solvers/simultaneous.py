"""SIRT: simultaneous iterative reconstruction (Gilbert 1972; Gregor and Benson 2008)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .common import Callback, relative_change


def sirt(
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 100,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Solve A x = y by x += C A^H R (y - A x), with R and C the inverse row and column sums of A.

    Parameters
    ----------
    A
        An operator with non-negative entries, such as `XRayTransform`.
    y
        Real data ``(*batch, *A.range_shape)``.
    initial
        Where to start ``(*batch, *A.domain_shape)``; zero by default.
    nonnegative
        Set negative values to zero after every step.
    tolerance
        Stop when x changes by less than this part; 0 never looks.
    callback
        Called with (iteration, x, relative change) after every step.

    Returns
    -------
    Tensor
        The estimate ``(*batch, *A.domain_shape)``.
    """
    rows = _reciprocal(A(torch.ones(A.domain_shape, dtype=y.dtype, device=y.device)))
    columns = _reciprocal(A.adjoint(torch.ones(A.range_shape, dtype=y.dtype, device=y.device)))
    batch = y.shape[: y.ndim - len(A.range_shape)]
    x = y.new_zeros((*batch, *A.domain_shape)) if initial is None else initial.clone()
    for iteration in range(iterations):
        new = columns * A.adjoint(rows * (y - A(x)))
        new.add_(x)
        if nonnegative:
            new.clamp_(min=0)
        moved, x = x.neg_().add_(new), new
        if callback is not None or tolerance > 0:
            change = relative_change(moved, x)
            if callback is not None:
                callback(iteration, x, change)
            if change < tolerance:
                break
    return x


def _reciprocal(sums: Tensor) -> Tensor:
    """1 / sums, zero for rays that miss the grid and pixels that no ray crosses."""
    seen = sums > 1e-6 * sums.max()
    return torch.where(
        seen, 1 / sums.clamp_min(torch.finfo(sums.dtype).tiny), torch.zeros_like(sums)
    )
