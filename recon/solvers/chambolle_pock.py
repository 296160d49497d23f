"""The primal-dual hybrid gradient method with line search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from .common import Callback, relative_change
from .proximal import non_negative

ACCEPTED = 0.99  # of the longest step that converges
SHORTER = 0.7  # a refused step is tried again at this part of it
BALANCED = 1.5  # ratio of the residuals beyond which the steps are balanced anew


@dataclass(frozen=True)
class Term:
    """A penalty ``g(K x)``: the operator K and the proximal map ``prox(v, t)`` of g.

    `norm` is the largest singular value of K, or near it; default: found by power iteration.
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
    diagonal: bool = False,
    initial: Tensor | None = None,
    norm: float | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + sum_i g_i(K_i x)``, with ``x >= 0`` if asked.

    Chambolle-Pock with the data term among the duals: only A, K and their adjoints are applied.
    The step is found by Malitsky and Pock's line search, as long as the operators allow where the
    iterates are, and norms need not be bounds: they only bring A and K to one scale, so that
    units do not matter. Primal and dual steps are balanced by the residuals.

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
    diagonal
        A step of its own for each datum and each pixel, from the row and column sums of A, whose
        entries must not be negative (`XRayTransform`): for data of very uneven weight.
    initial
        First guess ``(*batch, *domain_shape)``; default: zero.
    norm
        Largest singular value of A, or near it; default: found by power iteration.
    tolerance
        Stop when x changes by less than this part; 0 never looks.
    callback
        ``callback(iteration, x, change)`` after each iteration, `change` being that part.

    References
    ----------
    A. Chambolle, T. Pock, J Math Imaging Vis 40, 120 (2011); Y. Malitsky, T. Pock, SIAM J Optim
    28, 411 (2018); T. Pock, A. Chambolle, ICCV, 1762 (2011); T. Goldstein et al., NeurIPS (2015).
    """
    with torch.no_grad():
        x = torch.zeros_like(A.adjoint(y)) if initial is None else initial.clone()
        search = _LineSearch(A, y, terms, x, norm, diagonal)
        adaptation = 0.5
        for iteration in range(iterations):
            new = x - search.primal_step * search.gradient
            if nonnegative:
                new = non_negative(new)
            moved = new - x
            x = new
            ratio = search.advance(x, moved)
            if ratio and not 1 / BALANCED < ratio < BALANCED:
                search.balance(1 + adaptation if ratio > 1 else 1 / (1 + adaptation))
                adaptation *= 0.95
            change = relative_change(moved, x)
            if callback is not None:
                callback(iteration, x, change)
            if iteration and change < tolerance:  # the duals move first
                break
    return x


class _LineSearch:
    """Dual variables and step: ``tau`` is the step of x, ``beta w_i tau`` that of dual i."""

    def __init__(
        self,
        A: LinearOperator,
        y: Tensor,
        terms: Sequence[Term],
        x: Tensor,
        norm: float | None,
        diagonal: bool,
    ) -> None:
        self.y, self.terms = y, terms
        self.operators = [A, *(term.operator for term in terms)]
        self.columns: float | Tensor = 1.0  # x's metric
        rows: float | Tensor = 1.0
        if diagonal:
            rows, self.columns = _row_and_column_sums(A, y)
            norm = 1.0
        bounds = [norm, *(term.norm for term in terms)]
        norms = [
            _norm(K, x) if bound is None else bound
            for K, bound in zip(self.operators, bounds, strict=True)
        ]
        if diagonal:
            longest = float(torch.as_tensor(self.columns).max()) ** 0.5
            norms[1:] = [n * longest for n in norms[1:]]
        # each operator at norm 1 after its weight
        weights = [1 / n**2 if n > 0 else 1.0 for n in norms]
        self.weights: list[Any] = [weights[0] * rows, *weights[1:]]
        # where residuals and x are of the data's size, duals are |A|^2 times longer than x here
        scale = norms[0] ** 2
        if diagonal:
            assert isinstance(rows, Tensor)
            assert isinstance(self.columns, Tensor)
            scale = float(rows.mean() * self.columns.mean()) ** -0.5
        self.beta: float = scale**2 or 1.0
        self.growth = 1.0
        self.tau: float = ACCEPTED / (self.beta * len(norms)) ** 0.5
        self.images = [K(x) for K in self.operators]
        self.duals = [torch.zeros_like(image) for image in self.images]
        self.gradient = torch.zeros_like(x)

    @property
    def primal_step(self) -> float | Tensor:
        step: float | Tensor = self.tau * self.columns
        return step

    def balance(self, factor: float) -> None:
        """Lengthen the step of x by `factor` and shorten those of the duals by as much."""
        self.tau *= factor
        self.beta /= factor**2

    def advance(self, x: Tensor, moved: Tensor) -> float:
        """Step the duals and return the ratio of primal to dual residual."""
        previous, tau = self.tau, self.tau
        tau *= (1 + self.growth) ** 0.5
        images = [K(x) for K in self.operators]
        while True:
            theta = tau / previous
            duals = [
                self._dual(i, tau, torch.lerp(old, new, 1 + theta))
                for i, (old, new) in enumerate(zip(self.images, images, strict=True))
            ]
            gradient = sum(K.adjoint(p) for K, p in zip(self.operators, duals, strict=True))
            assert isinstance(gradient, Tensor)
            size = _length(
                [(p - q) / w**0.5 for p, q, w in zip(duals, self.duals, self.weights, strict=True)]
            )
            turned = _length([(gradient - self.gradient) * self.columns**0.5])
            # NaN and infinity are no longer than anything: the search ends
            if not (size and self.beta**0.5 * tau * turned > ACCEPTED * size):
                break
            tau *= SHORTER
        dual_residual = size / (self.beta * tau)
        primal_residual = _length([moved / self.columns**0.5]) / previous
        self.images, self.duals, self.gradient = images, duals, gradient
        self.tau, self.growth = tau, theta
        tiny = torch.finfo(x.dtype).tiny
        # unit-free: both are lengths in the metric in which the iterates contract
        ratio: float = primal_residual / max(dual_residual, tiny) / math.sqrt(self.beta)
        return ratio

    def _dual(self, i: int, tau: float, ahead: Tensor) -> Tensor:
        sigma = self.beta * tau * self.weights[i]
        v = ahead.mul_(sigma).add_(self.duals[i])
        if i == 0:
            return v.sub_(sigma * self.y).div_(1 + sigma)
        # Moreau: the map of the conjugate by the map of g
        return v.sub_(self.terms[i - 1].prox(v / sigma, 1 / sigma), alpha=sigma)


def _length(parts: Sequence[Tensor]) -> float:
    squares: float = sum(float(torch.linalg.vector_norm(part)) ** 2 for part in parts)
    return math.sqrt(squares)


def _row_and_column_sums(A: LinearOperator, y: Tensor) -> tuple[Tensor, Tensor]:
    """Reciprocals of the row and column sums of A; one where a sum is zero."""
    rows = A(torch.ones(A.domain_shape, dtype=y.dtype, device=y.device))
    columns = A.adjoint(torch.ones(A.range_shape, dtype=y.dtype, device=y.device))
    if y.is_complex() or bool((rows < 0).any() or (columns < 0).any()):
        raise ValueError(
            "diagonal=True needs an operator of real data without negative entries, such as "
            f"XRayTransform; got {type(A).__name__} on {y.dtype}"
        )
    return _reciprocal(rows), _reciprocal(columns)


def _reciprocal(sums: Tensor) -> Tensor:
    small = sums <= 1e-6 * sums.max()
    return torch.where(small, 1 / sums.max().clamp_min(1e-30), 1 / sums.clamp_min(1e-30))


def _norm(K: LinearOperator, like: Tensor) -> float:
    """|K| to some per cent: the line search needs no bound."""
    batch = like.shape[: like.ndim - len(K.domain_shape)]
    return K.norm(8, dtype=like.dtype, device=like.device, batch=batch)
