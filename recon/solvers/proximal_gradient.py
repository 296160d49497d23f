"""Accelerated proximal gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .common import Callback, item_dot, relative_change


def fista(
    A: LinearOperator,
    y: Tensor,
    prox: Callable[[Tensor, float], Tensor],
    *,
    iterations: int = 50,
    step: float | None = None,
    initial: Tensor | None = None,
    restart: bool = True,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + g(x)`` by FISTA, in place on five arrays of x's size.

    What A and `prox` take comes on top.

    Parameters
    ----------
    A
        Operator ``(*batch, *domain_shape)`` to ``(*batch, *range_shape)``.
    y
        Data ``(*batch, *range_shape)``.
    prox
        Proximal map of g: ``prox(v, t)`` minimises ``|x - v|^2 / 2 + t g(x)``. It may work in v.
    iterations
        At most this many.
    step
        Gradient step, at most ``1 / norm(A)^2``. Default: that, by ``A.norm()``.
    initial
        First guess ``(*batch, *domain_shape)``; default: ``step A^H y``.
    restart
        Drop the momentum when it points uphill, for each batch item.
    tolerance
        Stop when x changes by less than this part; 0 never looks.
    callback
        ``callback(iteration, x, change)`` after each iteration, `change` being that part; x is
        worked on in place: clone what should stay.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J Imaging Sci 2, 183 (2009); B. O'Donoghue, E. Candès, Found
    Comput Math 15, 715 (2015).
    """
    ndim = len(A.domain_shape)
    with torch.no_grad():
        rhs = A.adjoint(y)
        batch = rhs.shape[: rhs.ndim - ndim]
        if step is None:
            norm = A.norm(dtype=rhs.dtype, device=rhs.device, batch=batch)
            step = 1 / norm**2 if norm > 0 else 1.0
        x = rhs * step if initial is None else initial.clone()
        z = x.clone()
        t = torch.ones(batch + (1,) * ndim, device=x.device, dtype=x.real.dtype)
        for iteration in range(iterations):
            new = prox(A.normal(z).sub_(rhs).mul_(-step).add_(z), step)
            moved = x.neg_().add_(new)  # x itself is not needed any more
            if restart:
                t = torch.where(item_dot(z.sub_(new), moved, ndim) > 0, 1.0, t)
            following = (1 + (1 + 4 * t * t).sqrt()) / 2
            z.copy_(moved).mul_((t - 1) / following).add_(new)
            x, t = new, following
            if callback is not None or tolerance > 0:
                change = relative_change(moved, x)
                if callback is not None:
                    callback(iteration, x, change)
                if change < tolerance:
                    break
    return x
