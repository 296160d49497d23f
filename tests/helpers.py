"""The checks that every operator passes: adjoint, derivatives, norm, copies; peak memory."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from spinray.recon.operators.base import LinearOperator


def check_operator(
    operator: LinearOperator,
    *,
    batch: tuple[int, ...] = (),
    domain_dtype: torch.dtype = torch.complex128,
    range_dtype: torch.dtype | None = None,
    tolerance: float = 1e-12,
    normal_tolerance: float = 1e-10,
    seed: int = 0,
) -> None:
    """Dot product <Ax, y> = <x, A^H y>, normal = A^H A, norm, copies, gradcheck, gradgradcheck."""
    generator = torch.Generator().manual_seed(seed)
    range_dtype = range_dtype or domain_dtype
    x = torch.randn((*batch, *operator.domain_shape), dtype=domain_dtype, generator=generator)
    y = torch.randn((*batch, *operator.range_shape), dtype=range_dtype, generator=generator)
    ax, ahy = operator(x), operator.adjoint(y)
    assert ax.shape == y.shape
    assert ahy.shape == x.shape
    assert ax.dtype == range_dtype
    assert ahy.dtype == domain_dtype
    left, right = _inner(ax, y), _inner(x, ahy)
    scale = float(ax.norm() * y.norm())
    assert scale > 0
    assert abs(left - right) <= tolerance * scale
    reference = operator.adjoint(ax)
    difference = operator.normal(x) - reference
    assert float(difference.norm()) <= normal_tolerance * float(reference.norm())
    _check_norm(operator, batch, domain_dtype, max(1e-5, normal_tolerance))
    _check_copies(operator, x, ax)
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(operator, x, fast_mode=True)
    assert torch.autograd.gradcheck(operator.adjoint, y, fast_mode=True)
    assert torch.autograd.gradgradcheck(operator, x, fast_mode=True)
    # The derivative must be the adjoint itself, not a recording of the kernel.
    (gradient,) = torch.autograd.grad(operator(x), x, y.detach())
    assert torch.allclose(gradient, ahy, rtol=1e-10, atol=1e-10 * float(ahy.abs().max()))


class Matrix(LinearOperator):
    """A real matrix ``(range, domain)`` in double precision."""

    dtype = torch.float64

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        self.matrix = matrix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix.mT

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return y @ self.matrix


def dense(
    operator: LinearOperator, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.complex128
) -> torch.Tensor:
    """The operator on ``(*batch, *domain_shape)`` as a matrix (range, domain), column by column."""
    shape = (*batch, *operator.domain_shape)
    columns = torch.eye(math.prod(shape), dtype=dtype)
    with torch.no_grad():
        return torch.stack([operator(x.reshape(shape)).flatten() for x in columns], 1)


def peak(run: Callable[[], Any]) -> int:
    """Most bytes that were allocated at once while `run` ran, by torch's own allocator events."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    now = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def _check_norm(
    operator: LinearOperator, batch: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    """Without options, for the operator's own dtype; against the singular values where small."""
    norm = operator.norm(batch=batch)
    assert norm > 0
    if math.prod((*batch, *operator.domain_shape)) <= 130:
        exact = float(torch.linalg.matrix_norm(dense(operator, batch, dtype), 2))
        power = LinearOperator.norm(operator, 300, batch=batch)
        assert 0.99 * exact <= power <= (1 + tolerance) * exact
        assert 0.95 * exact <= norm <= 1.5 * exact  # a subclass may give an upper bound


def _check_copies(operator: LinearOperator, x: torch.Tensor, ax: torch.Tensor) -> None:
    for other in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))):
        torch.testing.assert_close(other(x), ax, rtol=1e-12, atol=1e-12 * float(ax.abs().max()))


def _inner(a: torch.Tensor, b: torch.Tensor) -> complex:
    return complex((a.detach().conj() * b.detach()).sum())
