"""Whether an image is like those that a prior was trained on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models import EDMDenoiser
from .prior import Prior
from .samplers import Draws

LEVELS = 0.05, 0.2  # noise levels at which the prior is tried
CLEAR = 2.0  # times the largest error of the training: below, images differ as patients do


def novelty(prior: EDMDenoiser, image: Tensor, *, scale: float, seed: int = 0) -> float:
    """Error that the prior makes denoising an image, over its error in validation.

    About 1 for images like those of the training; an anatomy or contrast that it has not seen is
    denoised worse. The largest ratio over several noise levels is returned.

    Parameters
    ----------
    prior
        A trained denoiser whose file says its errors.
    image
        ``([z,] y, x)``, reconstructed by another method.
    scale
        Unit of the image in which the prior works, as of `sample`.
    seed
        Of the noise that is added.

    Raises
    ------
    ValueError
        A prior that does not know its errors.
    """
    if not prior.training_facts.get("figures", {}).get("denoising"):
        raise ValueError("this prior's file does not say what errors it made in validation")
    denoise, draws = Prior(prior, seed=seed), Draws([seed])
    clean = image / scale
    parts = 2 if image.is_complex() else 1
    ratios = []
    with torch.no_grad():
        for sigma in LEVELS:
            noisy = clean + sigma * draws(clean)[0]
            error = float((denoise(noisy, sigma) - clean).abs().square().mean() / parts)
            ratios.append(math.sqrt(error) / denoise.deviation(sigma))
    return max(ratios)
