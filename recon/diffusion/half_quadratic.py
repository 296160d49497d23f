"""Plug-and-play reconstruction: a denoiser in the place of a regulariser."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models import EDMDenoiser
from ..operators import LinearOperator
from ..solvers.common import Callback, relative_change
from .prior import Denoiser, as_denoiser
from .problem import make_problem
from .samplers import WARM
from .schedule import noise_levels

WEIGHT = 5.0  # a denoiser takes more away than the noise: DPIR's factor, 0.23, is about the inverse
LAST = 0.4  # of the denoiser's level, in units of the data's noise in the image
LEAST = 0.002  # level: networks have hardly seen lower ones


def plug_and_play(
    prior: EDMDenoiser | Denoiser,
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 20,
    noise: float | None = None,
    initial: Tensor | None = None,
    start: float | None = None,
    scale: float | None = None,
    weight: float = WEIGHT,
    momentum: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """One image by half-quadratic splitting: denoise at a falling level, fit the data, repeat.

    Parameters
    ----------
    prior, A, y, noise, scale
        As `spinray.diffusion.sample`.
    iterations
        Network passes.
    initial
        Image to start from. Default: zero.
    start
        First noise level of the denoiser, in units of `scale`. Default: 0.05, and 1 without an
        initial image.
    weight
        Multiplies how much the data count against the denoiser.
    momentum
        Part of a pass's change that the next one adds, 0 to below 1. Much of it helps where the
        data leave a part of the image open, such as limited angles, and harms elsewhere.
    callback
        ``callback(pass, x, change)`` after each pass.

    Returns
    -------
    Tensor
        ``([z,] y, x)``.

    Raises
    ------
    ValueError
        As `spinray.diffusion.sample`.

    References
    ----------
    S. V. Venkatakrishnan et al., GlobalSIP (2013); K. Zhang et al., DPIR, IEEE TPAMI 44, 6360
    (2022).
    """
    if not weight > 0:
        raise ValueError(f"weight must be positive, got {weight}")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie from 0 to below 1, got {momentum}")
    problem = make_problem(prior, A, y, noise, scale, initial)
    denoiser = as_denoiser(prior)
    if start is None:
        start = 1.0 if initial is None else WARM
    low = min(start, max(LAST * problem.noise, LEAST))
    like = problem.adjoint_data
    x = (torch.zeros_like(like) if initial is None else initial.to(like) / problem.scale)[None]
    last = x
    with torch.no_grad():
        for index, sigma in enumerate(noise_levels(iterations, start, low)):
            fitted = problem.consistent(x, math.sqrt(weight) * sigma)
            denoised = denoiser(fitted, sigma)
            if callback is not None:
                callback(index, denoised, relative_change(denoised - fitted, denoised))
            x = denoised + momentum * (denoised - last)
            last = denoised
        x = problem.consistent(last, math.sqrt(weight) * low)
    return problem.scale * x[0]
