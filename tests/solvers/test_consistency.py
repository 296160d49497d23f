"""The implicit gradient of the consistency step, against the unrolled iterations."""

from __future__ import annotations

import torch
from torch import Tensor

from spinray.recon.operators import NonUniformFourier, Sense
from spinray.recon.solvers import data_consistency
from spinray.recon.solvers.common import item_dot

SHAPE = (6, 5)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


def _operators() -> list[Sense]:
    maps = _random(2, 3, *SHAPE, seed=1)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)) < 0.6
    trajectory = torch.rand(40, 2, generator=torch.Generator().manual_seed(3)).double() - 0.5
    return [
        Sense(maps, mask=mask),
        Sense(maps, trajectory=NonUniformFourier(trajectory, SHAPE, tolerance=1e-9)),
    ]


def test_it_solves_the_normal_equations() -> None:
    for A in _operators():
        data, prior = _random(2, *SHAPE, seed=4), _random(2, *SHAPE, seed=5)
        weight = torch.tensor([0.3, 2.0]).double().reshape(2, 1, 1)
        x = data_consistency(A, data, prior, weight, iterations=60, tolerance=1e-13)
        residual = A.normal(x) + weight * x - data - weight * prior
        assert float(residual.norm()) < 1e-9 * float(data.norm())


def test_gradcheck_to_data_prior_and_weight() -> None:
    for A in _operators():
        inputs = (
            _random(2, *SHAPE, seed=4).requires_grad_(),
            _random(2, *SHAPE, seed=5).requires_grad_(),
            torch.tensor([0.3, 2.0]).double().reshape(2, 1, 1).requires_grad_(),
        )
        assert torch.autograd.gradcheck(
            lambda d, p, w, A=A: data_consistency(A, d, p, w, iterations=80, tolerance=1e-14),
            inputs, fast_mode=True,
        )  # fmt: skip


def _unrolled(A: Sense, data: Tensor, prior: Tensor, weight: Tensor) -> Tensor:
    """Conjugate gradients that autograd records."""
    x = prior
    r = data + weight * prior - A.adjoint(A(x)) - weight * x
    p = r
    for _ in range(40):
        q = A.adjoint(A(p)) + weight * p
        rr = item_dot(r, r, 2)
        step = rr / item_dot(p, q, 2).clamp_min(1e-300)
        x, r = x + step * p, r - step * q
        p = r + item_dot(r, r, 2) / rr.clamp_min(1e-300) * p
        if float(item_dot(r, r, 2).detach().max()) < 1e-26:
            break
    return x


def test_gradients_agree_with_unrolled_ones_to_maps_too() -> None:
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)) < 0.6
    probe = _random(1, *SHAPE, seed=7)
    gradients = []
    for solve in (_unrolled, data_consistency):
        maps = _random(3, *SHAPE, seed=1).requires_grad_()
        y = _random(1, 3, *SHAPE, seed=4).requires_grad_()
        prior = _random(1, *SHAPE, seed=5).requires_grad_()
        weight = torch.full((1, 1, 1), 0.5).double().requires_grad_()
        A = Sense(maps, mask=mask)
        options = {} if solve is _unrolled else {"iterations": 80, "tolerance": 1e-14}
        x = solve(A, A.adjoint(y), prior, weight, **options)
        loss = (x.conj() * probe).sum().real + x.abs().square().sum()
        gradients.append(torch.autograd.grad(loss, (maps, y, prior, weight)))
    for unrolled, implicit in zip(*gradients, strict=True):
        torch.testing.assert_close(implicit, unrolled, rtol=1e-7, atol=1e-9)


def test_backward_keeps_nothing_of_the_iterations() -> None:
    """More iterations call the operator more often, but leave the same graph."""
    A = _operators()[0]
    prior = _random(2, *SHAPE, seed=5).requires_grad_()
    sizes = []
    for iterations in (2, 50):
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t
        ):
            data_consistency(
                A, _random(2, *SHAPE), prior, torch.tensor(0.1).double(), iterations=iterations
            )
        sizes.append(sum(saved))
    assert sizes[0] == sizes[1] > 0
