"""Samples of the posterior: images that the data and a diffusion prior allow."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from ..models import EDMDenoiser
from ..operators import LinearOperator
from ..solvers.common import Callback, relative_change
from .estimates import decomposed, guided, proximal
from .prior import Denoiser, as_denoiser
from .problem import Problem, make_problem
from .schedule import HIGHEST, LOWEST, noise_levels

log = logging.getLogger("spinray")

Sampler = Literal["dds", "dps", "diffpir", "daps", "langevin"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
Estimate = Callable[[Denoiser, Problem, Tensor, float, float], Tensor]
ESTIMATES: dict[str, Estimate] = {"dds": decomposed, "dps": guided, "diffpir": proximal}
INNER = {"daps": 2, "langevin": 5}  # network passes at each noise level
FINAL = {"langevin": 1}  # and one more at the end
WARM = 0.05  # noise that is added to an initial image, in units of the image
LANGEVIN_STEP = 0.5  # in units of what is stable, half
SEEDS = 1 << 43  # generators take 63 bits, of which the samples have 20


def sample(
    prior: EDMDenoiser | Denoiser,
    A: LinearOperator,
    y: Tensor,
    *,
    sampler: Sampler = "dds",
    samples: int = 1,
    passes: int = 50,
    noise: float | None = None,
    initial: Tensor | None = None,
    start: float | None = None,
    scale: float | None = None,
    weight: float = 1.0,
    eta: float = 1.0,
    seed: int = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Draw images from the posterior of ``y = A x + noise`` under a diffusion prior.

    All samples are drawn at once, each from its own random numbers; where memory does not suffice,
    fewer at a time.

    Parameters
    ----------
    prior
        A trained `EDMDenoiser` (`load_model`), or any `Denoiser`.
    A
        Image ``([z,] y, x)`` to data, such as `Sense` or `XRayTransform`.
    y
        Data of one scan, ``A.range_shape``; its noise must be white.
    sampler
        ``"dds"``: conjugate gradients from the denoised image, weighted by the prior's error (exact
        for a white Gaussian prior). ``"dps"``: gradients through the network. ``"diffpir"``:
        proximal steps, half of the noise new at each level. ``"daps"``: draws a clean image at each
        level and adds noise again. ``"langevin"``: annealed Langevin dynamics.
    samples
        How many images.
    passes
        Through the network for each sample, at most; `daps` takes at least 2, `langevin` 6.
    noise
        Standard deviation of the data's noise (of the real part). Default: from the finest
        wavelet coefficients of a least-squares image, which also hold aliasing.
    initial
        Image to start from, such as a classical reconstruction. Default: noise alone.
    start
        Noise that is added to `initial`, in units of `scale`, above 0. Default: 0.05; without an
        initial image the schedule's highest.
    scale
        Unit of the image. Default: water for a real `EDMDenoiser`; the robust maximum of the
        initial or a least-squares image for a complex one; 1 for other denoisers.
    weight
        Multiplies how much the data count against the prior.
    eta
        Part of the noise that is drawn anew at each level, 0 to 1; `dds` and `dps`.
    seed
        Of all that is random.
    callback
        ``callback(pass, x, change)`` after each pass.

    Returns
    -------
    Tensor
        ``(sample, [z,] y, x)``.

    Raises
    ------
    ValueError
        Options out of range, an unknown sampler, data or an initial image that do not fit the
        operator or the prior, an operator that is zero.
    TypeError
        A prior that is none.

    References
    ----------
    H. Chung et al., DDS, ICLR (2024); H. Chung et al., DPS, ICLR (2023); Y. Zhu et al., DiffPIR,
    CVPR Workshops (2023); B. Zhang et al., DAPS, CVPR (2025); A. Jalal et al., NeurIPS (2021).
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    if samples < 1 or passes < 1 or not weight > 0 or not 0 <= eta <= 1:
        raise ValueError(
            f"samples and passes must be 1 or more, weight positive, eta 0 to 1: got {samples}, "
            f"{passes}, {weight}, {eta}"
        )
    seeds = _seeds(seed, samples)
    problem = make_problem(prior, A, y, noise, scale, initial)
    if start is None:
        start = HIGHEST if initial is None else WARM
    count = max(1, (passes - FINAL.get(sampler, 0)) // INNER.get(sampler, 1))
    levels = noise_levels(count, start, min(LOWEST, start))
    like = problem.adjoint_data
    first = torch.zeros_like(like) if initial is None else initial.to(like) / problem.scale

    def run(draws: Draws) -> Tensor:
        # the tiles' places begin anew, whatever number of samples memory allows
        denoiser = as_denoiser(prior, seed)
        x = first + levels[0] * draws(like)
        if sampler == "langevin":
            return _langevin(denoiser, problem, x, levels, weight, draws, callback)
        if sampler == "daps":
            return _decoupled(denoiser, problem, x, levels, weight, draws, callback)
        change = diffpir_renoised if sampler == "diffpir" else ancestral
        return _descend(
            denoiser, problem, x, levels, ESTIMATES[sampler], weight, eta, change, draws, callback
        )

    return problem.scale * fitting_memory(run, seeds)


def draw(
    prior: EDMDenoiser | Denoiser,
    shape: tuple[int, ...],
    *,
    samples: int = 1,
    passes: int = 50,
    seed: int = 0,
    complex_images: bool = True,
) -> Tensor:
    """Draw images from the prior alone, in its own unit: what it believes in.

    Parameters
    ----------
    prior
        A trained `EDMDenoiser`, or any `Denoiser`.
    shape
        ``([z,] y, x)``.
    samples, passes, seed
        As `sample`.
    complex_images
        Of a `Denoiser` that is no `EDMDenoiser`: whether its images are complex.

    Returns
    -------
    Tensor
        ``(sample, [z,] y, x)`` in single precision, where the network is.

    Raises
    ------
    ValueError
        No sample or no pass.
    """
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"shape must be ([z,] y, x), got {shape}")
    denoiser = as_denoiser(prior, seed)
    device = torch.device("cpu")
    if isinstance(prior, EDMDenoiser):
        complex_images, device = prior.complex_images, prior.head.weight.device
    levels = noise_levels(passes)
    dtype = torch.complex64 if complex_images else torch.float32
    like = torch.zeros(shape, dtype=dtype, device=device)
    draws = Draws(_seeds(seed, samples))
    x = levels[0] * draws(like)
    with torch.no_grad():
        for sigma, following in zip(levels, [*levels[1:], 0.0], strict=True):
            x = ancestral(x, denoiser(x, sigma), sigma, following, 1.0, draws)
    return x


class Draws:
    """White noise for each sample from its own generator, so that samples do not depend on others.

    Parameters
    ----------
    seeds
        One a sample.
    """

    def __init__(self, seeds: list[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """``(sample, *like.shape)``, of unit variance in either part."""
        factor = math.sqrt(2) if like.is_complex() else 1.0
        drawn = [torch.randn(like.shape, dtype=like.dtype, generator=g) for g in self._generators]
        return factor * torch.stack(drawn).to(like.device)


def _seeds(seed: int, samples: int) -> list[int]:
    """One for each sample; no two of them alike, whatever `seed` they come from."""
    if samples < 1 or not abs(seed) < SEEDS:  # `draw` has no other check
        raise ValueError(
            f"samples must be 1 or more and the seed below 2^43, got {samples} and {seed}"
        )
    return [(seed << 20) + index for index in range(samples)]


def _descend(
    prior: Denoiser,
    problem: Problem,
    x: Tensor,
    levels: list[float],
    estimate: Estimate,
    weight: float,
    eta: float,
    renoise: Callable[[Tensor, Tensor, float, float, float, Draws], Tensor],
    draws: Draws,
    callback: Callback | None,
) -> Tensor:
    """From level to level: estimate the clean image, and add the next level's noise to it."""
    for index, sigma in enumerate(levels):
        clean = estimate(prior, problem, x, sigma, weight)
        following = levels[index + 1] if index + 1 < len(levels) else 0.0
        _report(callback, index, x, clean)
        x = renoise(x, clean, sigma, following, eta, draws)
    return x


def ancestral(
    x: Tensor, clean: Tensor, sigma: float, following: float, eta: float, draws: Draws
) -> Tensor:
    """The next x: noise that x has, scaled down, and new noise; eta of the reverse diffusion's."""
    fresh = eta * following * math.sqrt(1 - (following / sigma) ** 2)
    kept = math.sqrt(following**2 - fresh**2) / sigma
    x = clean + kept * (x - clean)
    return x if fresh == 0 else x + fresh * draws(x[0])


def diffpir_renoised(
    x: Tensor, clean: Tensor, sigma: float, following: float, eta: float, draws: Draws
) -> Tensor:
    """The next x as DiffPIR has it: half of the noise's variance is new, at any eta."""
    if following == 0:
        return clean
    share = math.sqrt(0.5)
    return clean + share * (following / sigma * (x - clean) + following * draws(x[0]))


def _decoupled(
    prior: Denoiser,
    problem: Problem,
    x: Tensor,
    levels: list[float],
    weight: float,
    draws: Draws,
    callback: Callback | None,
) -> Tensor:
    """DAPS: a clean image from x and the data at each level, then the next level's noise on it.

    The clean image is drawn by perturbed least squares, which is exact for linear operators: the
    paper runs Langevin dynamics instead.
    """
    count = 0
    with torch.no_grad():
        for index, sigma in enumerate(levels):
            clean, inner = x, [sigma] if sigma <= 2 * LOWEST else noise_levels(INNER["daps"], sigma)
            for place, level in enumerate(inner):
                following = inner[place + 1] if place + 1 < len(inner) else 0.0
                clean = ancestral(clean, prior(clean, level), level, following, 0.0, draws)
                _report(callback, count, x, clean)
                count += 1
            deviation = math.sqrt(weight) * prior.deviation(sigma)
            if index + 1 == len(levels):
                return problem.consistent(clean, deviation)
            noisy = problem.y + problem.noise * draws(problem.y)
            around = clean + deviation * draws(clean[0])
            drawn = problem.consistent(around, deviation, data=problem.A.adjoint(noisy))
            x = drawn + levels[index + 1] * draws(drawn[0])
    return x


def _langevin(
    prior: Denoiser,
    problem: Problem,
    x: Tensor,
    levels: list[float],
    weight: float,
    draws: Draws,
    callback: Callback | None,
) -> Tensor:
    """Annealed Langevin dynamics: small steps uphill and noise, at each level for a while.

    A has unit norm, so that the curvatures of data and prior add up to what bounds the step.
    """
    count = 0
    with torch.no_grad():
        for sigma in levels:
            width = (problem.noise**2 + sigma**2) / weight
            step = LANGEVIN_STEP / (1 / sigma**2 + 1 / width)
            for _ in range(INNER["langevin"]):
                slope = (prior(x, sigma) - x) / sigma**2
                slope += (problem.adjoint_data - problem.A.normal(x)) / width
                moved = x + step * slope
                _report(callback, count, x, moved)
                count += 1
                x = moved + math.sqrt(2 * step) * draws(x[0])
        deviation = math.sqrt(weight) * prior.deviation(levels[-1])
        return problem.consistent(prior(x, levels[-1]), deviation)


def fitting_memory(run: Callable[[Draws], Tensor], seeds: list[int]) -> Tensor:
    """Run all samples at once, or fewer at a time where memory is short, with a warning."""
    size = len(seeds)
    done: list[Tensor] = []
    while sum(map(len, done)) < len(seeds):
        first = sum(map(len, done))
        try:
            done.append(run(Draws(seeds[first : first + size])))
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if size == 1 or not _of_memory(error):
                raise
            size = -(-size // 2)
            warnings.warn(f"out of memory: going on with {size} samples at a time", stacklevel=3)
    return torch.cat(done)


def _of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "allocate memory" in str(error) or "out of memory" in str(error)


def _report(callback: Callback | None, index: int, x: Tensor, clean: Tensor) -> None:
    if callback is not None:
        callback(index, clean, relative_change(clean - x, clean))
