"""Axis of rotation by the double wedge that a whole turn's sinogram leaves in Fourier space."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

Array = NDArray[np.float64]

_RADIUS = 0.5  # of the object over the detector's width: the wedge is no wider
_COARSE, _FINE, _STEP = 4.0, 1.5, 0.125  # columns of the steps and the reach of the searches


def wedge_center(sinogram: Array, low: float, high: float) -> float:
    """Column of the axis from views over 180°, ``(view, column)``, by Vo's method.

    The sinogram is completed to a whole turn by its own mirror image about a trial axis. The
    Fourier transform of a true whole turn vanishes outside a double wedge; what is found there
    comes from the axis being wrong. Views are not smoothed before: their ends would be, to one
    side only, and the two halves would not meet.

    N. T. Vo et al., Opt Express 22, 19078 (2014).
    """
    views, columns = sinogram.shape
    factor = max(columns // 512, 1)
    thin = sinogram[:, : columns // factor * factor].reshape(views, -1, factor).mean(-1)
    ends = [(edge - (factor - 1) / 2) / factor for edge in (low, high)]
    coarse = np.arange(ends[0], ends[1], max(_COARSE / factor, 1.0))
    around = coarse[np.argmin(_outside(thin, coarse))]
    near = np.arange(around - _COARSE, around + _COARSE + 0.5, 1.0)
    around = near[np.argmin(_outside(thin, near))] * factor + (factor - 1) / 2
    fine = np.arange(around - _FINE, around + _FINE + _STEP / 2, _STEP)
    values = _outside(sinogram, fine)
    best = int(np.argmin(values))
    if not 0 < best < len(fine) - 1:
        return float(fine[best])
    # The vertex of the parabola through the least value and its neighbours.
    left, here, right = values[best - 1 : best + 2]
    bend = left - 2 * here + right
    return float(fine[best] + (0.5 * (left - right) / bend if bend > 0 else 0.0) * _STEP)


def _outside(sinogram: Array, centers: Array) -> Array:
    """Mean magnitude outside the double wedge for each trial axis."""
    views, columns = sinogram.shape
    upside_down = sinogram[::-1]
    spline = spline_filter1d(sinogram[:, ::-1], 3, axis=1, mode="mirror")
    mask = torch.from_numpy(_wedge_mask(2 * views, columns))
    values = np.empty(len(centers))
    for number, center in enumerate(centers):
        move = 2 * center - (columns - 1)
        other = _shifted(spline, move)
        empty = int(np.ceil(abs(move)))
        if empty:  # what the mirror image does not reach: any smooth continuation will do
            side = slice(0, empty) if move > 0 else slice(columns - empty, columns)
            other[:, side] = upside_down[:, side]
        turn = torch.from_numpy(np.concatenate([sinogram, other]))
        spectrum = torch.fft.rfft2(turn).abs()
        values[number] = float((spectrum * mask).mean())
    return values


def _shifted(spline: Array, move: float) -> Array:
    """Views moved to higher columns, from coefficients of their cubic splines."""
    columns = spline.shape[1]
    whole = int(np.floor(move))
    t = 1 - (move - whole)  # of the way from a column to the next
    weights = (1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * t * (1 + t - t**2) + 1, t**3
    place = np.arange(columns) - whole - 1
    taps = (w / 6 * spline[:, np.clip(place + k, 0, columns - 1)]
            for k, w in zip((-1, 0, 1, 2), weights, strict=True))  # fmt: skip
    return np.asarray(sum(taps))


def _wedge_mask(views: int, columns: int) -> Array:
    """1 outside the double wedge and off the axes of the ``rfft2`` of a turn, 0 elsewhere."""
    turn = np.abs(np.fft.fftfreq(views, 1 / views))[:, None]  # cycles a turn
    across = np.fft.rfftfreq(columns)[None, :]  # cycles a column
    wedge = 2 * np.pi * across * _RADIUS * columns
    keep = (turn > wedge + 2) & (across > 0) & (turn < 0.45 * views)
    return np.asarray(keep, dtype=np.float64)
