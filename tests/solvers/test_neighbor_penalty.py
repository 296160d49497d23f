"""The penalty of neighbours against autograd, its bound, its units."""

from __future__ import annotations

import pytest
import torch

from spinray.recon.solvers import NeighborPenalty

POTENTIALS = ("quadratic", "huber", "q-ggmrf")


@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize("shape", [(9,), (6, 7), (4, 5, 3), (1, 6)])
def test_gradient_is_the_derivative_of_the_value(potential, shape) -> None:
    generator = torch.Generator().manual_seed(0)
    spacing = (2.0, 0.7, 1.0)[-len(shape) :]
    penalty = NeighborPenalty(shape, 3.0, 0.4, potential=potential, spacing=spacing)
    x = torch.randn((2, *shape), dtype=torch.float64, generator=generator).requires_grad_()
    value = penalty.value(x)
    assert value.shape == (2,)
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(penalty.gradient(x.detach()), expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("potential", POTENTIALS)
def test_strengths_of_voxels_are_those_of_their_pairs(potential) -> None:
    generator = torch.Generator().manual_seed(0)
    strength = torch.rand((2, 4, 5), dtype=torch.float64, generator=generator)
    x = torch.randn((2, 4, 5), dtype=torch.float64, generator=generator).requires_grad_()
    penalty = NeighborPenalty((4, 5), strength, 0.4, potential=potential)
    value = penalty.value(x)
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(penalty.gradient(x.detach()), expected, atol=1e-12, rtol=1e-9)
    for item in range(2):
        one = NeighborPenalty((4, 5), strength[item], 0.4, potential=potential)
        hessian = torch.autograd.functional.hessian(
            lambda v, p=one: p.value(v), x[item].detach()
        ).reshape(20, 20)
        bound = torch.diag(one.curvature.flatten()) - hessian
        assert float(torch.linalg.eigvalsh(bound).min()) > -1e-9
    even = NeighborPenalty((4, 5), torch.full((4, 5), 3.0, dtype=torch.float64), 0.4)
    same = NeighborPenalty((4, 5), 3.0, 0.4)
    torch.testing.assert_close(even.value(x), same.value(x))
    assert float(even.curvature[1, 2]) == pytest.approx(same.curvature)


@pytest.mark.parametrize("potential", POTENTIALS)
def test_curvature_bounds_the_hessian_and_is_reached_by_a_checkerboard(potential) -> None:
    penalty = NeighborPenalty((6, 6), 2.0, 0.5, potential=potential)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-4, 0.5, 5.0):
        x = size * torch.randn((6, 6), dtype=torch.float64, generator=generator)
        hessian = torch.autograd.functional.hessian(lambda v: penalty.value(v), x)
        largest = float(torch.linalg.eigvalsh(hessian.reshape(36, 36)).max())
        assert largest <= penalty.curvature
    stripes = (-1.0) ** torch.arange(6, dtype=torch.float64) * 1e-6
    along = NeighborPenalty((6,), 2.0, 0.5, potential=potential)
    inner = along.gradient(stripes)[2:4] / stripes[2:4]
    torch.testing.assert_close(inner, torch.full_like(inner, along.curvature), rtol=1e-2, atol=0)


def test_large_steps_cost_as_much_as_total_variation_in_any_direction() -> None:
    generator = torch.linspace(-1, 1, 65, dtype=torch.float64)
    y, x = torch.meshgrid(generator, generator, indexing="ij")
    disc = 1000.0 * (torch.hypot(y, x) < 0.6)
    expected = 1000 * 2 * torch.pi * 0.6 * 32
    value = float(NeighborPenalty((65, 65), 1.0, 1e-3, potential="huber").value(disc))
    assert value == pytest.approx(expected, rel=0.05)
    z, y, x = torch.meshgrid(*3 * [generator[::2]], indexing="ij")
    ball = 1000.0 * (torch.sqrt(z**2 + y**2 + x**2) < 0.6)
    expected = 1000 * 4 * torch.pi * (0.6 * 16) ** 2
    value = float(NeighborPenalty((33, 33, 33), 1.0, 1e-3, potential="huber").value(ball))
    assert value == pytest.approx(expected, rel=0.05)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="potential must be one of quadratic, huber, q-ggmrf"):
        NeighborPenalty((3,), 1.0, 1.0, potential="tukey")  # type: ignore[arg-type]
    for strength, delta in ((-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="strength must be 0 or more and delta positive"):
            NeighborPenalty((3,), strength, delta)
