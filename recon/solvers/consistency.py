"""The data-consistency step of unrolled networks, differentiated without its iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..operators.base import LinearOperator, Map
from .normal_equations import solve_positive


def data_consistency(
    A: LinearOperator,
    adjoint_data: Tensor,
    prior: Tensor,
    weight: Tensor,
    *,
    iterations: int = 10,
    tolerance: float = 1e-6,
) -> Tensor:
    """Minimise ``|A x - y|^2 + weight |x - prior|^2`` by conjugate gradients, given ``A^H y``.

    Gradients flow to all four: to the data, the prior, the weight, and whatever A is made of
    (coil maps, a trajectory). They are those of the solution, by the implicit function theorem:
    backward solves the same equations once, and keeps one application of A instead of one for
    each iteration. Exact at convergence; once differentiable.

    Parameters
    ----------
    A
        Operator on ``(*batch, *domain_shape)``.
    adjoint_data
        ``A^H y``, ``(*batch, *domain_shape)``.
    prior
        What x is drawn to, such as a denoised image; shaped alike.
    weight
        Positive, in units of ``A^H A``: one element, or one for each batch item with axes of
        length 1 behind.
    iterations, tolerance
        At most this many steps; fewer once every item's residual has fallen to that part.

    References
    ----------
    H. K. Aggarwal et al., MoDL, IEEE TMI 38, 394 (2019); S. Bai et al., NeurIPS (2019).
    """
    ndim, fixed = len(A.domain_shape), weight.detach()

    def system(v: Tensor) -> Tensor:
        return torch.addcmul(A.normal(v), v, fixed)

    def solve(rhs: Tensor) -> Tensor:
        with torch.no_grad():
            return solve_positive(system, rhs, ndim, iterations, tolerance)

    with torch.no_grad():  # from the prior, which is nearer than zero
        x = prior + solve(adjoint_data - A.normal(prior))
    if not torch.is_grad_enabled():
        return x
    # F(x; ...) = 0 at the solution, so that dx = (A^H A + weight)^-1 dF with x held.
    equation = adjoint_data + weight * (prior - x)
    if any(t.requires_grad for t in (*A.parameters(), *A.buffers())):
        equation = equation - A.normal(x)
    return cast(Tensor, _Implicit.apply(equation, x, solve))  # type: ignore[no-untyped-call]


class _Implicit(torch.autograd.Function):
    """Returns the solution; its gradient to the equation is one more solve."""

    @staticmethod
    def forward(ctx: Any, equation: Tensor, x: Tensor, solve: Map) -> Tensor:
        ctx.solve = solve
        return x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        solve = cast(Callable[[Tensor], Tensor], ctx.solve)
        return solve(gradient), None, None
