"""Ordered subsets with momentum: gradient steps from some of the data at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .common import Callback, pass_ends
from .subsets import Subsets

Update = Callable[[Tensor, Tensor, float], Tensor]
RELAXATION = 0.02  # by which part of the first step each following one is shorter


class DataTerm(Protocol):
    """Minus log likelihood of data whose mean is a function of ``A x``."""

    subsets: Subsets

    def slope(self, index: int, projection: Tensor) -> Tensor:
        """Derivative by the projection ``A_m x`` of part m; may work in `projection`."""

    def curvature(self, index: int) -> Tensor:
        """Bound of its second derivative, ``(*batch, *range_shape of the part)``."""


class LeastSquares:
    """``sum_i w_i (A x - y)_i^2 / 2`` of subsets of the data.

    Parameters
    ----------
    subsets
        The operator in parts.
    y
        Data ``(*batch, *range_shape)``.
    weights
        Inverse variances, zero or more, broadcasting to the data. Default: one.

    Raises
    ------
    ValueError
        Shapes that do not fit, weights that are negative, not finite or all zero.
    """

    def __init__(self, subsets: Subsets, y: Tensor, weights: Tensor | None = None) -> None:
        self.subsets = subsets
        self._data = subsets.cut("data", y)
        self._weights: list[Tensor] | None = None
        if weights is not None:
            check_weights(weights)
            self._weights = subsets.cut("weights", weights)

    def slope(self, index: int, projection: Tensor) -> Tensor:
        """``w (A x - y)`` of a part, in place."""
        projection.sub_(self._data[index])
        return projection if self._weights is None else projection.mul_(self._weights[index])

    def curvature(self, index: int) -> Tensor:
        """The weights of a part."""
        if self._weights is None:
            return torch.ones_like(self._data[index])
        return self._weights[index]


def check_weights(weights: Tensor) -> None:
    """Raise a `ValueError` for weights that are negative, not finite or all zero."""
    low, high = float(weights.min()), float(weights.max())
    if not 0 <= low <= high < float("inf") or high == 0:
        raise ValueError(
            f"weights must be finite, 0 or more and not all 0, got from {low:g} to {high:g}"
        )


def separable_curvature(term: DataTerm) -> Tensor:
    """``A^T c A 1``, ``(*batch, *domain_shape)``: a diagonal that bounds a data term's Hessian.

    For operators without negative entries. Pixels that no ray crosses get the mean of the others.

    References
    ----------
    H. Erdogan, J. A. Fessler, Phys Med Biol 44, 2835 (1999).
    """
    total: Tensor | float = 0.0
    for index, part in enumerate(term.subsets):
        curvature = term.curvature(index)
        total = total + part.adjoint(curvature * part(curvature.new_ones(part.domain_shape)))
    assert isinstance(total, Tensor)
    seen = total > 1e-6 * total.amax()
    return torch.where(seen, total, total[seen].mean() if bool(seen.any()) else 1.0)


def ordered_subsets(
    term: DataTerm,
    update: Update,
    x: Tensor,
    *,
    iterations: int,
    momentum: bool = True,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise a data term and what `update` adds to it, by a step from each subset in turn.

    A step takes the gradient of a subset times the number of subsets for that of all data, and
    Nesterov's momentum runs through all of them. With more than one subset, steps get shorter, so
    that x does not go round and round between the subsets' minima.

    Parameters
    ----------
    term
        The data term.
    update
        ``update(z, g, r)``: the next image from z, where the gradient is g, by the r-th part of the
        full step, r from 1 up.
    x
        Where to start, ``(*batch, *domain_shape)``.
    iterations
        Passes over all data.
    momentum
        Without, and with a single subset, every step lowers the cost.
    tolerance
        Stop when a pass changes x by less than this part; 0 never looks.
    callback
        ``callback(iteration, x, change)`` after each pass, `change` being that part.

    References
    ----------
    D. Kim, S. Ramani, J. A. Fessler, IEEE Trans Med Imaging 34, 167 (2015).
    """
    parts, count = term.subsets.parts, len(term.subsets)
    shortening = RELAXATION if count > 1 else 0.0
    z, t, divisor = x, 1.0, 1.0
    with torch.no_grad():
        for iteration in range(iterations):
            before = x
            for index, part in enumerate(parts):
                gradient = part.adjoint(term.slope(index, part(z))).mul_(count)
                new = update(z, gradient, divisor)
                following = (1 + (1 + 4 * t * t) ** 0.5) / 2
                z = torch.lerp(x, new, 1 + (t - 1) / following) if momentum else new
                x, t, divisor = new, following, divisor + shortening
            if pass_ends(iteration, before, x, tolerance, callback):
                break
    return x
