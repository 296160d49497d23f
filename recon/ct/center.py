"""Where the axis of rotation falls on the detector."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from .center_vo import wedge_center

Array = NDArray[np.float64]
CenterMethod = Literal["correlation", "vo"]

_WHOLE_TURN = np.deg2rad(340)
_MIDDLE, _ANYWHERE = 0.25, 0.02  # of the columns left out at each end of the search


def center_of_rotation(
    sinogram: Tensor, angles: ArrayLike, method: CenterMethod = "correlation"
) -> float:
    """Column that the axis of rotation falls on, from a parallel scan over at least 180°.

    ``"correlation"``: the view at t + 180° is the view at t mirrored at the axis. Each measured
    view that has partners near t + 180° is compared with their interpolation, mirrored about trial
    centres: the centre with the least squared difference of the views' slopes wins, to a fraction
    of a column. Slopes, because they see edges and not a drift of the beam. Over a whole turn the
    axis may lie anywhere, as in half-acquired scans (offset detector, twice the field of view).

    ``"vo"``: the axis for which the sinogram and its mirror image make a whole turn, whose Fourier
    transform vanishes outside a double wedge; axes in the middle half of the detector.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, column)``; batch axes are averaged over.
    angles
        View angles in radians, ``(view,)``.
    method
        ``"correlation"`` or ``"vo"``: two ways that share no step, to check one by the other.

    Returns
    -------
    float
        Column, counted from 0; ``column_offset = (columns - 1) / 2 - centre``.

    Raises
    ------
    ValueError
        Angles that do not cover 180°, shapes that do not fit, an unknown method.

    References
    ----------
    N. T. Vo et al., Opt Express 22, 19078 (2014); N. T. Vo et al., Opt Express 29, 17849 (2021).
    """
    t = np.asarray(angles, dtype=np.float64)
    views = torch.as_tensor(sinogram).detach().cpu().double()
    if t.ndim != 1 or views.ndim < 2 or views.shape[-2] != len(t):
        raise ValueError(
            f"sinogram {tuple(views.shape)} and angles {t.shape} must be (*batch, view, column) "
            "and (view,)"
        )
    if method not in get_args(CenterMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(CenterMethod))}, got {method}")
    order = np.argsort(t)
    data = views.reshape(-1, *views.shape[-2:]).numpy()[:, order]
    t = t[order]
    columns = data.shape[-1]
    first, second = _opposite_views(data, t)
    if method == "vo":
        half = t - t[0] < np.pi - 0.5 * _step(t)  # the view at 180° is the first, mirrored
        ends = _MIDDLE * columns, (1 - _MIDDLE) * columns
        return wedge_center(data[:, half].mean(0), *ends)
    first, second = (_smooth(np.gradient(one, axis=-1)) for one in (first, second))
    margin = (_ANYWHERE if np.ptp(t) > _WHOLE_TURN else _MIDDLE) * columns
    trial = np.arange(margin, columns - margin, 0.5)
    best = trial[np.argmin([_mismatch(first, second, c) for c in trial])]
    fine = minimize_scalar(
        lambda c: _mismatch(first, second, c), bounds=(best - 1, best + 1), method="bounded",
        options={"xatol": 1e-3},
    )  # fmt: skip
    return float(fine.x)


def _step(t: Array) -> float:
    return float(np.ptp(t)) / max(len(t) - 1, 1)


def _opposite_views(data: Array, t: Array) -> tuple[Array, Array]:
    """Views ``(pair, column)`` and their partners half a turn on, interpolated over the angle."""
    step = _step(t)
    paired = np.flatnonzero(t + np.pi <= t[-1] + 0.01 * step)
    if not paired.size:  # a scan over 180° that leaves out its last view: drawn on by a step
        paired = np.flatnonzero(t + np.pi <= t[-1] + 1.5 * step)
    if not paired.size:
        raise ValueError(
            f"the views cover {np.rad2deg(np.ptp(t) + step):.1f}°: the centre of rotation needs "
            "views half a turn apart (180°)"
        )
    target = t[paired] + np.pi
    high = np.clip(np.searchsorted(t, target), 1, len(t) - 1)
    share = (target - t[high - 1]) / np.maximum(t[high] - t[high - 1], 1e-12)
    partner = (1 - share)[:, None] * data[:, high - 1] + share[:, None] * data[:, high]
    columns = data.shape[-1]
    return data[:, paired].reshape(-1, columns), partner.reshape(-1, columns)


def _mismatch(first: Array, second: Array, center: float) -> float:
    """Squared difference of slopes and their partners', mirrored about `center`, over their own.

    About 1 where they have nothing in common, however few columns overlap.
    """
    columns = first.shape[-1]
    position = 2 * center - np.arange(columns)
    inside = (position >= 0) & (position <= columns - 1)
    low = np.clip(position[inside].astype(int), 0, columns - 2)
    share = position[inside] - low
    mirrored = (1 - share) * second[:, low] + share * second[:, low + 1]
    here = first[:, inside]
    return float(np.sum((here + mirrored) ** 2) / max(np.sum(here**2) + np.sum(mirrored**2), 1e-30))


def _smooth(views: Array) -> Array:
    """Average neighbours: linear interpolation alone favours whole columns."""
    padded = np.pad(views, ((0, 0), (2, 2)), mode="edge")
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return np.asarray(sum(k * padded[:, i : i + views.shape[1]] for i, k in enumerate(kernel)))
