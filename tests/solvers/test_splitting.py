"""ADMM, and the primal-dual method where A is badly scaled, against each other and FISTA."""

import pytest
import torch

from spinray.recon.operators import FiniteDifference
from spinray.recon.operators.base import LinearOperator
from spinray.recon.solvers import (
    Convergence,
    Term,
    admm,
    fista,
    group_soft_threshold,
    primal_dual,
    sirt,
    soft_threshold,
)
from spinray.recon.solvers.low_rank import singular_value_threshold


class Matrix(LinearOperator):
    dtype = torch.float64

    def __init__(self, matrix):
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        self.matrix = matrix

    def forward(self, x):
        return x @ self.matrix.mT

    def adjoint(self, y):
        return y @ self.matrix.mT.mH


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def total_variation(size, weight):
    return Term(FiniteDifference((size,)), lambda v, t: group_soft_threshold(v, weight * t, -2))


def objective(A, y, x, weight):
    return float(0.5 * (A(x) - y).square().sum() + weight * x.diff(dim=-1).abs().sum())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_admm_is_the_lasso_at_any_scale_of_the_operator(scale):
    A = Matrix(scale * random(12, 8))
    y = random(3, 12, seed=1)
    expected = fista(A, y, lambda v, t: soft_threshold(v, 2.0 * scale * t), iterations=3000)
    term = Term(Matrix(torch.eye(8, dtype=torch.float64)),
                lambda v, t: soft_threshold(v, 2.0 * scale * t), norm=1.0)  # fmt: skip
    record = Convergence()
    x = admm(A, y, [term], iterations=400, tolerance=1e-12, callback=record)
    torch.testing.assert_close(x * scale, expected * scale, atol=1e-7, rtol=0)
    assert record.iterations < 400
    assert record.changes[-1] < 1e-12
    again = admm(A, y, [term], iterations=400, initial=2 * x, tolerance=1e-12)
    torch.testing.assert_close(again * scale, expected * scale, atol=1e-7, rtol=0)


def test_admm_asks_for_a_term_and_a_positive_penalty():
    A = Matrix(random(4, 3))
    with pytest.raises(ValueError, match="conjugate_gradient"):
        admm(A, random(4), [])
    with pytest.raises(ValueError, match="-1"):
        admm(A, random(4), [total_variation(3, 1.0)], penalty=-1.0)


@pytest.mark.parametrize("solver", [primal_dual, admm])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_units_of_the_operator_do_not_slow_the_solver(solver, scale):
    """The same problem in other units: the same image after the same number of iterations."""
    A, B = Matrix(random(60, 40)), Matrix(scale * random(60, 40))
    truth = torch.repeat_interleave(random(5, seed=2), 8)
    y = A(truth) + 0.3 * random(60, seed=3)
    one = solver(A, y, [total_variation(40, 2.0)], iterations=60)
    other = solver(B, y, [total_variation(40, 2.0 * scale)], iterations=60) * scale
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
    best = solver(A, y, [total_variation(40, 2.0)], iterations=800)
    assert objective(A, y, one, 2.0) < 1.001 * objective(A, y, best, 2.0)


def test_diagonal_steps_outrun_one_step_where_rows_are_uneven():
    weights = torch.logspace(-2, 1.5, 40, dtype=torch.float64)  # rays of very uneven weight
    A = Matrix(random(40, 30).abs() * weights[:, None])
    y = A(random(30, seed=1).abs()) + 0.01 * random(40, seed=2)
    terms = [total_variation(30, 0.02)]
    best = objective(A, y, primal_dual(A, y, terms, iterations=8000, diagonal=True), 0.02)
    gaps = [
        objective(A, y, primal_dual(A, y, terms, iterations=400, diagonal=diagonal), 0.02) - best
        for diagonal in (True, False)
    ]
    assert 0 <= gaps[0] < 0.5 * gaps[1]


def test_diagonal_steps_need_entries_without_sign():
    A = Matrix(random(5, 4))
    with pytest.raises(ValueError, match="negative entries"):
        primal_dual(A, random(5), [], diagonal=True)


def test_line_search_needs_no_bound_of_the_norm():
    """A norm ten times too small would make fixed steps diverge."""
    A = Matrix(random(30, 20))
    y = random(30, seed=1)
    terms = [total_variation(20, 1.0)]
    x = primal_dual(A, y, terms, iterations=2000, norm=0.1 * A.norm())
    expected = primal_dual(A, y, terms, iterations=2000)
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_line_search_ends_on_data_that_are_not_finite(value):
    A, y = Matrix(random(12, 8)), random(12, seed=1)
    y[3] = value
    record = Convergence()
    x = primal_dual(A, y, [total_variation(8, 1.0)], iterations=3, norm=A.norm(), callback=record)
    assert record.iterations == 3
    assert not torch.isfinite(x).all()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_singular_values_shrink_whichever_side_is_longer(shape):
    x = random(3, *shape, dtype=torch.complex128)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    expected = (u * (s - 1.5).clamp_min(0).unsqueeze(-2)) @ vh
    torch.testing.assert_close(singular_value_threshold(x, 1.5), expected)


def test_sirt_stops():
    A = Matrix(random(12, 8).abs() + torch.eye(12, 8, dtype=torch.float64) * 5)
    record = Convergence()
    sirt(A, random(12, seed=1).abs(), iterations=100000, tolerance=1e-6, callback=record)
    assert record.changes[-1] < 1e-6 < record.changes[-2]
