"""Separable footprint of cone beams, circular and helical: trapezoid across, box along z.

The footprint of a voxel is the product of the planar footprint and of a box along the rows (the
SF-TR model of Long, Fessler and Balter, with their A2 amplitude: the ray's slope multiplies the
sinogram once). A column of voxels is first resampled to the rows, z innermost, then deposited
across the columns as in `planar`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from ..threads import jit, parallel_jit
from .footprint import CURVED, FINE, row_positions, tile_numbers, tile_view

TILE = 16


@jit
def _row_map(
    beam: Any, cosine: float, sine: float, x: float, y: float, axial: Any, height: float
) -> tuple[float, float]:
    """Row boundaries of a column of voxels, in voxels: boundary r lies at ``first + r * step``."""
    kind, sid = beam[0], beam[1]
    sdd, row_spacing, row_edge, dz, z_edge = axial
    d = sid - x * sine + y * cosine
    if kind == CURVED:
        d = math.hypot(d, x * cosine + y * sine)
    step = row_spacing * d / (sdd * dz)
    return (height - z_edge) / dz + row_edge / row_spacing * step, step


# Without fastmath, so that both directions round alike and stay exact transposes.
@njit(cache=True, nogil=True, error_model="numpy")
def _to_rows(voxels: Any, rows: Any, first: float, step: float) -> None:
    """Average voxels ``(z,)`` over each row ``(row,)``."""
    nz = len(voxels)
    taps = math.ceil(step) + 1
    rows[:] = 0
    inverse = 1 / step
    for tap in range(taps):
        for r in range(len(rows)):
            low = first + r * step
            high = first + (r + 1) * step
            k = math.floor(low) + tap
            share = max(min(k + 1.0, high) - max(float(k), low), 0.0) * inverse
            inside = 0 <= k < nz
            rows[r] += (share if inside else 0.0) * voxels[k if inside else 0]


@njit(cache=True, nogil=True, error_model="numpy")
def _from_rows(voxels: Any, rows: Any, first: float, step: float) -> None:
    """Add the transpose of `_to_rows` to `voxels`."""
    n = len(rows)
    inverse = 1 / step
    taps = math.ceil(inverse) + 1
    for tap in range(taps):
        for k in range(len(voxels)):
            r = math.floor((k - first) * inverse) + tap
            low = first + r * step
            high = first + (r + 1) * step
            share = max(min(k + 1.0, high) - max(float(k), low), 0.0) * inverse
            inside = 0 <= r < n
            voxels[k] += (share if inside else 0.0) * rows[r if inside else 0]


@parallel_jit
def forward(
    volume: Any, sinogram: Any, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Add the projection of ``volume (y, x, z)`` to ``sinogram (view, column, row)``."""
    views, columns, rows = sinogram.shape
    ny, nx, _ = volume.shape
    for view in prange(views):
        h, p, numbers = tile_numbers(cells, volume.dtype)
        fine, line = np.empty((cells, rows), volume.dtype), np.empty(rows, volume.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, volume.dtype), np.empty(TILE, volume.dtype)
        cosine, sine, height = turns[view]
        for y0 in range(0, ny, TILE):
            for x0 in range(0, nx, TILE):
                x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
                first, last, half = tile_view(beam, cosine, sine, x, y, h, p, numbers)
                if last < 0 or first >= columns:
                    continue
                fine[: (last - first) * FINE + 2 * half + 1] = 0
                for j in range(len(y)):
                    row_positions(beam[0], p, x, y[j], cell, part, weight)
                    for i in range(len(x)):
                        low, step = _row_map(beam, cosine, sine, x[i], y[j], axial, height)
                        _to_rows(volume[y0 + j, x0 + i], line, low, step)
                        w1 = weight[i] * part[i]
                        w0 = weight[i] - w1
                        left, right = fine[cell[i]], fine[cell[i] + 1]
                        for r in range(rows):
                            left[r] += w0 * line[r]
                            right[r] += w1 * line[r]
                for c in range(max(first, 0), min(last + 1, columns)):
                    total = sinogram[view, c]
                    for k in range(2 * half + 1):
                        node, hk = fine[(c - first) * FINE + k], h[k]
                        for r in range(rows):
                            total[r] += hk * node[r]


@parallel_jit
def adjoint(
    volume: Any, sinogram: Any, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Add the transpose of `forward`, ``sinogram (view, column, row)`` to ``volume (y, x, z)``."""
    views, columns, rows = sinogram.shape
    ny, nx, _ = volume.shape
    across = (nx + TILE - 1) // TILE
    for tile in prange(across * ((ny + TILE - 1) // TILE)):
        h, p, numbers = tile_numbers(cells, volume.dtype)
        fine, line = np.empty((cells, rows), volume.dtype), np.empty(rows, volume.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, volume.dtype), np.empty(TILE, volume.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        for view in range(views):
            cosine, sine, height = turns[view]
            first, last, half = tile_view(beam, cosine, sine, x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            fine[: (last - first) * FINE + 2 * half + 1] = 0
            for c in range(max(first, 0), min(last + 1, columns)):
                value = sinogram[view, c]
                for k in range(2 * half + 1):
                    node, hk = fine[(c - first) * FINE + k], h[k]
                    for r in range(rows):
                        node[r] += hk * value[r]
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    low, step = _row_map(beam, cosine, sine, x[i], y[j], axial, height)
                    w1 = weight[i] * part[i]
                    w0 = weight[i] - w1
                    left, right = fine[cell[i]], fine[cell[i] + 1]
                    for r in range(rows):
                        line[r] = w0 * left[r] + w1 * right[r]
                    _from_rows(volume[y0 + j, x0 + i], line, low, step)
