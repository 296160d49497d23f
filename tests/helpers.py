"""The checks that every operator passes: exact adjoint, first and second derivatives."""

from __future__ import annotations

import torch

from spinray.recon.operators.base import LinearOperator


def check_operator(
    operator: LinearOperator,
    *,
    batch: tuple[int, ...] = (),
    domain_dtype: torch.dtype = torch.complex128,
    range_dtype: torch.dtype | None = None,
    tolerance: float = 1e-12,
    seed: int = 0,
) -> None:
    """Dot product <Ax, y> = <x, A^H y>, normal = A^H A, gradcheck and gradgradcheck."""
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
    assert float(difference.norm()) <= max(tolerance, 1e-10) * float(reference.norm())
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(operator, x, fast_mode=True)
    assert torch.autograd.gradcheck(operator.adjoint, y, fast_mode=True)
    assert torch.autograd.gradgradcheck(operator, x, fast_mode=True)
    # The derivative must be the adjoint itself, not a recording of the kernel.
    (gradient,) = torch.autograd.grad(operator(x), x, y.detach())
    assert torch.allclose(gradient, ahy, rtol=1e-10, atol=1e-10 * float(ahy.abs().max()))


def _inner(a: torch.Tensor, b: torch.Tensor) -> complex:
    return complex((a.detach().conj() * b.detach()).sum())
