"""Where the axis of rotation falls on the detector."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

Array = NDArray[np.float64]


def center_of_rotation(sinogram: Tensor, angles: ArrayLike) -> float:
    """Column that the axis of rotation falls on, from a parallel scan over at least 180°.

    The view at t + 180° is the view at t mirrored at the axis. Each measured view that has
    partners near t + 180° is compared with their interpolation, mirrored about trial centres: the
    centre with the least squared difference of the views' slopes wins, to a fraction of a column.
    Slopes, because they see edges and not a drift of the beam.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, column)``; batch axes are averaged over.
    angles
        View angles in radians, ``(view,)``.

    Returns
    -------
    float
        Column, counted from 0; ``column_offset = (columns - 1) / 2 - centre``.

    Raises
    ------
    ValueError
        Angles that do not cover 180°, shapes that do not fit.
    """
    t = np.asarray(angles, dtype=np.float64)
    views = torch.as_tensor(sinogram).detach().double()
    if t.ndim != 1 or views.ndim < 2 or views.shape[-2] != len(t):
        raise ValueError(
            f"sinogram {tuple(views.shape)} and angles {t.shape} must be (*batch, view, column) "
            "and (view,)"
        )
    data = views.reshape(-1, *views.shape[-2:]).numpy()
    first, second = _opposite_views(data, t)
    first, second = np.gradient(first, axis=-1), np.gradient(second, axis=-1)
    columns = data.shape[-1]
    trial = np.arange(0.25 * columns, 0.75 * columns, 0.5)
    best = trial[np.argmin([_mismatch(first, second, c) for c in trial])]
    fine = minimize_scalar(
        lambda c: _mismatch(first, second, c), bounds=(best - 1, best + 1), method="bounded",
        options={"xatol": 1e-3},
    )  # fmt: skip
    return float(fine.x)


def _opposite_views(data: Array, t: Array) -> tuple[Array, Array]:
    """Views ``(pair, column)`` and their partners half a turn on, interpolated over the angle."""
    order = np.argsort(t)
    t, data = t[order], data[:, order]
    step = np.ptp(t) / max(len(t) - 1, 1)
    # A scan over 180° that leaves out its last view has pairs one step apart at its two ends.
    paired = np.flatnonzero(t + np.pi <= t[-1] + 1.5 * step)
    if not paired.size:
        raise ValueError(
            f"the views cover {np.rad2deg(np.ptp(t) + step):.1f}°: the centre of rotation needs "
            "views half a turn apart (180°)"
        )
    target = np.minimum(t[paired] + np.pi, t[-1])
    high = np.clip(np.searchsorted(t, target), 1, len(t) - 1)
    share = (target - t[high - 1]) / np.maximum(t[high] - t[high - 1], 1e-12)
    partner = (1 - share)[:, None] * data[:, high - 1] + share[:, None] * data[:, high]
    columns = data.shape[-1]
    return data[:, paired].reshape(-1, columns), partner.reshape(-1, columns)


def _mismatch(first: Array, second: Array, center: float) -> float:
    """Mean squared difference of a view's slope and its partner's, mirrored about `center`."""
    columns = first.shape[-1]
    position = 2 * center - np.arange(columns)
    inside = (position >= 0) & (position <= columns - 1)
    low = np.clip(position[inside].astype(int), 0, columns - 2)
    share = position[inside] - low
    # A band-limiting average of neighbours: linear interpolation alone favours whole columns.
    smooth_first = _smooth(first)[:, inside]
    smooth = _smooth(second)
    mirrored = (1 - share) * smooth[:, low] + share * smooth[:, low + 1]
    return float(np.mean((smooth_first + mirrored) ** 2) / np.mean(smooth_first**2))


def _smooth(views: Array) -> Array:
    padded = np.pad(views, ((0, 0), (2, 2)), mode="edge")
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return np.asarray(sum(k * padded[:, i : i + views.shape[1]] for i, k in enumerate(kernel)))
