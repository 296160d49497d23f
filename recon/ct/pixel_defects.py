"""Detector pixels that must not be believed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor

from .photon_transfer import has_frames

_NEIGHBOURS = 11  # pixels a side that a pixel is compared with
_FEW_SIGMA = 10.0
_TOGETHER = 64  # columns whose readings are taken to float64 together


def bad_pixels(
    blank: Tensor,
    dark: Tensor | float | None = None,
    counts: Tensor | None = None,
    *,
    saturation: float | None = None,
    detector_ndim: int = 1,
) -> Tensor:
    """Find pixels that are dead, saturated without object or mostly, odd, noisy or stuck.

    A pixel is odd if its blank reading lies beyond half and twice its neighbours' median and far
    from how these scatter; noisy if the frames of the blank scan vary five times as much as its
    neighbours'; stuck if its readings hardly change from view to view while its neighbours' do.

    Parameters
    ----------
    blank, dark
        Readings without object and without beam, ``([frame,] [row,] column)``, or numbers.
    counts
        Readings ``(view, [row,] column)``, to find stuck pixels, and those that are saturated in
        most views.
    saturation
        Reading at which the detector saturates.
    detector_ndim
        1 for a detector of columns, 2 for rows and columns.

    Returns
    -------
    Tensor
        Bool ``([row,] column)``, for ``line_integrals(..., bad=...)``.

    Raises
    ------
    ValueError
        A blank scan without pixels; readings that are all zero, or saturated in most pixels.
    """
    reading = torch.as_tensor(blank).double().cpu()
    if reading.ndim < detector_ndim or reading.ndim > detector_ndim + 1:
        raise ValueError(
            f"blank must be ([frame,] {'row, ' * (detector_ndim == 2)}column), got shape "
            f"{tuple(reading.shape)}"
        )
    mean = _mean(reading, detector_ndim)
    level = (
        mean - _mean(torch.as_tensor(0.0 if dark is None else dark).double().cpu(), detector_ndim)
    ).numpy()
    if not (level > 0).any():
        raise ValueError("no pixel reads more with beam than without: blank is all zero or dark")
    bad = level <= 0
    if saturation is not None:
        saturated = mean.numpy() >= saturation
        if saturated.mean() > 0.5:
            raise ValueError(
                f"{saturated.sum()} of {saturated.size} pixels of the blank scan are saturated "
                f"(at {saturation:g} and above): no line integrals can be taken"
            )
        bad |= saturated
    around = _median(np.where(level > 0, level, np.nan))
    ratio = np.abs(np.log(np.where(bad, around, level) / around))
    scatter = 1.4826 * np.median(ratio)
    bad |= (ratio > np.log(2)) & (ratio > _FEW_SIGMA * scatter)
    if has_frames(reading, detector_ndim):
        noise = reading.std(dim=0).numpy()
        bad |= noise > 5 * _median(noise) + 1e-12
    if counts is not None:
        readings = torch.as_tensor(counts)
        parts = [
            readings[..., first : first + _TOGETHER].double().std(dim=0).cpu()
            for first in range(0, readings.shape[-1], _TOGETHER)
        ]
        spread = torch.cat(parts, dim=-1).numpy()
        bad |= spread < 0.05 * _median(spread)
        if saturation is not None:
            clipped = (readings >= saturation).mean(dim=0, dtype=torch.float32)
            bad |= (clipped > 0.5).cpu().numpy()
    return torch.from_numpy(bad).to(torch.as_tensor(blank).device)


def _mean(reading: Tensor, detector_ndim: int) -> Tensor:
    return reading.mean(dim=0) if reading.ndim > detector_ndim else reading


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each pixel's neighbourhood; NaN counts as the median of all."""
    filled = np.where(np.isnan(values), np.nanmedian(values), values)
    return np.asarray(median_filter(filled, size=_NEIGHBOURS, mode="nearest"))
