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
from .footprint import CONE_FINE as FINE
from .footprint import CURVED, row_positions, tile_numbers, tile_view
from .lanes import LANES, add_scaled

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
def _to_rows(
    voxels: Any, rows: Any, index: Any, map_: Any, taps: int, start: int, stop: int
) -> None:
    """Average voxels over the rows start..stop; `voxels` has `taps` zeros at each end."""
    first, step, inverse, one, zero = map_[0], map_[1], map_[2], map_[3], map_[4]
    for r in range(start, stop):
        low, high = first + index[r] * step, first + index[r + 1] * step
        floor = np.floor(low)
        k = np.int32(floor) + taps
        share = min(floor + one, high) - low
        rest = min(max(high - (floor + one), zero), one)
        rows[r] = (share * voxels[k] + rest * voxels[k + 1]) * inverse
    offset = one
    for tap in range(2, taps):
        offset += one
        for r in range(start, stop):
            floor = np.floor(first + index[r] * step)
            k = np.int32(floor) + taps
            rest = min(max(first + index[r + 1] * step - (floor + offset), zero), one)
            rows[r] += rest * voxels[k + tap] * inverse


@njit(cache=True, nogil=True, error_model="numpy")
def _from_rows(voxels: Any, rows: Any, index: Any, map_: Any, start: int, stop: int) -> None:
    """Add the transpose of `_to_rows` to voxels start..stop; `rows` has a zero at each end."""
    first, step, inverse, one, zero = map_[0], map_[1], map_[2], map_[3], map_[4]
    last, offset = map_[5], zero
    for _ in range(math.ceil(inverse) + 1):
        for k in range(start, stop):
            r = np.floor((index[k] - first) * inverse) + offset
            low, high = first + r * step, first + (r + one) * step
            share = max(min(index[k] + one, high) - max(index[k], low), zero) * inverse
            voxels[k] += share * rows[np.int32(min(max(r, -one), last)) + 1]
        offset += one


@jit
def _reach(first: float, step: float, taps: int, rows: int, nz: int) -> tuple[int, int]:
    """Rows that see some of the voxels 0..nz."""
    start = math.floor(-first / step) - 1
    stop = math.ceil((nz - first) / step) + 1
    return max(start, 0), min(max(stop, 0), rows)


@parallel_jit
def forward(
    volume: Any, sinogram: Any, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Add the projection of ``volume (y, x, z)`` to ``sinogram (view, column, row)``.

    The rows of the sinogram are padded to a multiple of `LANES`; what the last ones hold is
    projected too.
    """
    views, columns, rows = sinogram.shape
    ny, nx, nz = volume.shape
    rays = sinogram.reshape(-1)
    index = np.arange(max(rows, nz) + 2).astype(volume.dtype)
    for view in prange(views):
        h, p, numbers = tile_numbers(cells, volume.dtype)
        fine, line = np.empty(cells * rows, volume.dtype), np.zeros(rows, volume.dtype)
        map_ = np.ones(5, volume.dtype)
        map_[4] = 0.0
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, volume.dtype), np.empty(TILE, volume.dtype)
        cosine, sine, height = turns[view]
        for y0 in range(0, ny, TILE):
            for x0 in range(0, nx, TILE):
                x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
                first, last, half = tile_view(beam, cosine, sine, x, y, h, p, numbers)
                if last < 0 or first >= columns:
                    continue
                fine[: ((last - first) * FINE + 2 * half + 1) * rows] = 0
                taps = _taps(beam, axial, cosine, sine, x, y)
                voxels = np.zeros(nz + 4 * taps, volume.dtype)
                for j in range(len(y)):
                    row_positions(beam[0], p, x, y[j], cell, part, weight)
                    for i in range(len(x)):
                        low, step = _row_map(beam, cosine, sine, x[i], y[j], axial, height)
                        map_[0], map_[1], map_[2] = low, step, 1 / step
                        start, stop = _reach(low, step, taps, rows, nz)
                        if start >= stop:
                            continue
                        voxels[2 * taps : 2 * taps + nz] = volume[y0 + j, x0 + i]
                        line[:] = 0
                        _to_rows(voxels[taps:], line, index, map_, taps, start, stop)
                        w1 = weight[i] * part[i]
                        node = cell[i] * rows
                        for r in range(start // LANES * LANES, stop, LANES):
                            add_scaled(fine, node + r, line, r, weight[i] - w1)
                            add_scaled(fine, node + rows + r, line, r, w1)
                for c in range(max(first, 0), min(last + 1, columns)):
                    ray, node = (view * columns + c) * rows, (c - first) * FINE * rows
                    for k in range(2 * half + 1):
                        for r in range(0, rows, LANES):
                            add_scaled(rays, ray + r, fine, node + k * rows + r, h[k])


@jit
def _taps(beam: Any, axial: Any, cosine: float, sine: float, x: Any, y: Any) -> int:
    """Voxels that a row of the detector meets at most, over the corners of a tile."""
    taps = 2
    for i in range(4):
        corner = x[(i & 1) * (len(x) - 1)], y[(i >> 1) * (len(y) - 1)]
        _, step = _row_map(beam, cosine, sine, corner[0], corner[1], axial, 0.0)
        taps = max(taps, math.ceil(step * 1.01) + 1)
    return taps


@parallel_jit
def adjoint(
    volume: Any, sinogram: Any, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Add the transpose of `forward`, ``sinogram (view, column, row)`` to ``volume (y, x, z)``."""
    views, columns, rows = sinogram.shape
    ny, nx, nz = volume.shape
    rays = sinogram.reshape(-1)
    index = np.arange(max(rows, nz) + 2).astype(volume.dtype)
    across = (nx + TILE - 1) // TILE
    for tile in prange(across * ((ny + TILE - 1) // TILE)):
        h, p, numbers = tile_numbers(cells, volume.dtype)
        fine = np.empty(cells * rows, volume.dtype)
        line = np.zeros(rows + 2, volume.dtype)
        map_ = np.ones(6, volume.dtype)
        map_[4], map_[5] = 0.0, rows
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, volume.dtype), np.empty(TILE, volume.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        for view in range(views):
            cosine, sine, height = turns[view]
            first, last, half = tile_view(beam, cosine, sine, x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            fine[: ((last - first) * FINE + 2 * half + 1) * rows] = 0
            for c in range(max(first, 0), min(last + 1, columns)):
                ray, node = (view * columns + c) * rows, (c - first) * FINE * rows
                for k in range(2 * half + 1):
                    for r in range(0, rows, LANES):
                        add_scaled(fine, node + k * rows + r, rays, ray + r, h[k])
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    low, step = _row_map(beam, cosine, sine, x[i], y[j], axial, height)
                    map_[0], map_[1], map_[2] = low, step, 1 / step
                    start = min(max(math.floor(low) - 1, 0), nz)
                    stop = max(min(math.ceil(low + rows * step) + 1, nz), start)
                    w1 = weight[i] * part[i]
                    node = cell[i] * rows
                    line[1 : 1 + rows] = 0
                    for r in range(0, rows, LANES):
                        add_scaled(line, 1 + r, fine, node + r, weight[i] - w1)
                        add_scaled(line, 1 + r, fine, node + rows + r, w1)
                    _from_rows(volume[y0 + j, x0 + i], line, index, map_, start, stop)
