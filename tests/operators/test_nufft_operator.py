"""NonUniformFourier: adjoint, derivatives of first and second order, batches of trajectories."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import check_operator

from spinray.recon.operators.nufft import NonUniformFourier


def _trajectory(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 0.98 - 0.49


def _exact(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Direct sum in torch, differentiable in x and k: x (..., y, x), k (sample, 2)."""
    ny, nx = x.shape[-2:]
    y = torch.exp(-2j * math.pi * k[:, :1] * (torch.arange(ny) - ny // 2))
    z = torch.exp(-2j * math.pi * k[:, 1:] * (torch.arange(nx) - nx // 2))
    return torch.einsum("jy,jx,...yx->...j", y, z, x) / math.sqrt(ny * nx)


@pytest.mark.parametrize(("batch", "frames"), [((), ()), ((3,), ()), ((2, 3), (2,))])
def test_operator(batch: tuple[int, ...], frames: tuple[int, ...]) -> None:
    operator = NonUniformFourier(_trajectory(*frames, 40, 2), (9, 12), tolerance=1e-11)
    check_operator(operator, batch=batch)


def test_forward_is_the_direct_sum() -> None:
    k = _trajectory(50, 2)
    x = torch.randn(3, 11, 8, dtype=torch.complex128)
    y = NonUniformFourier(k, (11, 8), tolerance=1e-11)(x)
    assert torch.allclose(y, _exact(x, k), atol=1e-10)


def test_trajectory_gradient_is_that_of_the_direct_sum() -> None:
    k = _trajectory(30, 2).requires_grad_()
    x = torch.randn(2, 9, 10, dtype=torch.complex128)
    target = torch.randn(2, 30, dtype=torch.complex128)
    operator = NonUniformFourier(k, (9, 10), tolerance=1e-11)
    (ours,) = torch.autograd.grad((operator(x) - target).abs().square().sum(), k)
    (exact,) = torch.autograd.grad((_exact(x, k) - target).abs().square().sum(), k)
    assert torch.allclose(ours, exact, rtol=1e-8, atol=1e-8 * float(exact.abs().max()))


@pytest.mark.parametrize("adjoint", [False, True])
def test_trajectory_derivatives_of_second_order(adjoint: bool) -> None:
    k = _trajectory(2, 12, 2).requires_grad_()
    inner = (12,) if adjoint else (5, 6)
    x = torch.randn(2, 2, *inner, dtype=torch.complex128, requires_grad=True)

    def apply(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        operator = NonUniformFourier(k, (5, 6), tolerance=1e-12)
        return operator.adjoint(x) if adjoint else operator(x)

    assert torch.autograd.gradcheck(apply, (x, k), fast_mode=True, eps=1e-5)
    assert torch.autograd.gradgradcheck(apply, (x, k), fast_mode=True, eps=1e-5)


def test_gradient_of_weights() -> None:
    operator = NonUniformFourier(_trajectory(2, 20, 2), (6, 5), tolerance=1e-12)
    x = torch.randn(2, 3, 6, 5, dtype=torch.complex128, requires_grad=True)
    w = torch.rand(2, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator.normal, (x, w), fast_mode=True)
    fixed = operator.normal(x, w.detach())
    assert torch.allclose(fixed, operator.normal(x, w), rtol=1e-9, atol=1e-9)


def test_plan_follows_a_trajectory_that_an_optimiser_moves() -> None:
    k = torch.nn.Parameter(_trajectory(30, 2))
    operator = NonUniformFourier(k, (8, 8), tolerance=1e-11)
    assert [name for name, _ in operator.named_parameters()] == ["trajectory"]
    x = torch.randn(8, 8, dtype=torch.complex128)
    optimiser = torch.optim.SGD([k], lr=1e-4)
    operator(x).abs().square().sum().backward()
    optimiser.step()
    assert torch.allclose(operator(x), _exact(x, k), atol=1e-10)
