"""Conjugate gradients on the normal equations."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator, Map, linear_map
from .common import Callback, item_dot


def conjugate_gradient(
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 10,
    regularization: float = 0.0,
    initial: Tensor | None = None,
    tolerance: float = 1e-6,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 + regularization |x|^2``; each batch item has its own step sizes.

    Gradients flow to `y` and `initial` (and through them, to whatever made them) by solving the
    same equations again, exact at convergence, without memory for the iterations; not to A. That
    to `initial` is what the iterations left of its influence: zero at convergence.

    Parameters
    ----------
    A
        Operator ``(*batch, *domain_shape)`` to ``(*batch, *range_shape)``.
    y
        Data ``(*batch, *range_shape)``.
    iterations
        At most this many.
    regularization
        Weight of ``|x|^2``, in units of ``A^H A``.
    initial
        First guess ``(*batch, *domain_shape)``; default: zero.
    tolerance
        Stop when every item's residual of the normal equations has fallen to this part of
        ``|A^H y|``; 0 never looks (and never waits for a GPU).
    callback
        ``callback(iteration, x, change)`` after each iteration, `change` being that residual; not
        called by the solve that gradients take.

    References
    ----------
    M. R. Hestenes, E. Stiefel, J Res Natl Bur Stand 49, 409 (1952).
    """
    ndim = len(A.domain_shape)

    def system(v: Tensor) -> Tensor:
        out = A.normal(v)
        return out.add_(v, alpha=regularization) if regularization else out

    def solve(rhs: Tensor) -> Tensor:
        return solve_positive(system, rhs, ndim, iterations, tolerance, *next(first, ()))

    # Each map hides A from autograd: a part of the gradient to A would be worse than none.
    rhs = linear_map(y, A.adjoint, A)
    scale = item_dot(rhs.detach(), rhs.detach(), ndim)
    watched = callback if initial is None else _shifted(callback, initial.detach())
    first = iter([(scale, watched)])  # gradients solve for themselves, unwatched
    if initial is None:
        return linear_map(rhs, solve, solve)
    return initial + linear_map(rhs - linear_map(initial, system, system), solve, solve)


def _shifted(callback: Callback | None, initial: Tensor) -> Callback | None:
    """The callback of x for the solve of ``x - initial``."""
    if callback is None:
        return None
    return lambda iteration, x, residual: callback(iteration, initial + x, residual)


def solve_positive(
    system: Map,
    rhs: Tensor,
    ndim: int,
    iterations: int,
    tolerance: float = 0.0,
    scale: Tensor | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Solve ``system(x) = rhs`` from zero, in place on three vectors besides `rhs`.

    `scale` is what squared residuals are measured by, for each item; default: that of `rhs`.
    """
    x, r = torch.zeros_like(rhs), rhs.clone()
    p = r.clone()
    rr = item_dot(r, r, ndim)
    scale = rr if scale is None else scale
    tiny = torch.finfo(rr.dtype).tiny
    for iteration in range(iterations):
        q = system(p)
        # An item that has converged exactly has p = 0: its step is 0, not 0/0.
        alpha = rr / item_dot(p, q, ndim).clamp_min(tiny)
        x.addcmul_(p, alpha)
        r.addcmul_(q, alpha, value=-1)
        previous, rr = rr, item_dot(r, r, ndim)
        torch.addcmul(r, p, rr / previous.clamp_min(tiny), out=p)
        if callback is not None or tolerance > 0:
            residual = float((rr / scale.clamp_min(tiny)).max()) ** 0.5
            if callback is not None:
                callback(iteration, x, residual)
            if residual <= tolerance:
                break
    return x
