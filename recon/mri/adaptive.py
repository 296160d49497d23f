"""Coil maps from the images themselves: the adaptive combination's local eigenvectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .calibration import require_coil_axes
from .eigenvectors import dominant, virtual_coils

_CHUNK = 1 << 21  # entries of the coil-by-coil matrices held at once


def walsh(coil_images: Tensor, *, window: int = 5, ndim: int = 2, iterations: int = 4) -> Tensor:
    """Sensitivity maps: the dominant eigenvector of each pixel's local coil covariance.

    The covariance is averaged over a window around the pixel, cut at the border of the image.
    Vectors and phase are as in `espirit`: unit length, real and positive in the dominant virtual
    coil of the whole image. The images must be free of aliasing, and their noise white.

    Parameters
    ----------
    coil_images
        Complex ``(*batch, coil, [z,] y, x)``.
    window
        Width of the window in pixels, odd.
    ndim
        Axes of space: 3 for volumes.
    iterations
        Steps of subspace iteration with the eighth power of each pixel's matrix.

    Returns
    -------
    Tensor
        ``(*batch, coil, [z,] y, x)``.

    Raises
    ------
    ValueError
        Real images, too few axes, an even window.

    References
    ----------
    D. O. Walsh et al., Magn Reson Med 43, 682 (2000).
    """
    require_coil_axes("coil images", coil_images, ndim)
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be odd, got {window}")
    items = coil_images.reshape(-1, *coil_images.shape[-ndim - 1 :])
    with torch.no_grad():
        maps = torch.stack([_maps(item, window, iterations) for item in items])
    return maps.reshape(coil_images.shape)


def _maps(images: Tensor, window: int, iterations: int) -> Tensor:
    coils, rows = images.shape[0], images.shape[1]
    images = images / images.abs().max().clamp_min(torch.finfo(images.real.dtype).tiny)
    principal = virtual_coils(images.flatten(1))
    maps = torch.empty_like(images)
    pairs = torch.tril_indices(coils, coils, device=images.device)
    reach = window // 2
    step = max(1, _CHUNK // (coils * coils * math.prod(images.shape[2:])))
    for first in range(0, rows, step):
        last = min(first + step, rows)
        slab = images[:, max(0, first - reach) : min(rows, last + reach)]
        covariance = _covariance(slab, window)[:, :, min(first, reach) :][:, :, : last - first]
        entries = covariance.flatten(2)[pairs[0], pairs[1]]
        vectors = dominant(entries, principal, iterations)[1][0]
        maps[:, first:last] = vectors.reshape(maps[:, first:last].shape)
    return maps


def _covariance(images: Tensor, window: int) -> Tensor:
    """Sum over each pixel's window of ``image image^H``, ``(coil, coil, *space)``."""
    total = images[:, None] * images[None].conj()
    for axis in range(2, total.ndim):
        padding = [0, 0] * (total.ndim - 1 - axis) + [window // 2, window // 2]
        total = torch.nn.functional.pad(total, padding).unfold(axis, window, 1).sum(-1)
    return total
