"""Algebraic reconstruction: SIRT, SART and ordered subsets between them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .common import Callback, pass_ends
from .subsets import Subsets, as_subsets, require_broadcast


def sirt(
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 100,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    mask: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Solve A x = y by x += C A^H R (y - A x), with R and C the inverse row and column sums of A.

    `sart` with all data at a time; see there.

    References
    ----------
    P. Gilbert, J Theor Biol 36, 105 (1972); J. Gregor, T. Benson, IEEE Trans Med Imaging 27, 918
    (2008).
    """
    return sart(
        A,
        y,
        iterations=iterations,
        initial=initial,
        nonnegative=nonnegative,
        mask=mask,
        tolerance=tolerance,
        callback=callback,
    )


def sart(
    A: LinearOperator | Subsets,
    y: Tensor,
    *,
    iterations: int = 10,
    relaxation: float = 1.0,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    mask: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Solve A x = y by x += C A_m^H R_m (y_m - A_m x) for each subset m in turn.

    R_m are the inverse row sums of A_m, C the inverse of the largest column sums that a subset has,
    so that no step is too long. Subsets of one view make SART, several OS-SART, all views SIRT.

    Parameters
    ----------
    A
        An operator with non-negative entries, such as `XRayTransform`, or its subsets; see
        `spinray.ct.ordered_views`.
    y
        Real data ``(*batch, *A.range_shape)``.
    iterations
        Passes over all data.
    relaxation
        Length of the steps, above 0 and below 2.
    initial
        Where to start ``(*batch, *A.domain_shape)``; zero by default.
    nonnegative
        Set negative values to zero after every step.
    mask
        Pixels that may differ from zero, bool, broadcasting to the image.
    tolerance
        Stop when x changes by less than this part; 0 never looks.
    callback
        Called with (iteration, x, relative change) after every pass.

    Returns
    -------
    Tensor
        The estimate ``(*batch, *A.domain_shape)``.

    Raises
    ------
    ValueError
        Shapes that do not fit, a relaxation out of range.

    References
    ----------
    A. H. Andersen, A. C. Kak, Ultrason Imaging 6, 81 (1984); G. Wang, M. Jiang, J X-Ray Sci
    Technol 12, 169 (2004).
    """
    if not 0 < relaxation < 2:
        raise ValueError(f"relaxation must be above 0 and below 2, got {relaxation}")
    subsets = as_subsets(A)
    data = subsets.cut("data", y)
    x = start(subsets, y, initial, mask=mask)
    rows, columns = _reciprocal_sums(subsets, y)
    columns = columns * relaxation if mask is None else columns * relaxation * mask
    for iteration in range(iterations):
        before = x
        for part, values, row in zip(subsets, data, rows, strict=True):
            residual = part(x).neg_().add_(values).mul_(row)
            x = part.adjoint(residual).mul_(columns).add_(x)
            if nonnegative:
                x.clamp_(min=0)
        if pass_ends(iteration, before, x, tolerance, callback):
            break
    return x


def start(
    subsets: Subsets,
    y: Tensor,
    initial: Tensor | None,
    value: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """A copy of the initial image, or one of a value, ``(*batch, *domain_shape)``, masked."""
    shape = subsets.domain_shape
    batch = y.shape[: y.ndim - len(subsets.range_shape)]
    if initial is None:
        x = y.new_full((*batch, *shape), value)
    else:
        require_broadcast("initial", initial, (*batch, *shape))
        x = initial.to(y).expand(*batch, *shape).clone()
    if mask is None:
        return x
    require_broadcast("mask", mask, (*batch, *shape))
    return x * mask


def _reciprocal_sums(subsets: Subsets, y: Tensor) -> tuple[list[Tensor], Tensor]:
    """Inverse row sums of each part, and inverse of the largest column sums of any."""
    ones = torch.ones(subsets.domain_shape, dtype=y.dtype, device=y.device)
    sums = [part(ones) for part in subsets]
    longest = max(float(s.max()) for s in sums)
    columns = torch.zeros_like(ones)
    for part, row in zip(subsets, sums, strict=True):
        columns = torch.maximum(columns, part.adjoint(torch.ones_like(row)))
    return [reciprocal(s, longest) for s in sums], reciprocal(columns, float(columns.max()))


def reciprocal(sums: Tensor, largest: float) -> Tensor:
    """1 / sums, zero for rays that miss the grid and pixels that no ray crosses."""
    seen = sums > 1e-6 * largest
    return torch.where(
        seen, 1 / sums.clamp_min(torch.finfo(sums.dtype).tiny), torch.zeros_like(sums)
    )
