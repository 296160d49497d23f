"""Least squares by Krylov methods that work on the data's residual: CGLS and LSQR."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..operators.base import LinearOperator, require_trailing
from .common import Callback
from .ordered_subsets import check_weights


def cgls(
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 20,
    weights: Tensor | None = None,
    noise: float | None = None,
    initial: Tensor | None = None,
    tolerance: float = 1e-6,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``sum w |A x - y|^2`` by conjugate gradients; stopped early, noise stays out.

    The residual is carried along, so that rounding does not square the condition number and the
    discrepancy principle costs nothing. Each batch item has its own step sizes.

    Parameters
    ----------
    A
        Operator ``(*batch, *domain_shape)`` to ``(*batch, *range_shape)``.
    y
        Data ``(*batch, *range_shape)``.
    iterations
        At most this many.
    weights
        Inverse variances, zero or more, broadcasting to the data. Default: one.
    noise
        Stop when the root mean square of ``sqrt(w) (A x - y)`` has fallen to this: the standard
        deviation of the noise, 1 with inverse variances as weights. Default: never.
    initial
        First guess ``(*batch, *domain_shape)``; default: zero.
    tolerance
        Stop when every item's ``A^H w (A x - y)`` has fallen to this part; 0 never looks.
    callback
        ``callback(iteration, x, change)`` after each iteration, `change` being that part.

    Raises
    ------
    ValueError
        Shapes that do not fit, negative weights.

    References
    ----------
    M. R. Hestenes, E. Stiefel, J Res Natl Bur Stand 49, 409 (1952); V. A. Morozov, Soviet Math
    Dokl 7, 414 (1966).
    """
    problem = _Weighted(A, y, weights, noise)
    with torch.no_grad():
        x, r = problem.start(initial)
        s = problem.adjoint(r)
        reference = _above_zero(problem.reference())
        p, size = s.clone(), _lengths(s, problem.ndim)
        for iteration in range(iterations):
            q = problem(p)
            alpha = (size / _above_zero(_lengths(q, problem.rays))).square()
            x.add_(_scaled(p, alpha, problem.ndim))
            r.sub_(_scaled(q, alpha, problem.rays))
            s = problem.adjoint(r)
            previous, size = size, _lengths(s, problem.ndim)
            p = _scaled(p, (size / _above_zero(previous)).square(), problem.ndim).add_(s)
            change = float((size / reference).max())
            if callback is not None:
                callback(iteration, x, change)
            if change <= tolerance or problem.explained(_lengths(r, problem.rays)):
                break
    return x


def lsqr(
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 20,
    weights: Tensor | None = None,
    noise: float | None = None,
    initial: Tensor | None = None,
    tolerance: float = 1e-6,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``sum w |A x - y|^2`` by Golub and Kahan's bidiagonalisation.

    In exact arithmetic the iterates are those of `cgls`, whose parameters it shares; LSQR loses
    less to rounding where A is badly conditioned.

    References
    ----------
    C. C. Paige, M. A. Saunders, ACM Trans Math Softw 8, 43 (1982).
    """
    problem = _Weighted(A, y, weights, noise)
    with torch.no_grad():
        x, u = problem.start(initial)
        reference = _above_zero(problem.reference())
        phi = _lengths(u, problem.rays)
        u = _scaled(u, 1 / _above_zero(phi), problem.rays)
        v = problem.adjoint(u)
        alpha = _lengths(v, problem.ndim)
        v = _scaled(v, 1 / _above_zero(alpha), problem.ndim)
        w, rho = v.clone(), alpha
        for iteration in range(iterations):
            u = problem(v).sub_(_scaled(u, alpha, problem.rays))
            beta = _lengths(u, problem.rays)
            u = _scaled(u, 1 / _above_zero(beta), problem.rays)
            v = problem.adjoint(u).sub_(_scaled(v, beta, problem.ndim))
            alpha = _lengths(v, problem.ndim)
            v = _scaled(v, 1 / _above_zero(alpha), problem.ndim)
            length = _above_zero(torch.hypot(rho, beta))
            cosine, sine = rho / length, beta / length
            x.add_(_scaled(w, cosine * phi / length, problem.ndim))
            w = v - _scaled(w, sine * alpha / length, problem.ndim)
            rho, phi = -cosine * alpha, sine * phi
            change = float(((phi * rho).abs() / reference).max())
            if callback is not None:
                callback(iteration, x, change)
            if change <= tolerance or problem.explained(phi.abs()):
                break
    return x


class _Weighted:
    """``sqrt(w) A`` and ``sqrt(w) y``, checked, and when the noise explains the rest."""

    def __init__(
        self, A: LinearOperator, y: Tensor, weights: Tensor | None, noise: float | None
    ) -> None:
        require_trailing("data", y, A.range_shape)
        if noise is not None and not noise > 0:
            raise ValueError(f"noise must be above 0, got {noise}")
        self.A, self.noise, self.root = A, noise, None
        self.ndim, self.rays = len(A.domain_shape), len(A.range_shape)
        self.size = math.prod(A.range_shape) ** 0.5
        if weights is not None:
            check_weights(weights)
            self.root = weights.to(y).sqrt().expand(y.shape)
        self.y = self._times(y)

    def __call__(self, x: Tensor) -> Tensor:
        return self._times(self.A(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.A.adjoint(self._times(y))

    def start(self, initial: Tensor | None) -> tuple[Tensor, Tensor]:
        """The first image and its residual."""
        if initial is None:
            return torch.zeros_like(self.adjoint(self.y)), self.y.clone()
        require_trailing("initial", initial, self.A.domain_shape)
        return initial.clone(), self.y - self(initial)

    def reference(self) -> Tensor:
        """What the gradient is measured by: its length at zero, ``(*batch,)``."""
        return _lengths(self.adjoint(self.y), self.ndim)

    def explained(self, residual: Tensor) -> bool:
        """Whether every item's residual is the noise's."""
        return self.noise is not None and float(residual.max()) <= self.noise * self.size

    def _times(self, y: Tensor) -> Tensor:
        return y if self.root is None else y * self.root


def _lengths(v: Tensor, ndim: int) -> Tensor:
    """Length of each item over the last `ndim` axes, ``(*batch,)``."""
    norms: Tensor = torch.linalg.vector_norm(v.flatten(-ndim), dim=-1)
    return norms


def _scaled(v: Tensor, factor: Tensor, ndim: int) -> Tensor:
    return v * factor.reshape(*factor.shape, *[1] * ndim).to(v.dtype)


def _above_zero(values: Tensor) -> Tensor:
    """An item that has converged exactly takes a step of 0, not of 0/0."""
    return values.clamp_min(torch.finfo(values.dtype).tiny)
