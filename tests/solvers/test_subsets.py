"""Algebraic, Krylov and EM solvers, whole and by subsets, against dense solutions in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from helpers import Matrix

from spinray.recon.solvers import Subsets, cgls, lsqr, mlem, sart, sirt
from spinray.recon.solvers.subsets import spread_order


def cut(matrix: torch.Tensor, count: int) -> Subsets:
    order = spread_order(count)
    return Subsets(
        [Matrix(matrix[k::count]) for k in order],
        [(slice(k, None, count),) for k in order],
        (len(matrix),),
    )


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A matrix without negative entries, two images, their data."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(24, 6, dtype=torch.float64, generator=generator)
    x = torch.rand(2, 6, dtype=torch.float64, generator=generator) + 0.1
    return matrix, x, x @ matrix.mT


def noisy(y: torch.Tensor, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return y + 0.1 * torch.randn(y.shape, dtype=y.dtype, generator=generator)


@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_sart_of_any_subsets_finds_what_all_data_agree_on(problem, count) -> None:
    matrix, x, y = problem
    found = sart(cut(matrix, count), y, iterations=4000)
    torch.testing.assert_close(found, x, atol=1e-6, rtol=0)


def test_sart_of_a_single_subset_is_sirt_and_more_subsets_are_faster(problem) -> None:
    matrix, x, y = problem
    one = sart(cut(matrix, 1), y, iterations=7)
    torch.testing.assert_close(one, sirt(Matrix(matrix), y, iterations=7))
    many = sart(cut(matrix, 6), y, iterations=7)
    assert float((many - x).norm()) < 0.7 * float((one - x).norm())


def test_sart_never_steps_too_far_where_few_subsets_see_a_pixel() -> None:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 3] = 0.2
    y = matrix @ torch.ones(4, dtype=torch.float64)
    errors: list[float] = []
    sart(
        cut(matrix, 4),
        y,
        iterations=30,
        callback=lambda i, x, c: errors.append(float((x - 1).norm())),
    )
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("solver", [cgls, lsqr])
def test_krylov_solvers_end_at_the_weighted_solution(problem, solver) -> None:
    matrix, _, y = problem
    y = noisy(y)
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(24, dtype=torch.float64, generator=generator)
    root = weights.sqrt().numpy()
    expected = np.linalg.lstsq(matrix.numpy() * root[:, None], (y.numpy() * root).T)[0].T
    initial = torch.rand(2, 6, dtype=torch.float64, generator=generator)
    for start in (None, initial):
        x = solver(Matrix(matrix), y, weights=weights, initial=start, iterations=12, tolerance=0)
        np.testing.assert_allclose(x.numpy(), expected, atol=1e-8)


def test_cgls_and_lsqr_take_the_same_steps_and_tell_the_same_gradient(problem) -> None:
    matrix, _, y = problem
    y = noisy(y)
    runs = []
    for solver in (cgls, lsqr):
        steps: list[tuple[torch.Tensor, float]] = []
        solver(
            Matrix(matrix),
            y,
            iterations=4,
            callback=lambda i, x, c, steps=steps: steps.append((x.clone(), c)),
        )
        runs.append(steps)
    for (one, change), (other, told) in zip(*runs, strict=True):
        torch.testing.assert_close(one, other)
        gradients = (one @ matrix.mT - y) @ matrix
        expected = float((gradients.norm(dim=-1) / (y @ matrix).norm(dim=-1)).max())
        assert change == pytest.approx(expected, rel=1e-6)
        assert told == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("solver", [cgls, lsqr])
def test_discrepancy_stops_at_the_noise_and_not_before(problem, solver) -> None:
    matrix, _, y = problem
    y = noisy(y)
    residuals: list[float] = []

    def watch(i: int, x: torch.Tensor, change: float) -> None:
        residuals.append(float((x @ matrix.mT - y).square().mean(-1).sqrt().max()))

    solver(Matrix(matrix), y, iterations=12, noise=0.2, callback=watch)
    assert residuals[-1] <= 0.2
    assert all(r > 0.2 for r in residuals[:-1])
    assert len(residuals) < 6


def divergence(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (p - torch.xlogy(y, p)).sum(-1)


def test_mlem_keeps_the_counts_and_raises_the_likelihood(problem) -> None:
    matrix, _, y = problem
    y = torch.poisson(100 * y, generator=torch.Generator().manual_seed(4)) / 100
    costs: list[torch.Tensor] = []

    def watch(i: int, x: torch.Tensor, change: float) -> None:
        projected = x @ matrix.mT
        torch.testing.assert_close(projected.sum(-1), y.sum(-1))
        costs.append(divergence(projected, y))

    x = mlem(Matrix(matrix), y, iterations=400, callback=watch)
    assert all(bool((b <= a + 1e-12).all()) for a, b in itertools.pairwise(costs))
    slope = (1 - y / (x @ matrix.mT)) @ matrix  # Karush, Kuhn and Tucker
    assert float((slope * x).abs().max()) < 1e-2
    assert float(slope.min()) > -1e-2


def test_osem_and_background_agree_with_the_truth(problem) -> None:
    matrix, x, y = problem
    found = mlem(cut(matrix, 4), y + 0.3, background=0.3, iterations=3000)
    torch.testing.assert_close(found, x, atol=1e-4, rtol=0)
    five = [mlem(cut(matrix, n), y, iterations=5) for n in (1, 4)]
    assert float((five[1] - x).norm()) < 0.7 * float((five[0] - x).norm())


def test_masks_and_first_images_are_kept(problem) -> None:
    matrix, x, y = problem
    mask = torch.tensor([True, True, False, True, True, True])
    for found in (sart(cut(matrix, 3), y, mask=mask), mlem(cut(matrix, 3), y, mask=mask)):
        assert bool((found[:, 2] == 0).all())
        assert bool((found[:, 0] > 0).all())
    same = sart(cut(matrix, 3), y, initial=x, iterations=2)
    torch.testing.assert_close(same, x)


def test_what_cannot_be_is_refused_by_name(problem) -> None:
    matrix, _, y = problem
    A = Matrix(matrix)
    with pytest.raises(ValueError, match=r"data has shape \(2, 23\), .*\(2, 24\)"):
        sart(A, y[:, :23])
    with pytest.raises(ValueError, match=r"initial has shape \(5,\)"):
        sart(A, y, initial=torch.zeros(5, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"mask has shape \(7,\)"):
        sart(A, y, mask=torch.ones(7, dtype=torch.bool))
    with pytest.raises(ValueError, match="relaxation must be above 0 and below 2, got 2"):
        sart(A, y, relaxation=2.0)
    with pytest.raises(ValueError, match="data must be zero or more, got from -"):
        mlem(A, -y)
    for solver in (cgls, lsqr):
        with pytest.raises(ValueError, match="weights must be finite, 0 or more"):
            solver(A, y, weights=-torch.ones(24, dtype=torch.float64))
        with pytest.raises(ValueError, match="noise must be above 0"):
            solver(A, y, noise=0.0)
    with pytest.raises(ValueError, match="a part takes"):
        Subsets([A], [(slice(0, 12),)], (24,))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 24, 60])
def test_order_takes_each_subset_once_and_goes_far(count) -> None:
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    if count > 6:
        steps = [min((b - a) % count, (a - b) % count) for a, b in itertools.pairwise(order)]
        assert min(steps) > count // 5


def test_mlem_survives_rays_that_pass_the_image_by():
    """Their line integrals are noise, and A x is zero there."""
    A = Matrix(torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]]))
    found = mlem(A, torch.tensor([5.0, 5.0, 0.1]), iterations=200)
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0]), rtol=1e-3, atol=1e-3)
