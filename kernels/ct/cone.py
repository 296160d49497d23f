"""Separable footprint of cone beams, circular and helical: trapezoid across, box along z.

The footprint of a voxel is the product of the planar footprint and of a box along the rows (the
SF-TR model of Long, Fessler and Balter, with their A2 amplitude: the ray's slope multiplies the
sinogram once). A column of voxels is averaged over the rows of the detector, then added to the
few columns that see it, each by its share of the shadow: z and rows are innermost in memory.
Forward, a thread owns views; back, it owns tiles of the volume: no two write to one place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..simd import load, next_task, store, turn_square
from ..threads import jit, parallel_jit
from .footprint import CURVED, column_shares, map_numbers, shares_room, tile_map
from .lanes import LANES, add_scaled
from .resample import MARGIN, resample, resample_room

TILE = LANES  # voxels of a tile in x and y
DEPTH = 256  # and in z: it stays in the cache while views go by
TOGETHER = 8  # views of `forward` that share one pass over the volume, where there are enough


def padded(rows: int) -> int:
    """Room for the rows of a column: an odd number of `LANES`, so that columns keep apart."""
    return (-(-rows // LANES) | 1) * LANES


def thread_bytes(depth: int, rows: int, most: int, itemsize: int) -> int:
    """Bytes of a thread's working memory, for volumes `depth` voxels high."""
    line = min(depth, DEPTH) + LANES + 2 * MARGIN
    return itemsize * (TILE**2 * line + TILE * (padded(rows) + 2 * MARGIN) + TILE * most)


@parallel_jit
def forward(
    volume: Any, rays: Any, rows: int, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any,
    most: int, threads: int,
) -> None:  # fmt: skip
    """Project ``volume (z, y, x)`` to ``rays (view, column, padded row)``.

    Parameters
    ----------
    rows
        Of the detector; what lies behind the last comes out as rows there would see it.
    beam, axial, turns, xs, ys
        See `Projector`.
    most
        Columns that a voxel shades at most.
    """
    views, counter = len(rays), np.zeros(1, np.int64)
    together = min(TOGETHER, (views + threads - 1) // threads)
    for _ in prange(threads):
        depth = 2 * MARGIN + _whole_lanes(min(len(volume), DEPTH))
        room, scan = _room(depth, rays.shape[2], most, volume.dtype), (beam, axial, turns, xs, ys)
        while True:
            start = next_task(counter) * together
            if start >= views:
                break
            stop = min(start + together, views)
            rays[start:stop] = 0
            for tile in range(_tiles(volume.shape)):
                _project_tile(volume, tile, rays, rows, start, stop, scan, room)


@parallel_jit
def adjoint(
    volume: Any, rays: Any, rows: int, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any,
    most: int, threads: int, fresh: bool,
) -> None:  # fmt: skip
    """Apply the transpose to `rays`, zero behind the last row; `fresh`: do not add, overwrite."""
    counter = np.zeros(1, np.int64)
    for _ in prange(threads):
        depth = _whole_lanes(min(len(volume), DEPTH))
        line = TILE * (rays.shape[2] + 2 * MARGIN)
        room, scan = _room(depth, line, most, volume.dtype), (beam, axial, turns, xs, ys)
        while True:
            tile = next_task(counter)
            if tile >= _tiles(volume.shape):
                break
            _back_project_tile(volume, tile, rays, rows, scan, room, fresh)


@jit
def _project_tile(
    volume: Any, tile: int, rays: Any, rows: int, start: int, stop: int, scan: Any, room: Any
) -> None:
    """Add the projection of one tile to the views from `start` to `stop`."""
    beam, axial, turns, xs, ys = scan
    voxels, means, _, shades, maps, p, numbers, index, place, waiting = room
    cell, count, share = shades[:3]
    columns, pitch = rays.shape[1:]
    flat, depth = rays.reshape(-1), len(voxels) // TILE**2
    z0, y0, x0 = _corner(tile, volume.shape)
    x, y, n = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE], min(len(volume) - z0, DEPTH)
    _take(volume, z0, y0, x0, voxels, MARGIN)
    for view in range(start, stop):
        turn = turns[view, 0], turns[view, 1], turns[view, 2]
        first, _, half, _, _ = tile_map(beam, turn[0], turn[1], x, y, p, numbers)
        for j in range(len(y)):
            column_shares(beam, p, first - half, x, y[j], shades)
            _row_maps(beam, axial, turn, x, y[j], maps)
            for i in range(len(x)):
                low, step, inverse = maps[i] - z0, maps[TILE + i], maps[2 * TILE + i]
                r0, r1 = _between(-low * inverse, (n - low) * inverse, rows)
                c0, c1 = max(cell[i], 0), min(cell[i] + count[i], columns)
                if r0 >= r1 or c0 >= c1:
                    continue
                at = (j * TILE + i) * depth + MARGIN
                resample(voxels, at, n, means, r0, r1, low, step, index, place, waiting)
                for c in range(c0, c1):
                    factor = share[(c - cell[i]) * TILE + i] * volume.dtype.type(inverse)
                    ray = (view * columns + c) * pitch
                    for r in range(r0, r1, LANES):
                        add_scaled(flat, ray + r, means, r, factor)


@jit
def _back_project_tile(
    volume: Any, tile: int, rays: Any, rows: int, scan: Any, room: Any, fresh: bool
) -> None:
    """Add what all views see of one tile, a row of voxels at a time."""
    beam, axial, turns, xs, ys = scan
    voxels, seen, sums, shades, maps, p, numbers, index, place, waiting = room
    cell, count, share = shades[:3]
    columns, pitch = rays.shape[1:]
    flat, depth, line = rays.reshape(-1), len(voxels) // TILE**2, len(seen) // TILE
    z0, y0, x0 = _corner(tile, volume.shape)
    x, y, n = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE], min(len(volume) - z0, DEPTH)
    if fresh:
        voxels[:] = 0
    else:
        _take(volume, z0, y0, x0, voxels, 0)
    for view in range(len(rays)):
        turn = turns[view, 0], turns[view, 1], turns[view, 2]
        first, _, half, _, _ = tile_map(beam, turn[0], turn[1], x, y, p, numbers)
        for j in range(len(y)):
            column_shares(beam, p, first - half, x, y[j], shades)
            _row_maps(beam, axial, turn, x, y[j], maps)
            for i in range(len(x)):
                low, inverse = maps[i] - z0, maps[2 * TILE + i]
                r0, r1 = _between(-low * inverse, (n - low) * inverse + 1, rows)
                c0, c1 = max(cell[i], 0), min(cell[i] + count[i], columns)
                at, k = (view * columns + c0) * pitch, (c0 - cell[i]) * TILE + i
                _blend(flat, at, pitch, share, k, c1 - c0, seen, i * line + MARGIN, r0, r1)
            for i in range(len(x)):
                low, step, inverse = maps[i] - z0, maps[TILE + i], maps[2 * TILE + i]
                start, stop = _between(low, low + rows * step, n)
                if start >= stop or cell[i] >= columns or cell[i] + count[i] <= 0:
                    continue
                at = i * line + MARGIN
                first_row = -low * inverse
                resample(
                    seen, at, rows, sums, start, stop, first_row, inverse, index, place, waiting
                )
                at = (j * TILE + i) * depth
                for z in range(start, stop, LANES):
                    store(voxels, at + z, load(voxels, at + z, LANES) + load(sums, z, LANES))
    _give(voxels, volume, z0, y0, x0)


@jit
def _blend(
    rays: Any, at: int, pitch: int, share: Any, k: int, columns: int, target: Any, to: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Add up `columns` by their shares, four at a time, rows from `start` to `stop`."""
    for c in range(0, columns, 4):
        n1, n2, n3 = min(columns - c, 2) - 1, min(columns - c, 3) - 1, min(columns - c, 4) - 1
        w0, w1, w2, w3 = share[k], share[k + n1 * TILE], share[k + n2 * TILE], share[k + n3 * TILE]
        w1, w2, w3 = w1 * (n1 == 1), w2 * (n2 == 2), w3 * (n3 == 3)
        b1, b2, b3 = at + n1 * pitch, at + n2 * pitch, at + n3 * pitch
        for r in range(start, stop, LANES):
            left = load(rays, at + r, LANES) * w0 + load(rays, b1 + r, LANES) * w1
            right = load(rays, b2 + r, LANES) * w2 + load(rays, b3 + r, LANES) * w3
            if c > 0:
                left = left + load(target, to + r, LANES)
            store(target, to + r, left + right)
        at, k = at + 4 * pitch, k + 4 * TILE


@jit
def _row_maps(beam: Any, axial: Any, turn: Any, x: Any, y: float, maps: Any) -> None:
    """Row boundaries over each column of voxels: r lies at ``maps[0] + r * maps[TILE]`` voxels."""
    sdd, row_spacing, row_edge, dz, z_edge = axial
    cosine, sine, height = turn
    scale, edge, source = row_spacing / (sdd * dz), row_edge / row_spacing, (height - z_edge) / dz
    for i in range(len(x)):
        d = beam[1] - x[i] * sine + y * cosine
        if beam[0] == CURVED:
            d = math.hypot(d, x[i] * cosine + y * sine)
        step = scale * d
        maps[i], maps[TILE + i], maps[2 * TILE + i] = source + edge * step, step, 1 / step


@jit
def _between(low: float, high: float, count: int) -> tuple[int, int]:
    """Of `count`, those that some of ``low..high`` falls into; the first one on a whole lane."""
    start = min(max(math.floor(low), 0), count)
    return start // LANES * LANES, min(max(math.ceil(high), 0), count)


@jit
def _whole_lanes(count: int) -> int:
    return (count + LANES - 1) // LANES * LANES


@jit
def _tiles(shape: Any) -> int:
    nz, ny, nx = shape
    return ((nz + DEPTH - 1) // DEPTH) * ((ny + TILE - 1) // TILE) * ((nx + TILE - 1) // TILE)


@jit
def _corner(tile: int, shape: Any) -> tuple[int, int, int]:
    """First voxel of a tile."""
    deep, across = (shape[0] + DEPTH - 1) // DEPTH, (shape[2] + TILE - 1) // TILE
    return tile % deep * DEPTH, tile // deep // across * TILE, tile // deep % across * TILE


@jit
def _room(depth: int, line: int, most: int, dtype: Any) -> Any:
    """A thread's own: a tile of columns `depth` long, rows of the detector, sums, and numbers."""
    voxels, rows = _aligned(TILE * TILE * depth, dtype), _aligned(line, dtype)
    sums, shades, maps = _aligned(depth, dtype), shares_room(most, dtype), np.empty(3 * TILE)
    index, place, waiting = resample_room(dtype)
    numbers = np.zeros(8)
    return voxels, rows, sums, shades, maps, map_numbers(dtype), numbers, index, place, waiting


@jit
def _aligned(size: int, dtype: Any) -> Any:
    """Zeros from the start of a cache line on."""
    room = np.zeros(size + 64, dtype)
    start = (-room.ctypes.data % 64) // room.itemsize
    return room[start : start + size]


@jit
def _take(volume: Any, z0: int, y0: int, x0: int, voxels: Any, margin: int) -> None:
    """Copy a tile, z innermost, with zeros behind where it is lower than others."""
    nz, ny, nx = volume.shape
    flat, depth, height = volume.reshape(-1), len(voxels) // TILE**2, min(nz - z0, DEPTH)
    for j in range(min(ny - y0, TILE)):
        source, width = (z0 * ny + y0 + j) * nx + x0, min(nx - x0, TILE)
        target = j * TILE * depth + margin
        _turn(flat, source, ny * nx, height, width, voxels, target, depth)
        for i in range(width):
            begin = target + i * depth
            voxels[begin + height : begin + depth - 2 * margin] = 0


@jit
def _give(voxels: Any, volume: Any, z0: int, y0: int, x0: int) -> None:
    """Copy a tile back."""
    nz, ny, nx = volume.shape
    flat, depth, height = volume.reshape(-1), len(voxels) // TILE**2, min(nz - z0, DEPTH)
    for j in range(min(ny - y0, TILE)):
        target, width = (z0 * ny + y0 + j) * nx + x0, min(nx - x0, TILE)
        _turn(voxels, j * TILE * depth, depth, width, height, flat, target, ny * nx)


@jit
def _turn(
    source: Any, at: int, pitch: int, rows: int, columns: int, target: Any, to: int, stride: int
) -> None:
    """Transpose: ``target[to + c * stride + r] = source[at + r * pitch + c]``."""
    whole_rows, whole_columns = rows // LANES * LANES, columns // LANES * LANES
    for r in range(0, whole_rows, LANES):
        for c in range(0, whole_columns, LANES):
            place, end = at + r * pitch + c, to + c * stride + r
            turn_square(source, place, pitch, target, end, stride, LANES)
    for r in range(rows):
        for c in range(whole_columns if r < whole_rows else 0, columns):
            target[to + c * stride + r] = source[at + r * pitch + c]


@parallel_jit
def turn_views(views: Any, slope: Any, rays: Any) -> None:
    """``views (view, row, column)`` times the rays' slopes to ``rays (view, column, row)``."""
    count, rows, columns = views.shape
    for view in prange(count):
        rays[view, :, rows:] = 0
        for c0 in range(0, columns, LANES):
            for r in range(rows):
                for c in range(c0, min(c0 + LANES, columns)):
                    rays[view, c, r] = views[view, r, c] * slope[r, c]


@parallel_jit
def return_views(rays: Any, slope: Any, views: Any) -> None:
    """The transpose of `turn_views`."""
    count, rows, columns = views.shape
    for view in prange(count):
        for c0 in range(0, columns, LANES):
            for r in range(rows):
                for c in range(c0, min(c0 + LANES, columns)):
                    views[view, r, c] = rays[view, c, r] * slope[r, c]
