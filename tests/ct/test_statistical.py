"""PWLS, Poisson likelihood, TV and TGV by subsets against dense solutions and each other."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from helpers import dense

import spinray as sr
from spinray.datasets import reference_image, simulate_ct
from spinray.recon import ct
from spinray.recon.ct.regularization_scale import image_scale, noise_strength
from spinray.recon.ct.statistical import TransmissionLikelihood, _penalty
from spinray.recon.operators import FiniteDifference, XRayTransform
from spinray.recon.solvers import NeighborPenalty, Term, primal_dual
from spinray.recon.solvers.ordered_subsets import LeastSquares, separable_curvature
from spinray.recon.solvers.proximal import group_soft_threshold
from spinray.recon.solvers.subsets import whole

WATER = 0.02
GRID = sr.VolumeGrid((10, 11), (2.0, 2.0))


@pytest.fixture
def small() -> tuple[XRayTransform, torch.Tensor, torch.Tensor]:
    """A parallel scan of a square with noise, and its weights, in float64."""
    A = XRayTransform(sr.ParallelBeam(np.arange(24) * np.pi / 24, 18, 1.5), GRID)
    image = torch.zeros(GRID.shape, dtype=torch.float64)
    image[3:7, 3:8] = WATER
    clean = A(image)
    counts = ct.simulate_counts(clean, 1e3, seed=0)
    return A, ct.line_integrals(counts, 1e3), ct.statistical_weights(counts)


def penalty_of(A, y, w, weight=1.8, edge=0.02, potential="q-ggmrf") -> NeighborPenalty:
    strength = weight * noise_strength(whole(A), y, w)
    delta = edge * image_scale(whole(A), y)
    return NeighborPenalty(A.domain_shape, strength, delta, potential=potential)


def cost(A, y, w, penalty, x) -> float:
    return float((w * (A(x) - y).square()).sum() / 2 + penalty.value(x))


def test_curvature_bounds_the_hessian_of_the_data_term(small) -> None:
    A, y, w = small
    matrix = dense(A, dtype=torch.float64)
    hessian = matrix.T @ (w.flatten()[:, None] * matrix)
    for subsets in (ct.ordered_views(A, 1), ct.ordered_views(A, 5)):
        bound = separable_curvature(LeastSquares(subsets, y, w)).flatten()
        assert float(torch.linalg.eigvalsh(torch.diag(bound) - hessian).min()) > -1e-9 * bound.max()


def test_quadratic_pwls_is_the_solution_of_its_equations(small) -> None:
    A, y, w = small
    penalty = penalty_of(A, y, w, weight=0.05, potential="quadratic")
    matrix = dense(A, dtype=torch.float64)
    rough = torch.stack(
        [penalty.gradient(e.reshape(A.domain_shape)).flatten() for e in torch.eye(110).double()]
    )
    normal = matrix.T @ (w.flatten()[:, None] * matrix) + rough
    expected = torch.linalg.solve(normal, matrix.T @ (w * y).flatten()).reshape(A.domain_shape)
    x = ct.pwls(
        ct.ordered_views(A, 1), y, w, weight=0.05, potential="quadratic", nonnegative=False,
        iterations=3000,
    )  # fmt: skip
    assert float((x - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("potential", ["huber", "q-ggmrf"])
def test_every_step_without_momentum_lowers_the_cost(small, potential) -> None:
    A, y, w = small
    penalty = penalty_of(A, y, w, potential=potential)
    costs = [cost(A, y, w, penalty, torch.zeros(A.domain_shape).double())]
    ct.pwls(
        ct.ordered_views(A, 1), y, w, potential=potential, momentum=False, iterations=60,
        callback=lambda i, x, c: costs.append(cost(A, y, w, penalty, x)),
    )  # fmt: skip
    assert all(b < a for a, b in itertools.pairwise(costs))


def test_pwls_ends_where_no_step_leads_down_and_subsets_end_there_too(small) -> None:
    A, y, w = small
    penalty = penalty_of(A, y, w)
    x = ct.pwls(ct.ordered_views(A, 1), y, w, iterations=3000)
    slope = A.adjoint(w * (A(x) - y)) + penalty.gradient(x)
    size = float(A.adjoint(w * y).abs().max())
    assert float(slope[x > 0].abs().max()) < 1e-5 * size
    assert float(slope[x == 0].min()) > -1e-5 * size
    assert bool((x == 0).any())
    subsets = ct.ordered_views(A, 4)
    fast = ct.pwls(subsets, y, w, iterations=300)
    assert float((fast - x).norm() / x.norm()) < 4.6e-3  # steps get shorter: else 5.3e-3
    slow = ct.pwls(ct.ordered_views(A, 1), y, w, iterations=8)
    assert float((ct.pwls(subsets, y, w, iterations=8) - x).norm()) < 0.7 * float((slow - x).norm())


def test_weights_of_the_penalty_have_no_unit(small) -> None:
    A, y, w = small
    x = ct.pwls(A, y, w, iterations=60)
    metres = XRayTransform(
        dataclasses.replace(A.geometry, column_spacing=1.5e-3),
        sr.VolumeGrid(GRID.shape, (2e-3, 2e-3)),
    )
    torch.testing.assert_close(ct.pwls(metres, y, w, iterations=60) / 1e3, x, rtol=1e-4, atol=1e-6)
    # half the line integrals with a quarter of their variance: the same problem of half the image
    torch.testing.assert_close(2 * ct.pwls(A, y / 2, 4 * w, iterations=60), x, rtol=1e-4, atol=1e-6)
    # a tv weight is that of rays of any certainty
    one, other = (ct.tv(A, y, weights=c * w, weight=3e-3, iterations=10) for c in (1.0, 7.0))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert float((ct.tv(A, y, weights=w, weight=0.0, iterations=10) - one).norm() / x.norm()) > 0.05
    tv = ct.tv(A, y, weights=w, weight="auto", iterations=60)
    half = ct.tv(A, y / 2, weights=4 * w, weight="auto", iterations=60)
    torch.testing.assert_close(2 * half, tv, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_tv_is_the_minimiser_that_primal_dual_finds(small, weighted) -> None:
    A, y, w = small
    root = (w / w.mean()).sqrt() if weighted else torch.ones_like(w)
    x = ct.tv(
        ct.ordered_views(A, 1), y, weight=3e-4, weights=root.square() if weighted else None,
        iterations=1000,
    )  # fmt: skip
    subsets = whole(A)
    norm = A.norm(dtype=torch.float64)
    strength = 3e-4 * norm**2 * image_scale(subsets, y)
    variation = Term(
        FiniteDifference(GRID.shape), lambda v, t: group_soft_threshold(v, t * strength, -3)
    )
    matrix = root[..., None, None] * dense(A, dtype=torch.float64).reshape(*A.range_shape, 10, 11)
    expected = primal_dual(
        _Dense(matrix.flatten(0, 1)), (root * y).flatten(), [variation], iterations=3000,
        nonnegative=True,
    )  # fmt: skip
    assert float((x - expected).norm() / expected.norm()) < 5e-3


class _Dense(sr.LinearOperator):
    dtype = torch.float64

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__(tuple(matrix.shape[1:]), (len(matrix),))
        self.matrix = matrix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensordot(self.matrix, x, 2)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return torch.tensordot(y, self.matrix, 1)


def test_the_unit_of_penalties_is_the_noise_in_a_pixels_gradient(small) -> None:
    A, y, w = small
    matrix = dense(A, dtype=torch.float64)
    # of equal weights: the standard deviation of A^T w (A x - y) itself
    noise = noise_strength(whole(A), y, torch.full_like(w, 300.0))
    expected = (300.0 * matrix.square().sum(0)).mean().sqrt()
    torch.testing.assert_close(noise, expected.expand(GRID.shape), rtol=0.15, atol=0)
    # of others: as certain as the rays through the pixel, whatever air there is around
    one = noise_strength(whole(A), y, w)
    certainty = (matrix.T @ w.flatten() / matrix.sum(0)).reshape(GRID.shape)
    lines = y.clamp_min(0)
    mean = (w * lines).sum() / lines.sum()  # rays through matter say how certain the data are
    assert float(w.mean() / mean) > 1.05
    torch.testing.assert_close(one, noise / 300**0.5 * certainty / mean.sqrt())
    with pytest.warns(UserWarning, match="the detector sees"):
        wide = XRayTransform(A.geometry, sr.VolumeGrid((20, 21), GRID.spacing))
    other = noise_strength(whole(wide), y, w)[5:15, 5:16]
    torch.testing.assert_close(other / other.mean(), one / one.mean(), rtol=0.05, atol=0)
    assert float(other.mean() / one.mean()) == pytest.approx(1, abs=0.25)
    stacked = noise_strength(whole(A), torch.stack([y, y]), torch.stack([w, 4 * w]))
    torch.testing.assert_close(stacked, torch.stack([one, 2 * one]))


def test_resolution_is_even_where_rays_are_not() -> None:
    """An ellipse of water: faint discs in its middle and near its rim keep alike of their peak."""
    grid = sr.VolumeGrid((64, 64), 3.0)
    A = XRayTransform(sr.ParallelBeam(np.arange(120) * np.pi / 120, 100, 2.0), grid)
    row, column = (torch.from_numpy(grid.positions(axis)).double() for axis in (0, 1))
    body = WATER * ((row[:, None] / 40) ** 2 + (column[None] / 90) ** 2 < 1)
    spots = [torch.hypot(row[:, None], column[None] - x) < 3.5 for x in (0.0, 75.0)]
    bare = A(body)
    counts = 1e5 * torch.exp(-bare)
    kept = []
    for spot in spots:
        faint = 1e-4 * WATER * spot
        images = [
            ct.pwls(ct.ordered_views(A, 1), y, counts, weight=20.0, iterations=150, edge=0.05)
            for y in (bare, A(body + faint))
        ]
        kept.append(float((images[1] - images[0]).max() / faint.max()))
    assert 0.05 < kept[0] < 0.8
    assert kept[1] / kept[0] == pytest.approx(1, abs=0.2)


def test_slope_of_the_likelihood_is_its_derivative(small) -> None:
    A, y, _ = small
    photons = torch.poisson(50 * torch.exp(-y), generator=torch.Generator().manual_seed(0))
    term = TransmissionLikelihood(whole(A), photons, 50.0, 2.0)
    p = (y + 0.1).clone().requires_grad_()
    mean = 50 * torch.exp(-p) + 2
    (expected,) = torch.autograd.grad((mean - torch.xlogy(photons, mean)).sum(), p)
    torch.testing.assert_close(term.slope(0, p.detach().clone()), expected)
    # where the mean is the reading the curvature is the likelihood's, and one photon more
    at_data = torch.log(50 / (photons - 2).clamp_min(1)).requires_grad_()
    mean = 50 * torch.exp(-at_data) + 2
    (slope,) = torch.autograd.grad(
        (mean - torch.xlogy(photons, mean)).sum(), at_data, create_graph=True
    )
    (bend,) = torch.autograd.grad(slope.sum(), at_data)
    seen = photons > 2
    torch.testing.assert_close(term.curvature(0)[seen], bend[seen] + 1)


def test_penalties_know_the_voxels_spacing(small) -> None:
    A, y, w = small
    grid = sr.VolumeGrid((10, 11), (2.0, 3.0))
    wide = XRayTransform(dataclasses.replace(A.geometry, column_spacing=2.2), grid)
    found = _penalty(whole(wide), y, w, 1.8, 0.02, "huber")
    strength = 1.8 * noise_strength(whole(wide), y, w)
    delta = 0.02 * image_scale(whole(wide), y)
    expected = NeighborPenalty(grid.shape, strength, delta, potential="huber", spacing=grid.spacing)
    x = torch.rand(grid.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.value(x), expected.value(x))


def test_subsets_of_several_turns_see_each_turn_from_all_sides() -> None:
    grid = sr.VolumeGrid((8, 60, 60), 2.0)
    turn, three = (
        XRayTransform(
            sr.HelicalBeam(
                np.arange(n * 60) * 2 * np.pi / 60, 4, 70, 4.0, 4.0, 300.0, 500.0, pitch=8.0
            ),
            grid,
        )
        for n in (1, 3)
    )
    assert len(ct.ordered_views(turn)) == len(ct.ordered_views(three)) == 12


def test_many_photons_make_likelihood_and_least_squares_agree_and_few_do_not(small) -> None:
    A, y, _ = small
    smooth = A(ct.pwls(A, y, torch.ones_like(y), iterations=30))
    photons = 1e6 * torch.exp(-smooth)
    one = ct.pwls(ct.ordered_views(A, 1), smooth, photons, iterations=500)
    other = ct.mltr(ct.ordered_views(A, 1), photons, 1e6, iterations=500)
    assert float((one - other).norm() / one.norm()) < 2e-3
    few = torch.poisson(5 * torch.exp(-y), generator=torch.Generator().manual_seed(1))
    assert bool((few == 0).any())
    assert bool(torch.isfinite(ct.mltr(A, few, 5.0)).all())


def test_low_dose_gains_over_fbp_at_any_dose() -> None:
    for photons in (3e3, 3e4):
        scan = simulate_ct(geometry="fan", views=200, columns=160, photons=photons, seed=0)
        truth = reference_image(scan).data

        def error(image: sr.Image, truth: torch.Tensor = truth) -> float:
            return float((image.data - truth).square().mean().sqrt())

        best = min(
            error(sr.reconstruct(scan, "fbp", filter="hann", cutoff=c)) for c in (1.0, 0.8, 0.6)
        )
        for method, options in (("pwls", {}), ("mltr", {}), ("tv", {"weight": "auto"})):
            assert error(sr.reconstruct(scan, method, **options)) < 0.71 * best  # 3 dB


def test_rays_that_weigh_nothing_are_not_heard(small) -> None:
    A, y, w = small
    w = w.clone()
    w[3:5, 4:9] = 0
    wrong = y.clone()
    wrong[3:5, 4:9] = 50.0
    clean = torch.where(w > 0, y, 0.0)
    # without a penalty, whose unit the data's scale would change
    one, other = (ct.pwls(A, data, w, weight=0.0, iterations=50) for data in (wrong, clean))
    torch.testing.assert_close(one, other)


def test_masks_keep_the_rest_at_zero(small) -> None:
    A, y, w = small
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[2:8, 2:9] = True
    for x in (
        ct.pwls(A, y, w, mask=mask, iterations=20),
        ct.tv(A, y, mask=mask, iterations=20),
        ct.tgv(A, y, mask=mask, iterations=20),
    ):
        assert bool((x[~mask] == 0).all())
        assert float(x[mask].mean()) > 0.2 * WATER


def test_what_cannot_be_is_refused_by_name(small) -> None:
    A, y, w = small
    with pytest.raises(ValueError, match="weights must be finite, 0 or more and not all 0"):
        ct.pwls(A, y, -w)
    with pytest.raises(ValueError, match="weights must be finite, 0 or more and not all 0"):
        ct.tv(A, y, weights=0 * w)
    with pytest.raises(ValueError, match=r"weights has shape \(24, 17\)"):
        ct.pwls(A, y, w[:, 1:])
    with pytest.raises(ValueError, match=r"data has shape \(23, 18\)"):
        ct.pwls(A, y[1:], w)
    with pytest.raises(ValueError, match="edge above 0"):
        ct.pwls(A, y, w, edge=0.0)
    with pytest.raises(ValueError, match='"auto" with weights'):
        ct.tv(A, y, weight="auto")
    with pytest.raises(ValueError, match="blank must be above 0"):
        ct.mltr(A, w, 0.0)
    with pytest.raises(ValueError, match="subsets must be 1 to the number of views, 24, got 25"):
        ct.ordered_views(A, 25)
    with pytest.raises(ValueError, match="has no views"):
        ct.ordered_views(FiniteDifference((3, 3)), 2)


def test_data_of_zeros_give_an_image_of_zeros(small) -> None:
    A, y, w = small
    zeros = torch.zeros_like(y)
    for x in (ct.pwls(A, zeros, w), ct.tv(A, zeros), ct.tgv(A, zeros)):
        assert float(x.abs().max()) == 0
    # a slice of air in a stack, and readings below zero throughout
    stack, both = torch.stack([y, zeros]), torch.stack([w, torch.full_like(w, 1e3)])
    for x in (
        ct.pwls(A, stack, both, iterations=5),
        ct.tv(A, stack, weights=both, weight="auto", iterations=5),
        ct.mltr(A, 1e3 * torch.exp(-stack), 1e3, iterations=5),
    ):
        assert float(x[0].max()) > 0.5 * WATER
        assert float(x[1].abs().max()) < 1e-3 * WATER
    assert float(ct.pwls(A, zeros - 0.01, w, iterations=5).abs().max()) == 0
    below = sr.CTScan(torch.full(A.range_shape, -0.01), A.geometry)
    with pytest.raises(ValueError, match="no line integral is above zero"):
        sr.reconstruct(below, "pwls")


def test_tgv_keeps_a_ramp_of_which_tv_makes_stairs() -> None:
    """Attenuation that grows across a disc, as of a contrast agent that settles."""
    grid = sr.VolumeGrid((64, 64), 3.0)
    A = XRayTransform(sr.ParallelBeam(np.arange(120) * np.pi / 120, 100, 2.0), grid)
    row, column = (torch.from_numpy(grid.positions(axis)) for axis in (0, 1))
    distance = torch.hypot(row[:, None], column[None])
    truth = WATER * (1 + column[None] / 160) * (distance < 75)
    counts = ct.simulate_counts(A(truth), 2e4, seed=0)
    y, w = ct.line_integrals(counts, 2e4), ct.statistical_weights(counts)
    inside = distance < 66
    errors, bends = [], []
    for method in (ct.tv, ct.tgv):
        x = method(ct.ordered_views(A, 4), y, weights=w, weight="auto", iterations=60)
        errors.append(float((x - truth)[inside].square().mean().sqrt()))
        # a stair is flat but for its edges: second differences along the ramp
        bends.append(float(torch.diff(x, n=2, dim=1)[inside[:, 1:-1]].abs().mean()))
    assert errors[1] < 0.7 * errors[0]
    assert bends[1] < 0.7 * bends[0]


def test_a_slice_of_air_in_a_stack_stays_air(small) -> None:
    A, y, w = small
    stack, weights = torch.stack([y, 0 * y]), torch.stack([w, torch.full_like(w, 1e3)])
    for x in (
        ct.pwls(A, stack, weights, iterations=20),
        ct.tv(A, stack, weights=weights, weight="auto", iterations=20),
    ):
        assert float(x[1].abs().max()) == 0
        assert float(x[0].max()) > 0.5 * WATER


def test_a_scan_of_air_is_an_image_of_air() -> None:
    beam = sr.ParallelBeam(np.arange(24) * np.pi / 24, 18, 1.5)
    for method in ("pwls", "tv", "cgls"):
        options = {"weight": "auto"} if method == "tv" else {}
        image = sr.reconstruct(sr.CTScan(torch.zeros(beam.shape), beam), method, **options)
        assert float(image.data.abs().max()) == 0
