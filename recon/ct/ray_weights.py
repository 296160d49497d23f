"""What each ray is worth: the weights of statistical reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor


def statistical_weights(
    photons: Tensor, *, electronic_noise: float = 0.0, bad: Tensor | None = None
) -> Tensor:
    """Inverse variance of line integrals: ``y^2 / (y + s^2)`` for a reading of y photons.

    These are the weights of penalised weighted least squares; without electronic noise, the
    photons themselves. Readings at or below zero tell nothing and weigh nothing.

    Parameters
    ----------
    photons
        Readings less the dark scan in photons, ``(*batch, view, [row,] column)``: counts over
        `detector_gain`, or ``N * exp(-sinogram)`` where only line integrals are left.
    electronic_noise
        Standard deviation in photons.
    bad
        Pixels that weigh nothing, bool, broadcasting to the readings; see `bad_pixels`.

    Returns
    -------
    Tensor
        Shaped as the readings, zero or more.

    Raises
    ------
    ValueError
        Negative electronic noise, readings none of which is above zero.

    References
    ----------
    K. Sauer, C. Bouman, IEEE Trans Signal Process 41, 534 (1993); J.-B. Thibault et al., Proc SPIE
    6065, 60650X (2006).
    """
    if electronic_noise < 0:
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}")
    signal = torch.as_tensor(photons).clamp_min(0)
    if not bool((signal > 0).any()):
        raise ValueError("no reading is above zero: there is nothing to weigh")
    tiny = torch.finfo(signal.dtype).tiny
    weights = signal.square() / (signal + electronic_noise**2).clamp_min(tiny)
    return weights if bad is None else torch.where(bad, 0.0, weights)
