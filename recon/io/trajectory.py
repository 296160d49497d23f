"""Units of trajectories: files use cycles/pixel or 1/FOV and seldom say which."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

_ABOUT_PI = 0.03  # relative: readouts without their last sample stop short of the edge


def cycles_per_pixel(
    trajectory: NDArray[np.floating[Any]], matrix: tuple[int, ...]
) -> NDArray[np.floating[Any]]:
    """Bring places ``(..., ndim)`` to cycles per pixel in [-0.5, 0.5), guessing their unit.

    Values within [-0.5, 0.5] are cycles per pixel already; values within half the `matrix` (sizes
    in the order of the last axis), and beyond a quarter of it along some axis, are multiples of
    1/FOV and are divided by it. One part in a thousand is allowed beyond either edge.

    Raises
    ------
    FormatError
        Values that are neither, or that reach to within 3 % of pi: radians per pixel.
    """
    largest = np.abs(trajectory).reshape(-1, trajectory.shape[-1]).max(axis=0).astype(float)
    size = np.array(matrix, float)
    if bool((largest <= 0.5 * 1.001).all()):
        return wrapped(trajectory)
    # Half of a small matrix may be about pi, and pi is within half of any larger one: a
    # trajectory in 1/FOV is told from radians by filling k-space along some axis.
    radians = abs(float(largest.max()) / np.pi - 1) < _ABOUT_PI
    within, filled = largest <= size / 2 * 1.001, largest > size / 4
    if bool(within.all()) and bool(filled.any()) and not radians:
        return wrapped((trajectory / size).astype(trajectory.dtype))
    reach = ", ".join(f"{value:.4g}" for value in largest)
    advice = ": divide radians per pixel by 2 pi" if radians else ""
    raise FormatError(
        None, "trajectory", f"reaches ({reach}) along its axes, expected cycles per pixel (up to "
        f"0.5) or 1/FOV (up to half of the matrix {matrix}){advice}",
    )  # fmt: skip


def wrapped(trajectory: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Places in [-0.5, 0.5): k and k - 1 are the same frequency on a grid of pixels."""
    outside = (trajectory >= 0.5) | (trajectory < -0.5)
    if not outside.any():
        return np.ascontiguousarray(trajectory)
    inside = np.where(outside, trajectory - np.floor(trajectory + 0.5), trajectory)
    return np.ascontiguousarray(np.where(inside >= 0.5, -0.5, inside).astype(trajectory.dtype))
