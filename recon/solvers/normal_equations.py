"""Conjugate gradients on the normal equations."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator, linear_map
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

    Gradients flow to `y` (and through it, to whatever made it) by solving the same equations
    again, exact at convergence, without memory for the iterations; not to A or `initial`.

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
        ``callback(iteration, x, change)`` after each iteration, `change` being that residual.

    References
    ----------
    M. R. Hestenes, E. Stiefel, J Res Natl Bur Stand 49, 409 (1952).
    """

    def solve(rhs: Tensor, start: Tensor | None = None) -> Tensor:
        return _solve(A, rhs, start, iterations, regularization, tolerance, callback)

    if initial is None:
        return linear_map(y, lambda v: solve(A.adjoint(v)), lambda g: A(solve(g)))
    with torch.no_grad():
        return solve(A.adjoint(y), initial)


def _solve(
    A: LinearOperator,
    rhs: Tensor,
    initial: Tensor | None,
    iterations: int,
    regularization: float,
    tolerance: float,
    callback: Callback | None,
) -> Tensor:
    """Solve ``(A^H A + regularization) x = rhs`` in place on three vectors besides `rhs`."""
    ndim = len(A.domain_shape)

    def system(v: Tensor) -> Tensor:
        out = A.normal(v)
        return out.add_(v, alpha=regularization) if regularization else out

    x = torch.zeros_like(rhs) if initial is None else initial.clone()
    r = rhs.clone() if initial is None else rhs - system(x)
    p = r.clone()
    rr = item_dot(r, r, ndim)
    scale = item_dot(rhs, rhs, ndim)
    tiny = torch.finfo(rr.dtype).tiny
    for iteration in range(iterations):
        q = system(p)
        # An item that has converged exactly has p = 0: its step is 0, not 0/0.
        alpha = rr / item_dot(p, q, ndim).clamp_min(tiny)
        x.addcmul_(p, alpha.to(p.dtype))
        r.addcmul_(q, -alpha.to(q.dtype))
        previous, rr = rr, item_dot(r, r, ndim)
        p.mul_(rr / previous.clamp_min(tiny)).add_(r)
        if callback is not None or tolerance > 0:
            residual = float((rr / scale.clamp_min(tiny)).max()) ** 0.5
            if callback is not None:
                callback(iteration, x, residual)
            if residual <= tolerance:
                break
    return x
