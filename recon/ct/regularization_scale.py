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
