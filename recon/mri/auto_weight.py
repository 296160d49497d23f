"""The weight of a regularised reconstruction from the noise of its data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import LinearOperator

PROBE = 0.1  # length of the perturbation in standard deviations of the noise


def sure_weight(
    solve: Callable[[Tensor, float], Tensor],
    A: LinearOperator,
    y: Tensor,
    deviation: Tensor,
    *,
    start: float,
    seed: int = 0,
) -> float:
    """The weight that minimises Stein's unbiased estimate of the error of the predicted data.

    ``SURE = |A x - y|^2 - sum s^2 + 2 sum s^2 d(A x) / d y``, its last term by one random
    perturbation (Monte Carlo). The weight is doubled or halved from `start` as long as SURE falls,
    and the minimum refined by a parabola over the logarithm of the weight.

    Parameters
    ----------
    solve
        ``solve(y, weight)`` reconstructs; a few iterations suffice.
    A, y
        Encoding and data.
    deviation
        Standard deviation s of the complex noise, broadcast to y.
    start
        First weight.
    seed
        Of the perturbation.

    References
    ----------
    S. Ramani, T. Blu, M. Unser, IEEE Trans Image Process 17, 1540 (2008); C. M. Stein, Ann
    Statist 9, 1135 (1981).
    """
    generator = torch.Generator().manual_seed(seed)
    measured = y != 0
    probe = torch.randn(y.shape, dtype=y.dtype, generator=generator).to(y.device)
    probe = probe * deviation * measured

    def risk(exponent: int) -> float:
        weight = start * 2.0**exponent
        predicted = A(solve(y, weight))
        moved = A(solve(y + PROBE * probe, weight)) - predicted
        misfit = float((predicted - y).abs().square().sum())
        divergence = float((probe.conj() * moved).sum().real) / PROBE
        return misfit + 2 * divergence

    risks = {e: risk(e) for e in (-1, 0, 1)}
    for step in (-1, 1):
        e = step
        while risks[e] < risks[e - step] and abs(e) < 5:
            e += step
            risks[e] = risk(e)
    best = min(risks, key=risks.__getitem__)
    if best - 1 in risks and best + 1 in risks:
        left, middle, right = (risks[best + i] for i in (-1, 0, 1))
        curvature = left - 2 * middle + right
        offset = (left - right) / (2 * curvature) if curvature > 0 else 0.0
    else:
        offset = 0.0
    weight: float = start * 2.0 ** (best + max(-0.5, min(0.5, offset)))
    return weight
