"""A volume's figures as fastMRI's evaluation defines them, and the same inside the object.

The target comes first. A volume is ``(slice, y, x)``: one figure a volume, its maximum the peak of
PSNR and the range of SSIM.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference import Array, as_array, nmse, psnr, ssim

_OBJECT = 0.1  # of the 99th percentile: what is darker is background
_SMOOTH = 1.0  # pixels: noise of the background has no edges left


def center_crop(image: Array, shape: tuple[int, int]) -> NDArray[Any]:
    """Cut the centre out of ``(..., y, x)`` where fastMRI cuts it: the first index rounds down.

    Raises
    ------
    ValueError
        An image smaller than the crop.
    """
    x = as_array(image)
    if x.ndim < 2 or not all(0 < n <= m for n, m in zip(shape, x.shape[-2:], strict=True)):
        raise ValueError(f"cannot crop {x.shape} to {tuple(shape)}")
    top, left = ((m - n) // 2 for n, m in zip(shape, x.shape[-2:], strict=True))
    cropped: NDArray[Any] = x[..., top : top + shape[0], left : left + shape[1]]
    return cropped


def volume_metrics(target: Array, image: Array) -> dict[str, float]:
    """MSE, NMSE, PSNR and SSIM of one volume, as fastMRI's evaluate.py gives them.

    Target and image are cropped to squares of the target's width first.

    Parameters
    ----------
    target, image
        Magnitudes ``(slice, y, x)``; the image may be larger than the target.

    Returns
    -------
    dict
        ``mse``, ``nmse``, ``psnr`` (dB), ``ssim``.

    Raises
    ------
    ValueError
        No volumes, another number of slices, an image smaller than the target; NaN or infinity.
    """
    t, x = cropped_pair(target, image)
    return {
        "mse": float(np.mean(np.square(t - x, dtype=np.float64))),
        "nmse": nmse(t, x),
        "psnr": psnr(t, x),
        "ssim": ssim(t, x),
    }


def masked_metrics(target: Array, image: Array, mask: Array | None = None) -> dict[str, float]:
    """NMSE, PSNR and SSIM of one volume inside the object, where a reader looks.

    Figures of the full field mostly measure the background: brains differ by some 8 dB.

    Parameters
    ----------
    target, image
        As for `volume_metrics`.
    mask
        Bool ``(slice, y, x)`` on the cropped target, such as a brain mask. Default: `object_mask`.

    Returns
    -------
    dict
        ``nmse``, ``psnr`` (dB), ``ssim``.
    """
    t, x = cropped_pair(target, image)
    inside = object_mask(t) if mask is None else as_array(mask).astype(bool)
    return {
        "nmse": nmse(t, x, mask=inside),
        "psnr": psnr(t, x, mask=inside),
        "ssim": ssim(t, x, mask=inside),
    }


def cropped_pair(target: Array, image: Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both volumes cropped to squares of the target's width, checked."""
    t, x = as_array(target), as_array(image)
    if t.ndim != 3 or x.ndim != 3 or len(t) != len(x):
        raise ValueError(f"expected volumes (slice, y, x) of one depth, got {t.shape}, {x.shape}")
    width = min(t.shape[-1], t.shape[-2]), t.shape[-1]
    t = center_crop(t, width)
    x = center_crop(x, width)
    for name, values in (("target", t), ("image", x)):
        if not np.isfinite(values).all():
            raise ValueError(f"the {name} holds NaN or infinity")
    return t, x


def object_mask(target: Array) -> NDArray[np.bool_]:
    """Where the object is, ``(slice, y, x)``: smoothed magnitude above a tenth, holes filled.

    The largest connected region of a slice and those at least a tenth of its size; a threshold for
    the whole volume, a tenth of its 99th percentile.
    """
    from scipy.ndimage import binary_fill_holes, gaussian_filter, label

    volume = np.abs(as_array(target)).astype(np.float64)
    threshold = _OBJECT * np.percentile(volume, 99)
    mask = np.zeros(volume.shape, dtype=bool)
    slices = volume.reshape(-1, *volume.shape[-2:])
    for bright, found in zip(slices, mask.reshape(slices.shape), strict=True):
        regions, count = label(gaussian_filter(bright, _SMOOTH) > threshold)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        if count:
            large = 1 + np.flatnonzero(sizes >= sizes.max() / 10)
            found[:] = binary_fill_holes(np.isin(regions, large))
    return mask
