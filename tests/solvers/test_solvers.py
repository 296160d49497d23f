import numpy as np
import pytest
import torch

from spinray.recon.operators import Diagonal, FiniteDifference
from spinray.recon.operators.base import LinearOperator
from spinray.recon.solvers import (
    Term,
    conjugate_gradient,
    fista,
    group_soft_threshold,
    non_negative,
    p_shrinkage,
    primal_dual,
    soft_threshold,
)


class Matrix(LinearOperator):
    def __init__(self, matrix):
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        self.matrix = matrix

    def forward(self, x):
        return x @ self.matrix.mT

    def adjoint(self, y):
        return y @ self.matrix.mT.mH


def problem(rows=12, columns=8, batch=(3,), dtype=torch.complex128, seed=0):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, dtype=dtype, generator=generator)
    return Matrix(matrix), torch.randn(*batch, rows, dtype=dtype, generator=generator)


@pytest.mark.parametrize("regularization", [0.0, 0.7])
def test_conjugate_gradient_is_least_squares(regularization):
    A, y = problem()
    stacked = np.vstack([A.matrix.numpy(), np.sqrt(regularization) * np.eye(8)])
    data = np.hstack([y.numpy(), np.zeros((3, 8))]).T
    expected = np.linalg.lstsq(stacked, data, rcond=None)[0].T
    seen = []
    x = conjugate_gradient(
        A, y, iterations=30, regularization=regularization, tolerance=1e-12,
        callback=lambda i, x, change: seen.append((i, change)),
    )  # fmt: skip
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-9)
    assert [i for i, _ in seen] == list(range(len(seen)))
    assert len(seen) < 15
    assert seen[-1][1] <= 1e-12 < seen[0][1]
    warm = conjugate_gradient(A, y, iterations=1, regularization=regularization, initial=x)
    np.testing.assert_allclose(warm.numpy(), expected, atol=1e-9)


def test_conjugate_gradient_batch_items_do_not_mix():
    A, y = problem()
    y = y * torch.tensor([1.0, 1e-6, 0.0])[:, None]
    x = conjugate_gradient(A, y, iterations=3, tolerance=0)
    for i in range(3):
        torch.testing.assert_close(x[i], conjugate_gradient(A, y[i], iterations=3, tolerance=0))
    assert torch.isfinite(conjugate_gradient(A, y, iterations=40, tolerance=0).abs()).all()


def test_conjugate_gradient_gradient():
    A, y = problem(batch=())
    y.requires_grad_()

    def solve(y):
        return conjugate_gradient(A, y, iterations=20, regularization=0.3, tolerance=1e-14)

    assert torch.autograd.gradcheck(solve, y)


@pytest.mark.parametrize("iterations", [20, 3])
def test_conjugate_gradient_gradient_from_a_first_guess(iterations):
    A, y = problem(batch=(2,))
    x0 = torch.randn(2, 8, dtype=y.dtype, generator=torch.Generator().manual_seed(3))
    y.requires_grad_()
    x0.requires_grad_()

    def solve(y, x0):
        return conjugate_gradient(
            A, y, iterations=iterations, regularization=0.3, tolerance=0, initial=x0
        )

    if iterations == 20:  # converged
        assert torch.autograd.gradcheck(solve, (y, x0))
        assert torch.autograd.gradgradcheck(solve, (y, x0))
    by_y, by_guess = torch.autograd.grad(solve(y, x0).abs().square().sum(), (y, x0))
    assert float(by_y.norm()) > 0.1
    assert float(by_guess.norm()) < 1e-9 if iterations == 20 else float(by_guess.norm()) > 1e-4


def test_conjugate_gradient_gives_no_part_of_the_gradient_to_the_operator():
    weights, y, guess = torch.rand(3, 8, dtype=torch.float64,
                                   generator=torch.Generator().manual_seed(0))  # fmt: skip
    A = Diagonal(weights.requires_grad_())
    y.requires_grad_()
    for initial in (None, guess):
        x = conjugate_gradient(A, y, regularization=0.1, initial=initial)
        by_y, by_weights = torch.autograd.grad(x.sum(), (y, weights), allow_unused=True)
        assert by_weights is None
        torch.testing.assert_close(by_y, (weights / (weights**2 + 0.1)).detach())


@pytest.mark.parametrize("warm", [False, True])
def test_conjugate_gradient_calls_back_with_x_and_never_from_backward(warm):
    A, y = problem()
    initial = torch.ones(3, 8, dtype=y.dtype) if warm else None
    y.requires_grad_()
    seen = []
    x = conjugate_gradient(
        A, y, iterations=4, tolerance=0, initial=initial,
        callback=lambda i, x, change: seen.append((i, x.clone())),
    )  # fmt: skip
    assert [i for i, _ in seen] == [0, 1, 2, 3]
    torch.testing.assert_close(seen[-1][1], x.detach())
    two = conjugate_gradient(A, y.detach(), iterations=2, tolerance=0, initial=initial)
    torch.testing.assert_close(seen[1][1], two)
    (first,) = torch.autograd.grad(x.abs().square().sum(), y, create_graph=True)
    first.abs().square().sum().backward()
    assert len(seen) == 4


def test_conjugate_gradient_measures_a_warm_start_by_the_data():
    A, y = problem()
    x = conjugate_gradient(A, y, iterations=30, tolerance=1e-12)
    seen = []
    conjugate_gradient(A, y, initial=x, callback=lambda i, x, change: seen.append(change))
    assert len(seen) == 1


def lasso_is_optimal(A, y, x, weight):
    """Subgradient condition of |Ax - y|^2/2 + weight |x|_1, item by item."""
    gradient = A.adjoint(A(x) - y)
    zero = x.abs() < 1e-7
    assert 0 < int(zero.sum()) < zero.numel()
    assert float(gradient[zero].abs().max()) <= weight * (1 + 1e-6)
    on = gradient[~zero] + weight * x[~zero] / x[~zero].abs()
    assert float(on.abs().max()) < 1e-6


@pytest.mark.parametrize("restart", [True, False])
def test_fista_lasso(restart):
    A, y = problem()
    x = fista(
        A, y, lambda v, t: soft_threshold(v, 3.0 * t),
        iterations=1500, restart=restart, step=0.9 / A.norm(200, dtype=y.dtype) ** 2,
    )  # fmt: skip
    lasso_is_optimal(A, y, x, 3.0)


def test_fista_restart_converges_faster_and_stops():
    A, y = problem()
    counts = {}
    for restart in (True, False):
        seen = []
        fista(
            A, y, lambda v, t: soft_threshold(v, 3.0 * t), iterations=3000, restart=restart,
            tolerance=1e-10, callback=lambda i, x, change, seen=seen: seen.append(change),
        )  # fmt: skip
        counts[restart] = len(seen)
        assert seen[-1] < 1e-10
    assert counts[True] < counts[False]


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_primal_dual_lasso_at_any_scale(scale):
    A, y = problem()
    identity = Matrix(torch.eye(8, dtype=y.dtype))
    term = Term(identity, lambda v, t: soft_threshold(v, 3.0 * scale * t), norm=1.0)
    x = primal_dual(A, scale * y, [term], iterations=3000, tolerance=1e-13)
    lasso_is_optimal(A, y, x / scale, 3.0)


def test_primal_dual_nonnegative_least_squares():
    from scipy.optimize import nnls

    A, y = problem(batch=(), dtype=torch.float64)
    x = primal_dual(A, y, [], iterations=4000, nonnegative=True)
    expected, _ = nnls(A.matrix.numpy(), y.numpy())
    assert (expected == 0).any()
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-7)


def test_total_variation_of_a_step_in_closed_form():
    """TV moves each level of a step towards the other by weight / length."""
    x = torch.cat([torch.zeros(10), torch.ones(30)]).double()
    D = FiniteDifference((40,))
    identity = Matrix(torch.eye(40, dtype=torch.float64))
    term = Term(D, lambda v, t: group_soft_threshold(v, 0.6 * t, dim=-2), norm=2.0)
    out = primal_dual(identity, x, [term], norm=1.0, iterations=2000)
    expected = torch.cat([torch.full((10,), 0.6 / 10), torch.full((30,), 1 - 0.6 / 30)]).double()
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


def test_proximal_maps_in_closed_form():
    x = torch.tensor([3 + 4j, 0.3 + 0.4j, 0])
    torch.testing.assert_close(soft_threshold(x, 1.0), torch.tensor([2.4 + 3.2j, 0, 0]))
    real = torch.tensor([-3.0, 0.5, 2.0])
    torch.testing.assert_close(soft_threshold(real, 1.0), torch.tensor([-2.0, 0.0, 1.0]))
    pairs = torch.tensor([[3.0, 0.3], [4.0, 0.4]])
    torch.testing.assert_close(
        group_soft_threshold(pairs, 1.0, dim=0), torch.tensor([[2.4, 0.0], [3.2, 0.0]])
    )
    assert torch.equal(non_negative(torch.tensor([-1 + 2j, 1 + 2j])), torch.tensor([0j, 1 + 0j]))


def test_p_shrinkage_is_soft_at_one_and_spares_large_values():
    x = torch.tensor([3 + 4j, 0.3 + 0.4j, 0, 40j])
    torch.testing.assert_close(p_shrinkage(x, 1.0, 1.0), soft_threshold(x, 1.0))
    half = p_shrinkage(x, 1.0, 0.5)
    torch.testing.assert_close(half, torch.tensor([1 - 5**-1.5, 0, 0, 1 - 40**-1.5]) * x)
    tiny = p_shrinkage(1e-30 * x, 1e-30, 0.5)
    torch.testing.assert_close(tiny * 1e30, half)
    torch.testing.assert_close(p_shrinkage(x, 0.0, 0.5), x)
