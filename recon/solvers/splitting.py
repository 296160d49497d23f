"""The alternating direction method of multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .chambolle_pock import Term
from .common import Callback, relative_change
from .normal_equations import solve_positive

BALANCED = 10.0  # ratio of the residuals beyond which the penalty doubles or halves
BALANCING = 0.5  # it may change in this part of the iterations: ADMM converges for a fixed one


def admm(
    A: LinearOperator,
    y: Tensor,
    terms: Sequence[Term],
    *,
    iterations: int = 50,
    penalty: float | None = None,
    inner: int = 5,
    initial: Tensor | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + sum_i g_i(K_i x)`` by ADMM with conjugate gradients for x.

    Each iteration takes a few steps of CG, warm-started, on
    ``(A^H A + rho sum K^H K) x = A^H y + rho sum K^H (z - u)``: the method of choice where A^H A
    is cheap and ill-conditioned, as for trajectories without density compensation.

    Parameters
    ----------
    A
        Operator ``(*batch, *domain_shape)`` to ``(*batch, *range_shape)``.
    y
        Data ``(*batch, *range_shape)``.
    terms
        The penalties; at least one.
    iterations
        At most this many.
    penalty
        rho, in units of ``|A|^2 / sum |K_i|^2`` so that units do not matter; balanced by the
        residuals in the first half of the iterations. Default: 0.1.
    inner
        Steps of CG an iteration.
    initial
        First guess ``(*batch, *domain_shape)``; default: zero. The multipliers start at zero all
        the same, so that even a good guess is left for some iterations.
    tolerance
        Stop when x changes by less than this part; 0 never looks.
    callback
        ``callback(iteration, x, change)`` after each iteration, `change` being that part.

    References
    ----------
    S. Boyd et al., Found Trends Mach Learn 3, 1 (2011).
    """
    if not terms:
        raise ValueError("admm needs a penalty term: without one, use conjugate_gradient")
    if penalty is not None and not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty}")
    with torch.no_grad():
        rhs = A.adjoint(y)
        x = torch.zeros_like(rhs) if initial is None else initial.clone()
        batch = rhs.shape[: rhs.ndim - len(A.domain_shape)]
        options: dict[str, Any] = {"dtype": rhs.dtype, "device": rhs.device, "batch": batch}
        size = A.norm(8, **options) ** 2
        of_terms: float = sum((t.norm or t.operator.norm(8, **options)) ** 2 for t in terms)
        rho = (penalty or 0.1) * size / max(of_terms, 1e-30) or 1.0
        split = [term.operator(x) for term in terms]
        multipliers = [torch.zeros_like(z) for z in split]

        def system(v: Tensor) -> Tensor:
            out = A.normal(v)
            for term in terms:
                out.add_(term.operator.normal(v), alpha=rho)
            return out

        for iteration in range(iterations):
            b = rhs.clone()
            for term, z, u in zip(terms, split, multipliers, strict=True):
                b.add_(term.operator.adjoint(z - u), alpha=rho)
            residual = b.sub_(system(x))
            moved = solve_positive(system, residual, len(A.domain_shape), inner)
            x = x + moved
            primal = dual = 0.0
            for i, term in enumerate(terms):
                image = term.operator(x)
                z = term.prox(image + multipliers[i], 1 / rho)
                dual += float(torch.linalg.vector_norm(z - split[i])) ** 2
                multipliers[i].add_(image.sub_(z))
                primal += float(torch.linalg.vector_norm(image)) ** 2
                split[i] = z
            ratio = (primal / max(dual, 1e-38)) ** 0.5  # of what rho and 1 / rho weigh
            factor = 2.0 if ratio > BALANCED else 0.5 if ratio < 1 / BALANCED else 1.0
            if factor != 1.0 and iteration < BALANCING * iterations:
                rho *= factor
                for u in multipliers:
                    u.div_(factor)
            change = relative_change(moved, x)
            if callback is not None:
                callback(iteration, x, change)
            if iteration and change < tolerance:
                break
    return x
