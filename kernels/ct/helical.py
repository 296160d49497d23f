"""Back projection of parallel views on a helix, weighted by row and normalised voxel by voxel.

A voxel is seen at the angle theta of a half turn, and again at theta + pi, theta + 2 pi, ... while
it passes the detector. What these views say is averaged with weights that fall to the detector's
edges in z, so that each angle of the half turn counts once, however often it was seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ..simd import load, maximum, minimum, split, store
from ..threads import jit, parallel_jit, thread_count
from .planar import GROUP, between

Floats = NDArray[Any]

TILE = 16  # pixels of a tile in x and y
FLAT_SHARE = 0.6  # of the rows about the middle one with full weight, as Stierstorfer's Q
LEAST = 0.02  # of the way from the edge to full weight, so that the outermost row still counts


class HelixSums:
    """Gathers half turns of parallel views in a volume.

    Parameters
    ----------
    volume
        ``(z, y, x)``, float32 or float64, zeros: what is added to.
    xs, ys, zs
        Positions of the voxels in mm; `zs` evenly spaced.
    radius
        Distance from the axis in mm up to which voxels are reconstructed.
    positions
        Samples of the parallel views in mm, evenly spaced.
    shift, along, reach
        Of the rays through `positions`: height of the source above its height at the view's own
        angle; distance from the source to the point nearest the axis; distance from the source to
        the detector over the height of a row. ``(position,)``, all but the last in mm.
    middle
        Row, counted from 0, that lies in the source's plane.
    rows
        Rows of the detector.
    rise
        Travel in mm in a half turn.
    """

    def __init__(
        self,
        volume: Floats,
        xs: Floats,
        ys: Floats,
        zs: Floats,
        *,
        radius: float,
        positions: Floats,
        shift: Floats,
        along: Floats,
        reach: Floats,
        middle: float,
        rows: int,
        rise: float,
    ) -> None:
        self._axes = xs, ys, float(zs[0]), float(zs[1] - zs[0]) if len(zs) > 1 else 1.0
        spacing = float(positions[1] - positions[0])
        self._beam = -float(positions[0]) / spacing, spacing, radius**2, middle, rows, rise
        self._rays = np.stack([shift, along, reach], axis=1)
        self._volume = volume
        self._low = np.zeros(volume.shape[1:], np.int64)
        self._high = np.full(volume.shape[1:], len(zs), np.int64)

    def add(self, views: Floats, angles: Floats, heights: Floats, counts: Floats) -> None:
        """Add the mean view of each angle of a half turn.

        Parameters
        ----------
        views
            Filtered parallel views ``(angle, half turn, position, row)``; zeros behind the rows up
            to `padded_rows`.
        angles, heights
            Of the first half turn's views: radians, and the source's height in mm, ``(angle,)``.
        counts
            Half turns that each angle was seen in, ``(angle,)``.
        """
        turns = np.stack([np.cos(angles), np.sin(angles), heights], axis=1)
        _add(
            self._volume, self._low, self._high, views, turns, counts, *self._axes, self._beam,
            self._rays,
        )  # fmt: skip

    def finish(self, factor: float) -> None:
        """Multiply the sums; where an angle of the half turn was not seen, set them to zero."""
        _finish(self._volume, self._low, self._high, factor)

    @staticmethod
    def memory(shape: tuple[int, ...], itemsize: int) -> int:
        """Bytes used beside volume ``(z, y, x)`` and views."""
        nz, ny, nx = shape
        return 16 * ny * nx + thread_count() * itemsize * TILE * TILE * nz


def padded_rows(rows: int) -> int:
    """Rows up to a whole number of groups that are mixed together."""
    return -(-rows // GROUP) * GROUP


@parallel_jit
def _finish(volume: Any, low: Any, high: Any, factor: float) -> None:
    nz, ny, nx = volume.shape
    for j in prange(ny):
        for k in range(nz):
            for i in range(nx):
                seen = low[j, i] <= k < high[j, i]
                volume[k, j, i] = factor * volume[k, j, i] if seen else 0


@parallel_jit
def _add(
    volume: Any, low: Any, high: Any, views: Any, turns: Any, counts: Any, xs: Any, ys: Any,
    z0: float, dz: float, beam: Any, rays: Any,
) -> None:  # fmt: skip
    nz, ny, nx = volume.shape
    origin, spacing, radius2, middle, rows, rise = beam
    flat, (_, halves, places, padded) = views.reshape(-1), views.shape
    across = (nx + TILE - 1) // TILE
    for tile in prange(across * ((ny + TILE - 1) // TILE)):
        sums = np.zeros((TILE * TILE, nz), volume.dtype)
        # what lies behind the last voxel takes part in the last group
        total, weight = np.zeros(nz + GROUP, volume.dtype), np.zeros(nz + GROUP, volume.dtype)
        cell = np.zeros(GROUP, np.int32)
        line, index = np.zeros(padded + 2, volume.dtype), np.arange(nz + GROUP).astype(volume.dtype)
        p = _numbers(rows, volume.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        for angle in range(len(turns)):
            cosine, sine, height = turns[angle]
            for j in range(y0, min(y0 + TILE, ny)):
                for i in range(x0, min(x0 + TILE, nx)):
                    x, y = xs[i], ys[j]
                    if x * x + y * y > radius2:
                        high[j, i] = 0
                        continue
                    position, depth = (x * cosine + y * sine) / spacing, y * cosine - x * sine
                    total[:] = 0
                    weight[:] = 0
                    first, last = nz, 0
                    for parity in range(2):  # every second half turn looks from the other side
                        sign = 1 - 2 * parity
                        at = sign * position + origin
                        column = min(max(int(at), 0), len(rays) - 2)
                        p[2] = at - column
                        shift, along, reach = _between(rays, column, at - column)
                        scale = reach / (along + sign * depth)  # rows a mm of height
                        p[1] = step = scale * dz
                        for turn in range(parity, counts[angle], 2):
                            start = (z0 - height - turn * rise - shift) * scale + middle
                            begin = max(math.ceil((-0.5 - start) / step), 0)
                            end = min(math.floor((rows - 0.5 - start) / step) + 1, nz)
                            if begin >= end:
                                continue
                            p[0] = start + 1
                            left = ((angle * halves + turn) * places + column) * padded
                            _mix(flat, left, left + padded, line, p, rows)
                            _along_z(line, total, weight, cell, index, p, begin, end)
                            first, last = min(first, begin), max(last, end)
                    _add_mean(total, weight, sums[(j - y0) * TILE + i - x0], p, first, last)
                    low[j, i], high[j, i] = max(low[j, i], first), min(high[j, i], last)
        for k in range(nz):
            for j in range(y0, min(y0 + TILE, ny)):
                for i in range(x0, min(x0 + TILE, nx)):
                    volume[k, j, i] += sums[(j - y0) * TILE + i - x0, k]


@jit
def _numbers(rows: int, dtype: Any) -> Any:
    """Numbers of the inner loops, in their precision: start, step, part, and constants."""
    p = np.zeros(10, dtype)
    p[3], p[4] = 0.5, rows + 0.5  # the detector's edges in `line`
    p[5], p[6] = 2 / (rows * (1 - FLAT_SHARE)), LEAST
    p[7], p[8], p[9] = 1.0, 2.0, 3.0
    return p


@jit
def _between(rays: Any, column: int, part: float) -> tuple[float, float, float]:
    a, b = rays[column], rays[column + 1]
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), a[2] + part * (b[2] - a[2])


@jit
def _mix(views: Any, left: int, right: int, line: Any, p: Any, rows: int) -> None:
    """Interpolate the rows between two columns; beyond the outermost row as on it."""
    for r in range(0, len(line) - 2, GROUP):
        a, b = load(views, left + r, GROUP), load(views, right + r, GROUP)
        store(line, r + 1, a + (b - a) * p[2])
    line[0], line[rows + 1] = line[1], line[rows]


@jit
def _along_z(
    line: Any, total: Any, weight: Any, cell: Any, index: Any, p: Any, begin: int, end: int
) -> None:
    """Add the rows, interpolated at ``start + k step`` and weighted, to the voxels begin..end.

    The weight is one over the middle of the detector and falls to its edges as cos^2, whose
    cubic is within 0.01 of it.
    """
    start, step, bottom, top = p[0], p[1], p[3], p[4]
    slope, least, one, two, three = p[5], p[6], p[7], p[8], p[9]
    behind, behind_weight = load(total, end, GROUP), load(weight, end, GROUP)
    for k in range(begin, end, GROUP):
        t = minimum(load(index, k, GROUP) * step + start, top)
        whole, part = split(t)
        store(cell, 0, whole)
        rise = minimum(maximum(minimum((t - bottom) * slope, (t - top) * -slope), least), one)
        share = rise * rise * (rise * -two + three)
        store(total, k, load(total, k, GROUP) + between(line, cell, 0, part) * share)
        store(weight, k, load(weight, k, GROUP) + share)
    store(total, end, behind)  # the last group may reach beyond the end
    store(weight, end, behind_weight)


@jit
def _add_mean(total: Any, weight: Any, sums: Any, p: Any, first: int, last: int) -> None:
    tiny = p[6] * p[6]  # below the least weight of a voxel that is seen
    for k in range(first, last):
        sums[k] += total[k] / max(weight[k], tiny)
