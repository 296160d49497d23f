"""Losses and figures that torch differentiates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 7  # pixels a side, as in fastMRI's evaluation
GOOD_ENOUGH = 1e-3  # error over the maximum: below it, images weigh less and less in "psnr"
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def ssim(image: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    """Structural similarity, 7 x 7 uniform window, sample covariance: scikit-image's, as fastMRI's.

    Parameters
    ----------
    image, target
        ``(batch, y, x)``, 7 pixels or more a side.
    maximum
        Data range, ``(batch,)``: the volume's maximum.

    Returns
    -------
    Tensor
        Mean over images, one element. Z. Wang et al., IEEE Trans Image Process 13, 600 (2004).
    """
    x, t = image[:, None], target[:, None]
    mean_x, mean_t, xx, tt, xt = (
        functional.avg_pool2d(v, WINDOW, 1) for v in (x, t, x * x, t * t, x * t)
    )
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    var_x = unbiased * (xx - mean_x**2)
    var_t = unbiased * (tt - mean_t**2)
    covariance = unbiased * (xt - mean_x * mean_t)
    c1, c2 = ((k * maximum.reshape(-1, 1, 1, 1)) ** 2 for k in (0.01, 0.03))
    upper = (2 * mean_x * mean_t + c1) * (2 * covariance + c2)
    lower = (mean_x**2 + mean_t**2 + c1) * (var_x + var_t + c2)
    return (upper / lower).mean()


def nmse(image: Tensor, target: Tensor) -> Tensor:
    """Squared error over the target's squared norm, mean over images ``(batch, y, x)``."""
    error = (image - target).square().sum((-2, -1))
    return (error / target.square().sum((-2, -1)).clamp_min(1e-30)).mean()


def psnr(image: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB by the volume's maximum, mean over images."""
    error = (image - target).square().mean((-2, -1))
    return (10 * torch.log10(maximum**2 / error.clamp_min(1e-30))).mean()


def training_loss(name: str) -> Loss:
    """Return ``loss(image, target, maximum)`` by name, each without unit.

    ``"ssim"`` is one less the similarity; ``"l1"`` and ``"mse"`` are errors over the maximum (its
    square); ``"nmse"`` is over the target's energy; ``"ssim+l1"`` is the sum of both; ``"psnr"`` is
    the negative ratio in dB over ten, in which an easy image weighs as much as a hard one, up to
    60 dB: slices of little but air would give gradients without bounds.

    Raises
    ------
    ValueError
        Another name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]


def _ssim_loss(image: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    return 1 - ssim(image, target, maximum)


def _l1(image: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    return ((image - target).abs().mean((-2, -1)) / maximum).mean()


def _mse(image: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    return ((image - target).square().mean((-2, -1)) / maximum**2).mean()


def _negative_psnr(image: Tensor, target: Tensor, maximum: Tensor) -> Tensor:
    relative = (image - target).square().mean((-2, -1)) / maximum**2
    return torch.log10(relative + GOOD_ENOUGH**2).mean()


LOSSES: dict[str, Loss] = {
    "ssim": _ssim_loss,
    "l1": _l1,
    "mse": _mse,
    "nmse": lambda image, target, maximum: nmse(image, target),
    "ssim+l1": lambda image, target, maximum: (
        _ssim_loss(image, target, maximum) + _l1(image, target, maximum)
    ),
    "psnr": _negative_psnr,
}
