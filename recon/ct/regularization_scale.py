"""The units of regularisation: the image's scale and the noise, from a part of the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..arrays import item_scale
from ..solvers.subsets import Subsets


def image_scale(subsets: Subsets, y: Tensor) -> float:
    """The 99th percentile of the best multiple of ``A^H y``, by one subset of the data."""
    part = subsets.parts[0]
    data = subsets.cut("data", y)[0]
    back = part.adjoint(data)
    ray = torch.linalg.vector_norm(part(back))
    if not ray > 0:
        return 0.0
    estimate = back * (torch.linalg.vector_norm(back) / ray) ** 2
    return float(item_scale(estimate.flatten(), 1))


def operator_norm(subsets: Subsets, like: Tensor) -> float:
    """Largest singular value of the operator, nearly, by one subset of it."""
    part = subsets.parts[0]
    return math.sqrt(len(subsets)) * part.norm(dtype=like.dtype, device=like.device)


def noise_strength(subsets: Subsets, y: Tensor, weights: Tensor) -> Tensor:
    """Noise in a pixel's gradient times what keeps resolution even, ``(*batch, *domain_shape)``.

    A pixel's certainty is the mean weight of the rays through it, by one subset. Penalties
    proportional to it blur alike everywhere; at the mean certainty, by the attenuation that rays
    cross, the result is the standard deviation of the noise in ``A^H w (A x - y)``. How much air
    the image has around the object makes no difference.

    Parameters
    ----------
    y
        Line integrals ``(*batch, *range_shape)``.
    weights
        Their inverse variances, broadcasting to them.

    References
    ----------
    J. A. Fessler, W. L. Rogers, IEEE Trans Image Process 5, 1346 (1996).
    """
    part = subsets.parts[0]
    seen = subsets.cut("weights", weights)[0]
    lines = subsets.cut("data", y)[0].clamp_min(0)
    certainty = part.adjoint(seen) / part.adjoint(torch.ones_like(seen)).clamp_min(1e-30)
    axes = tuple(range(-len(subsets.range_shape), 0))
    attenuation = lines.sum(axes)
    of_object = (seen * lines).sum(axes) / attenuation.clamp_min(1e-30)
    mean = torch.where(attenuation > 0, of_object, seen.mean(axes))  # a slice of air
    mean = mean[(..., *[None] * len(subsets.domain_shape))]
    return gradient_noise(subsets, seen.new_ones(())) * certainty / mean.sqrt()


def gradient_noise(subsets: Subsets, deviation: Tensor) -> float:
    """Standard deviation of the noise in a pixel of ``A^H w (A x - y)``, root mean square.

    What a penalty's slope is measured by: an edge that is to stay must pull harder than noise
    does. By one subset and random signs (Hutchinson's estimate of a trace).

    Parameters
    ----------
    deviation
        Of ``w (A x - y)``, broadcasting to the data: with inverse variances as weights, their root.
    """
    part = subsets.parts[0]
    spread = subsets.cut("deviation", deviation)[0]
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, part.domain_shape, generator=generator).to(spread) * 2 - 1
    power = float((spread * part(signs)).double().square().mean()) * math.prod(subsets.range_shape)
    return math.sqrt(power / signs.numel())
