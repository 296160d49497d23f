"""Combining coil images without maps."""

from __future__ import annotations

import torch
from torch import Tensor

DEAD = 1e-4  # of the strongest coil's root mean square: an unplugged coil has no noise either


def root_sum_of_squares(coil_images: Tensor, ndim: int = 2) -> Tensor:
    """Combine the magnitudes of coil images: the reference image of fully sampled data.

    Parameters
    ----------
    coil_images
        ``(*batch, coil, [z,] y, x)``, real or complex.
    ndim
        Axes of space: 3 for volumes.
    """
    combined: Tensor = torch.linalg.vector_norm(coil_images, dim=-ndim - 1)
    return combined


def live_coils(kspace: Tensor, noise: Tensor | None = None, *, ndim: int = 2) -> Tensor:
    """Which coils receive anything: those that are dead carry no signal and no noise.

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, *samples)`` with `ndim` axes of samples.
    noise
        Noise-only samples ``(coil, sample)``.
    ndim
        Axes after the coil axis: 1 for trajectories, 2 or 3 for a matrix.

    Returns
    -------
    Tensor
        Bool ``(coil,)``; all false if k-space is zero.
    """
    live: Tensor | None = None
    for data in (kspace.movedim(kspace.ndim - ndim - 1, 0), noise):
        if data is None:
            continue
        flat = data.flatten(1)
        size = torch.linalg.vector_norm(flat / flat.abs().max().clamp_min(1e-30), dim=1)
        found = (size > DEAD * size.max()) & (size > 0)
        live = found if live is None else live & found
    assert live is not None
    return live
