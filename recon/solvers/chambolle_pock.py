"""The primal-dual hybrid gradient method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .common import Callback
from .proximal import non_negative


@dataclass(frozen=True)
class Term:
    """A penalty ``g(K x)``: the operator K and the proximal map ``prox(v, t)`` of g.

    `norm` bounds the largest singular value of K; default: found by power iteration.
    """

    operator: LinearOperator
    prox: Callable[[Tensor, float], Tensor]
    norm: float | None = None


def primal_dual(
    A: LinearOperator,
    y: Tensor,
    terms: Sequence[Term],
    *,
    iterations: int = 200,
    nonnegative: bool = False,
    initial: Tensor | None = None,
    norm: float | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + sum_i g_i(K_i x)``, with ``x >= 0`` if asked.

    Chambolle-Pock with the data term among the duals: only A and A^H are applied, and the steps
    need no more than norms, ``sigma_i = 1 / (b |K_i|)`` and ``tau = b / sum_i |K_i|``. The
    balance b follows the residuals, so units and scale of x and y do not matter.

    Parameters
    ----------
    A
        Operator ``(*batch, *domain_shape)`` to ``(*batch, *range_shape)``.
    y
        Data ``(*batch, *range_shape)``.
    terms
        The penalties.
    iterations
        At most this many.
    nonnegative
        Keep x >= 0 (and real).
    initial
        First guess ``(*batch, *domain_shape)``; default: zero.
    norm
        Bound of the largest singular value of A; default: found by power iteration.
    tolerance
        Stop when x changes by less than this part; 0 never looks.
    callback
        ``callback(iteration, x, change)`` after each iteration, `change` being that part.

    References
    ----------
    A. Chambolle, T. Pock, J Math Imaging Vis 40, 120 (2011); T. Goldstein et al., Adaptive
    primal-dual splitting methods, NeurIPS (2015).
    """
    with torch.no_grad():
        x = torch.zeros_like(A.adjoint(y)) if initial is None else initial.clone()
        operators = [A, *(term.operator for term in terms)]
        bounds = [norm, *(term.norm for term in terms)]
        norms = [
            _norm(K, x) if bound is None else bound
            for K, bound in zip(operators, bounds, strict=True)
        ]
        duals = [torch.zeros_like(K(x)) for K in operators]
        balance, adaptation = 1.0, 0.5
        for iteration in range(iterations):
            tau = balance / sum(norms)
            gradient = sum(K.adjoint(p) for K, p in zip(operators, duals, strict=True))
            new = x - tau * gradient
            if nonnegative:
                new = non_negative(new)
            step = new - x
            ahead = new + step
            dual_residual = 0.0
            for i, (K, p) in enumerate(zip(operators, duals, strict=True)):
                sigma = 1 / (balance * norms[i])
                v = K(ahead).mul_(sigma).add_(p)
                if i == 0:
                    v.sub_(y, alpha=sigma).div_(1 + sigma)
                else:  # Moreau: the map of the conjugate by the map of g
                    v.sub_(terms[i - 1].prox(v / sigma, 1 / sigma), alpha=sigma)
                dual_residual += float(torch.linalg.vector_norm(v - p)) ** 2 / sigma**2
                duals[i] = v
            x = new
            moved = float(torch.linalg.vector_norm(step))
            ratio = moved / tau / max(dual_residual**0.5, torch.finfo(x.dtype).tiny)
            if not 2 / 3 < ratio < 3 / 2:
                balance *= 1 + adaptation if ratio > 1 else 1 / (1 + adaptation)
                adaptation *= 0.95
            size = float(torch.linalg.vector_norm(x))
            change = moved / size if size else 0.0
            if callback is not None:
                callback(iteration, x, change)
            if iteration and change < tolerance:  # the duals move first
                break
    return x


def _norm(K: LinearOperator, like: Tensor) -> float:
    """Bound of |K| from power iteration, with a margin for what that falls short by."""
    batch = like.shape[: like.ndim - len(K.domain_shape)]
    return 1.02 * K.norm(dtype=like.dtype, device=like.device, batch=batch)
