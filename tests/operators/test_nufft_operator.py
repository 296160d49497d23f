"""NonUniformFourier: adjoint, derivatives of first and second order, batches of trajectories."""

from __future__ import annotations

import copy
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


def test_copies_follow_their_own_trajectory() -> None:
    k = torch.nn.Parameter(_trajectory(30, 2))
    operator = NonUniformFourier(k, (8, 8), tolerance=1e-11)
    with torch.no_grad():
        k.mul_(0.5)  # the plan is of the old one when the copy is made
    x = torch.randn(8, 8, dtype=torch.complex128)
    twin = copy.deepcopy(operator)
    assert twin._plan is None  # made at the first use, for the tensor of the copy
    assert torch.allclose(twin(x), _exact(x, k), atol=1e-10)
    with torch.no_grad():
        twin.trajectory.mul_(0.5)
    assert torch.allclose(twin(x), _exact(x, 0.5 * k), atol=1e-10)
    assert torch.allclose(operator(x), _exact(x, k), atol=1e-10)


def test_norm_takes_the_precision_that_the_tolerance_needs() -> None:
    k = _trajectory(30, 2)
    fine, coarse = (NonUniformFourier(k, (8, 8), tolerance=t) for t in (1e-9, 1e-3))
    assert fine.norm() == pytest.approx(coarse.norm(), rel=0.01)


def _field(ny: int, nx: int, hertz: float) -> torch.Tensor:
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, ny).double(), torch.linspace(-1, 1, nx).double(), indexing="ij"
    )
    return hertz * (y**2 - 0.5 * x + 0.3 * y * x)


def _exact_off_resonance(x, k, field_map, time):
    ny, nx = x.shape[-2:]
    n = torch.cartesian_prod(torch.arange(ny) - ny // 2, torch.arange(nx) - nx // 2).double()
    phase = k @ n.T + time[:, None] * field_map.reshape(1, -1)
    return x.reshape(*x.shape[:-2], -1) @ torch.exp(-2j * math.pi * phase).T / math.sqrt(ny * nx)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-6])
def test_off_resonance_reaches_its_tolerance(tolerance: float) -> None:
    k, time = _trajectory(200, 2), torch.linspace(1e-3, 12e-3, 200).double()
    field_map = _field(16, 14, 150.0)
    operator = NonUniformFourier(
        k, (16, 14), tolerance=tolerance, field_map=field_map, readout_time=time
    )
    x = torch.randn(2, 16, 14, dtype=torch.complex128)
    exact = _exact_off_resonance(x, k, field_map, time)
    assert float((operator(x) - exact).norm() / exact.norm()) <= 1.5 * tolerance
    assert len(operator.segments.times) <= 13


def test_off_resonance_adjoint_and_derivatives() -> None:
    operator = NonUniformFourier(
        _trajectory(30, 2),
        (7, 6),
        tolerance=1e-8,
        field_map=_field(7, 6, 100.0),
        readout_time=torch.linspace(0, 5e-3, 30).double(),
    )
    check_operator(operator, batch=(2,))


def test_gradient_of_the_field_map() -> None:
    k, time = _trajectory(60, 2), torch.linspace(0, 8e-3, 60).double()
    x = torch.randn(9, 8, dtype=torch.complex128)
    target = torch.randn(60, dtype=torch.complex128)
    field_map = _field(9, 8, 80.0).requires_grad_()
    operator = NonUniformFourier(k, (9, 8), tolerance=1e-9, field_map=field_map, readout_time=time)
    (ours,) = torch.autograd.grad((operator(x) - target).abs().square().sum(), field_map)
    exact_loss = (_exact_off_resonance(x, k, field_map, time) - target).abs().square().sum()
    (exact,) = torch.autograd.grad(exact_loss, field_map)
    assert float((ours - exact).norm() / exact.norm()) < 1e-4


def test_off_resonance_needs_both_parts() -> None:
    with pytest.raises(ValueError, match="readout_time"):
        NonUniformFourier(_trajectory(30, 2), (7, 6), field_map=_field(7, 6, 1.0))
    with pytest.raises(ValueError, match="field_map"):
        NonUniformFourier(
            _trajectory(30, 2), (7, 6), field_map=_field(6, 7, 1.0), readout_time=torch.zeros(30)
        )


def _off_resonance_by_sum(k, field, time, image):
    n = torch.stack(
        torch.meshgrid(*[torch.arange(s) - s // 2 for s in image.shape], indexing="ij"), -1
    ).double()
    phase = torch.einsum("jd,yxd->jyx", k, n) + time[:, None, None] * field
    turned = torch.exp(-2j * math.pi * phase) * image
    return turned.sum((-1, -2)) / math.sqrt(image.numel())


@pytest.mark.parametrize("name", ["zero", "constant", "two levels", "wide"])
def test_field_map_gradient_is_that_of_the_direct_sum(name):
    rng = torch.Generator().manual_seed(0)
    k = torch.rand(80, 2, generator=rng).double() - 0.5
    image = torch.randn(9, 8, generator=rng, dtype=torch.complex128)
    time = torch.linspace(0, 40e-3, 80).double()
    field = {
        "zero": torch.zeros(9, 8), "constant": torch.full((9, 8), 50.0),
        "two levels": 100.0 * (torch.rand(9, 8, generator=rng) > 0.5),
        "wide": 1000 * torch.rand(9, 8, generator=rng) - 500,
    }[name].double().requires_grad_()  # fmt: skip
    A = NonUniformFourier(k, (9, 8), tolerance=1e-4, field_map=field, readout_time=time)
    y, exact = A(image), _off_resonance_by_sum(k, field, time, image)
    assert (y - exact).norm() < 3e-4 * exact.norm()
    direction = torch.randn(80, generator=rng, dtype=torch.complex128)
    found, expected = (
        torch.autograd.grad((direction.conj() * z).real.sum(), field)[0] for z in (y, exact)
    )
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_segments_follow_a_field_map_that_an_optimiser_moves():
    rng = torch.Generator().manual_seed(0)
    k, time = torch.rand(40, 2, generator=rng).double() - 0.5, torch.linspace(0, 1e-2, 40).double()
    field = torch.nn.Parameter(torch.zeros(6, 5).double())
    A = NonUniformFourier(k, (6, 5), tolerance=1e-5, field_map=field, readout_time=time)
    image = torch.randn(6, 5, generator=rng, dtype=torch.complex128)
    with torch.no_grad():
        field += 200 * torch.rand(6, 5, generator=rng) - 100
    exact = _off_resonance_by_sum(k, field, time, image)
    assert (A(image) - exact).norm() < 3e-5 * exact.norm()


def test_off_resonance_in_inference_mode():
    k, time = _trajectory(40, 2), torch.linspace(0, 1e-2, 40).double()
    x = torch.ones(6, 5, dtype=torch.complex128)
    exact = _off_resonance_by_sum(k, _field(6, 5, 90.0), time, x)
    with torch.inference_mode():  # tensors made in it count no changes
        field = _field(6, 5, 90.0)
        y = NonUniformFourier(k, (6, 5), tolerance=1e-5, field_map=field, readout_time=time)(x)
    assert (y - exact).norm() < 3e-5 * exact.norm()


def test_off_resonance_in_the_wrong_unit_is_named():
    k, field = torch.zeros(20, 2).double(), 100 * torch.rand(6, 5)
    with pytest.raises(ValueError, match="is field_map in Hz and readout_time in seconds"):
        NonUniformFourier(k, (6, 5), field_map=field, readout_time=torch.linspace(0, 5e3, 20))
    with pytest.raises(TypeError, match="ndarray, expected a torch tensor"):
        NonUniformFourier(k.numpy(), (6, 5))


def test_a_parameter_that_torch_moves_is_planned_again():
    A = NonUniformFourier(torch.nn.Parameter(torch.rand(20, 2).double() - 0.5), (6, 5))
    A._apply(lambda t: t * 0.5)
    expected = NonUniformFourier(A.trajectory.detach(), (6, 5))(torch.ones(6, 5) + 0j)
    torch.testing.assert_close(A(torch.ones(6, 5) + 0j), expected)
