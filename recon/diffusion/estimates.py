"""Expected image given a noisy one and the data: where samplers differ.

Each takes ``(prior, problem, x, sigma, weight)`` with x ``(sample, *domain)`` and returns what x is
drawn to. `weight` multiplies how much the data count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .prior import Denoiser
from .problem import Problem

FEW = 5  # conjugate gradient steps of dds
OVERSHOOT = 1.5  # of the best step in DPS: below 2, residuals still fall


def decomposed(prior: Denoiser, problem: Problem, x: Tensor, sigma: float, weight: float) -> Tensor:
    """DDS: a few conjugate gradient steps from the denoised image towards the data.

    The denoised image counts by the error that the prior makes at this noise level.
    """
    with torch.no_grad():
        deviation = math.sqrt(weight) * prior.deviation(sigma)
        return problem.consistent(prior(x, sigma), deviation, FEW)


def proximal(prior: Denoiser, problem: Problem, x: Tensor, sigma: float, weight: float) -> Tensor:
    """DiffPIR: the proximal map of the data's likelihood at the denoised image, width sigma."""
    with torch.no_grad():
        return problem.consistent(prior(x, sigma), math.sqrt(weight) * sigma)


def guided(prior: Denoiser, problem: Problem, x: Tensor, sigma: float, weight: float) -> Tensor:
    """DPS: the denoised image moved along the gradient of its likelihood, through the network.

    The likelihood is as wide as noise and the prior's error together, which replaces the step
    size that DPS leaves to be tuned. A step ends where the residual is least on its way: networks
    whose gradients are steeper than their mean error says would otherwise diverge.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        clean = prior(x, sigma)
        residual = problem.A(clean) - problem.y
        energy = residual.abs().square().sum() if residual.is_complex() else residual.square().sum()
        (gradient,) = torch.autograd.grad(energy / 2, x)
    width = problem.noise**2 + weight * prior.deviation(sigma) ** 2
    with torch.no_grad():
        seen = problem.A(gradient)
        slope = _dot(seen, residual)
        best = slope.clamp_min(0) / _dot(seen, seen).clamp_min(torch.finfo(slope.dtype).tiny)
        step = (OVERSHOOT * best).clamp_max(weight * sigma**2 / width)
        return clean.detach() - step.reshape(-1, *(1,) * problem.ndim) * gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Real part of the inner product of each sample, ``(sample,)``."""
    return (a.conj() * b).real.flatten(1).sum(1)
