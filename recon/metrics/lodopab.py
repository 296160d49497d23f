"""Figures of the LoDoPaB-CT challenge, with each image's own range and with a fixed one."""

from __future__ import annotations

import numpy as np

from .reference import Array, as_array, psnr, ssim

MAXIMUM = 0.08135858  # 1/mm: attenuation at 3071 HU, by which the data set divides its images


def lodopab_metrics(target: Array, image: Array, *, maximum: float = MAXIMUM) -> dict[str, float]:
    """PSNR and SSIM by both conventions of the LoDoPaB-CT challenge, mean over the images.

    Parameters
    ----------
    target, image
        ``(y, x)`` or ``(image, y, x)``, attenuation in 1/mm.
    maximum
        The fixed range; 1 for images in the data set's own units.

    Returns
    -------
    dict
        ``psnr`` and ``ssim`` with the range (maximum - minimum) of each target, ``psnr_fr`` and
        ``ssim_fr`` with the fixed range. PSNR in dB.

    Raises
    ------
    ValueError
        Shapes that differ, a target without contrast.

    References
    ----------
    J. Leuschner et al., J Imaging 7, 44 (2021).
    """
    t, x = as_array(target), as_array(image)
    if t.shape != x.shape or t.ndim not in (2, 3):
        raise ValueError(f"expected (y, x) or (image, y, x) of one shape, got {t.shape}, {x.shape}")
    rows = []
    for a, b in zip(t.reshape(-1, *t.shape[-2:]), x.reshape(-1, *t.shape[-2:]), strict=True):
        own = float(a.max() - a.min())
        if not own > 0:
            raise ValueError("a target without contrast has no range for PSNR")
        ranges = (own, maximum)
        rows.append([f(a, b, data_range=r) for f in (psnr, ssim) for r in ranges])
    means = np.mean(rows, axis=0).tolist()
    return dict(zip(("psnr", "psnr_fr", "ssim", "ssim_fr"), means, strict=True))
