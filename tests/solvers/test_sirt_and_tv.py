"""SIRT against the weighted least-squares solution, the map of TV against primal-dual."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import Matrix

from spinray.recon.arrays import lengths
from spinray.recon.operators import FiniteDifference
from spinray.recon.operators.base import LinearOperator
from spinray.recon.solvers import (
    Term,
    TotalVariationProx,
    group_soft_threshold,
    primal_dual,
    sirt,
)


def test_sirt_goes_to_the_weighted_least_squares_solution() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(12, 5, dtype=torch.float64, generator=generator)
    y = torch.rand(3, 12, dtype=torch.float64, generator=generator)
    weights = np.sqrt(1 / matrix.numpy().sum(1))  # SIRT weights rays by their inverse row sums
    expected = np.linalg.lstsq(matrix.numpy() * weights[:, None], (y.numpy() * weights).T)[0].T
    x = sirt(Matrix(matrix), y, iterations=5000, nonnegative=False)
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)


def test_sirt_leaves_pixels_that_no_ray_crosses_and_calls_back() -> None:
    matrix = torch.tensor([[1.0, 2.0, 0.0], [3.0, 1.0, 0.0]])
    steps = []
    x = sirt(
        Matrix(matrix),
        torch.tensor([1.0, 1.0]),
        iterations=4,
        initial=torch.tensor([0.0, 0.0, 7.0]),
        callback=lambda i, x, change: steps.append(i),
    )
    assert x[2] == 7
    assert steps == [0, 1, 2, 3]


class Identity(LinearOperator):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape, shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    adjoint = forward


def test_tv_map_is_the_minimiser_and_warm_start_refines_it() -> None:
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(2, 12, 9, dtype=torch.float64, generator=generator)
    weight, t = 0.6, 0.5
    for nonnegative in (False, True):
        term = Term(
            FiniteDifference((12, 9)),
            lambda u, s: group_soft_threshold(u, s * weight * t, -3),
        )
        expected = primal_dual(
            Identity((12, 9)), v, [term], iterations=4000, nonnegative=nonnegative
        )
        prox = TotalVariationProx((12, 9), weight, nonnegative=nonnegative)
        first = float((prox(v, t) - expected).norm())
        for _ in range(30):
            x = prox(v, t)
        assert float((x - expected).norm()) < 1e-3 * float(expected.norm())
        assert float((x - expected).norm()) < 0.1 * first


def test_weights_of_voxels_are_those_of_the_variation_there() -> None:
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(12, 9, dtype=torch.float64, generator=generator)
    weight = torch.rand(12, 9, dtype=torch.float64, generator=generator)
    term = Term(
        FiniteDifference((12, 9)), lambda u, s: group_soft_threshold(u, s * weight[None] * 0.5, -3)
    )
    expected = primal_dual(Identity((12, 9)), v, [term], iterations=4000)
    prox = TotalVariationProx((12, 9), weight)
    for _ in range(40):
        x = prox(v, 0.5)
    assert float((x - expected).norm()) < 1e-3 * float(expected.norm())


def test_each_item_of_a_batch_may_have_its_weights() -> None:
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(2, 12, 9, dtype=torch.float64, generator=generator)
    t = 0.2 + torch.rand(12, 9, dtype=torch.float64, generator=generator)
    weights = torch.tensor([0.3, 0.8], dtype=torch.float64).reshape(2, 1, 1).expand(2, 12, 9)
    both = TotalVariationProx((12, 9), weights, steps=20)(v, t)
    for item, weight in enumerate((0.3, 0.8)):
        one = TotalVariationProx((12, 9), weight, steps=20)(v[item], t)
        torch.testing.assert_close(both[item], one)


def test_tv_map_without_weight_is_the_projection() -> None:
    v = torch.tensor([[-1.0, 2.0], [3.0, -4.0]])
    torch.testing.assert_close(TotalVariationProx((2, 2), 0.0)(v, 1.0), v)
    positive = TotalVariationProx((2, 2), 0.0, nonnegative=True)(v, 1.0)
    torch.testing.assert_close(positive, v.clamp_min(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
@pytest.mark.parametrize("dim", [0, -1, (0, 2)])
def test_lengths_are_norms_with_their_derivative(dtype: torch.dtype, dim: int) -> None:
    x = torch.randn(3, 4, 5, dtype=dtype)
    x[:, 1] = 0
    expected = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    torch.testing.assert_close(lengths(x, dim), expected)
    lengths(x.requires_grad_(), dim).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(torch.view_as_real(x.grad) if dtype.is_complex else x.grad).all()
