"""The shadow of a pixel on the detector: the separable footprint of Long, Fessler and Balter.

A pixel casts a trapezoid, the convolution of two boxes: its sides dx and dy seen along the ray.
Averaged over the width of a column it becomes the footprint h. Pixels are first deposited by
linear interpolation on a detector grid many times finer than the columns, then h is applied to
all pixels of a tile by one short convolution, which is what makes a finite pixel and a finite
column cheap. The positions are exact; within a tile of a fan, the widths of h are the middle's.

Y. Long, J. A. Fessler, J. M. Balter, 3D forward and back-projection for X-ray CT using separable
footprints, IEEE Trans. Med. Imaging 29 (2010) 1839.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from ..simd import fill, load, maximum, minimum, store
from ..threads import jit, parallel_jit
from .lanes import LANES

PLANAR_FINE = 16  # cells of the fine grid per column
TILE = 32  # pixels of a tile in x and y
SERIES = 0.25  # tangent up to which the arc tangent's five terms are exact to 1e-8
LEAST = 1e-3  # columns that half a pixel's side seen end on counts as: no box may be a delta
PARALLEL, FLAT, CURVED = 0, 1, 2


@jit
def tile_numbers(cells: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Room for the footprint, for the numbers of `row_positions`, and for both in float64."""
    return np.zeros(cells, dtype), map_numbers(dtype), np.zeros(8)


@jit
def map_numbers(dtype: Any) -> Any:
    """Room for the numbers of `row_positions`."""
    p = np.zeros(13, dtype)
    p[7], p[8], p[9], p[10], p[11] = 1.0, 1 / 3, 1 / 5, 1 / 7, 1 / 9
    return p


@jit
def tile_view(
    beam: Any, cosine: float, sine: float, x: Any, y: Any, h: Any, out: Any, p: Any
) -> tuple[int, int, int]:
    """Prepare one tile in one view: the footprint `h`, the map to the fine grid `p`, the columns.

    Parameters
    ----------
    beam
        (kind, source_to_isocenter, source_to_detector, column_spacing, middle column, dx, dy,
        cells of the fine grid per column).
    x, y
        Pixel centres of the tile in mm.
    h
        Out: footprint at the nodes of the fine grid, `2 * half + 1` values, then zeros.
    out, p
        Out: numbers of `row_positions`; room for them in float64.

    Returns
    -------
    first, last, half
        Columns that the tile reaches on an unlimited detector; half width of h in fine cells.
    """
    first, last, half, a, b = tile_map(beam, cosine, sine, x, y, out, p)
    footprint(a, b, half, beam[7], h)
    return first, last, half


@jit
def tile_map(
    beam: Any, cosine: float, sine: float, x: Any, y: Any, out: Any, p: Any
) -> tuple[int, int, int, float, float]:
    """As `tile_view`, with half the sides of a pixel, in columns, in place of the footprint."""
    kind, sid, sdd, spacing, middle, dx, dy, cells = beam
    s, d, r, turn_c, turn_s, a, b = middle_ray(beam, cosine, sine, x, y)
    half = half_width(a, b, cells)
    first, last = columns_of(beam, cosine, sine, x, y, half)
    offset = (middle - first) * cells + half
    if kind == PARALLEL:
        p[0], p[1], p[2], p[3] = cosine, sine, 0.0, 0.0
        p[4], p[5], p[6] = cells / spacing, offset, dx * dy / spacing
    elif kind == FLAT:
        p[0], p[1], p[2], p[3] = cosine, sine, sid, 0.0
        p[4], p[5], p[6] = cells * sdd / spacing, offset, dx * dy * sdd / spacing
    else:  # the frame turned about the source to the middle of the tile: its angles are small
        p[0], p[1], p[2], p[3] = turn_c, turn_s, sid * d / r, -sid * s / r
        p[4], p[6] = cells * sdd / spacing, dx * dy * sdd / spacing
        p[5] = offset + p[4] * math.atan2(s, d)
    reach = 0.5 * math.hypot(x[-1] - x[0], y[-1] - y[0])
    p[7] = 1.0 if kind == CURVED and reach > SERIES * (r - reach) else 0.0
    out[:7], out[12] = p[:7], p[7]
    return first, last, half, a, b


@jit
def middle_ray(beam: Any, cosine: float, sine: float, x: Any, y: Any) -> tuple[float, ...]:
    """The ray through the middle of a tile, and half the sides of a pixel seen along it.

    Returns
    -------
    s, d, r
        The middle across and along the central ray, and its distance, from the source.
    turn_c, turn_s
        Direction of the ray, as cosine and sine of a view angle.
    a, b
        Half of a pixel's sides x and y on the detector, in columns.
    """
    kind, sid, sdd, spacing, _, dx, dy, _ = beam
    xc, yc = 0.5 * (x[0] + x[-1]), 0.5 * (y[0] + y[-1])
    s, d = xc * cosine + yc * sine, sid - xc * sine + yc * cosine
    r = math.hypot(s, d)
    if kind == PARALLEL:
        turn_c, turn_s, scale = cosine, sine, 1.0 / spacing
    else:
        turn_c, turn_s = (cosine * d + sine * s) / r, (sine * d - cosine * s) / r
        scale = sdd / (r * spacing) if kind == CURVED else sdd * r / (d * d * spacing)
    a, b = 0.5 * dx * abs(turn_c) * scale, 0.5 * dy * abs(turn_s) * scale
    return s, d, r, turn_c, turn_s, max(a, LEAST), max(b, LEAST)


@jit
def half_width(a: float, b: float, cells: int) -> int:
    """Fine cells, `cells` a column, from the middle of a footprint to its end."""
    return math.ceil((a + b + 0.5) * cells)


@jit
def columns_of(beam: Any, cosine: float, sine: float, x: Any, y: Any, half: int) -> tuple[int, int]:
    """First and last column that a tile reaches on an unlimited detector."""
    low, high = np.inf, -np.inf
    for i in range(4):
        t = column_of(beam, cosine, sine, x[(i & 1) * (len(x) - 1)], y[(i >> 1) * (len(y) - 1)])
        low, high = min(low, t), max(high, t)
    return math.ceil(low - (half + 1) / beam[7]), math.floor(high + (half + 1) / beam[7])


@jit
def footprint(a: float, b: float, half: int, cells: int, h: Any) -> None:
    """Fill `h` with box(2a) * box(2b) * box(1) (columns) at the fine nodes, zeros behind.

    The samples over all columns add up to one at any position of the pixel.
    """
    outer, inner = a + b, abs(a - b)
    scale = 1 / (8 * a * b)
    h[:] = 0
    for j in range(2 * half + 1):  # the trapezoid's integral, differenced over one column
        u = (j - half) / cells
        h[j] = (
            max(u + 0.5 + outer, 0.0) ** 2
            - max(u + 0.5 + inner, 0.0) ** 2
            - max(u + 0.5 - inner, 0.0) ** 2
            + max(u + 0.5 - outer, 0.0) ** 2
            - max(u - 0.5 + outer, 0.0) ** 2
            + max(u - 0.5 + inner, 0.0) ** 2
            + max(u - 0.5 - inner, 0.0) ** 2
            - max(u - 0.5 - outer, 0.0) ** 2
        ) * scale


@jit
def column_of(beam: Any, cosine: float, sine: float, x: float, y: float) -> float:
    """Column (a real number) that a point is seen at."""
    kind, sid, sdd, spacing, middle = beam[:5]
    s, d = x * cosine + y * sine, sid - x * sine + y * cosine
    if kind == PARALLEL:
        return float(s / spacing + middle)
    if kind == FLAT:
        return float(sdd * s / (d * spacing) + middle)
    return float(sdd * math.atan2(s, d) / spacing + middle)


# Without fastmath, so that both directions round alike and stay exact transposes.
@njit(cache=True, nogil=True, error_model="numpy")
def row_positions(kind: int, p: Any, x: Any, y: Any, cell: Any, part: Any, weight: Any) -> None:
    """Fine cell, place in it (0..1) and chord times columns a mm, for one row of a tile."""
    cosine, scale, offset, strength = p[0], p[4], p[5], p[6]
    s0, d0, sine, one = y * p[1] + p[3], y * p[0] + p[2], p[1], p[7]
    if kind == PARALLEL:
        for i in range(len(x)):
            t = (x[i] * cosine + s0) * scale + offset
            whole = np.floor(t)
            cell[i] = np.int32(whole)
            part[i] = t - whole
            weight[i] = strength
    elif kind == FLAT:
        for i in range(len(x)):
            inverse = one / (d0 - x[i] * sine)
            z = (x[i] * cosine + s0) * inverse
            t = z * scale + offset
            whole = np.floor(t)
            cell[i] = np.int32(whole)
            part[i] = t - whole
            weight[i] = strength * inverse * np.sqrt(one + z * z)
    elif p[12] == 0:
        third, fifth, seventh, ninth = p[8], p[9], p[10], p[11]
        for i in range(len(x)):
            inverse = one / (d0 - x[i] * sine)
            z = (x[i] * cosine + s0) * inverse
            q = z * z
            t = z * (one - q * (third - q * (fifth - q * (seventh - q * ninth)))) * scale + offset
            whole = np.floor(t)
            cell[i] = np.int32(whole)
            part[i] = t - whole
            weight[i] = strength * inverse / np.sqrt(one + q)
    else:  # a tile that the source sees under a wide angle
        for i in range(len(x)):
            inverse = one / (d0 - x[i] * sine)
            z = (x[i] * cosine + s0) * inverse
            t = np.arctan(z) * scale + offset
            whole = np.floor(t)
            cell[i] = np.int32(whole)
            part[i] = t - whole
            weight[i] = strength * inverse / np.sqrt(one + z * z)


def most_columns(beam: Any, turns: Any, xs: Any, ys: Any) -> int:
    """Columns that a pixel of the grid ``ys``, ``xs`` shades at most in any view, or more."""
    sid, sdd, spacing, _, dx, dy = beam[1:7]
    x, y = xs[[0, 0, -1, -1]], ys[[0, -1, 0, -1]]
    cosine, sine = turns[:, :1], turns[:, 1:2]
    nearest = (sid - x * sine + y * cosine).min(1)
    sides = dx * abs(sid * cosine + y).max(1) + dy * abs(sid * sine - x).max(1)
    return 4 + int((sides * sdd / (spacing * nearest**2)).max())


@jit
def shares_room(most: int, dtype: Any) -> tuple[Any, ...]:
    """Room for what `column_shares` finds out about pixels that shade `most` columns at most."""
    cell, count = np.zeros(LANES, np.int32), np.zeros(LANES, np.int32)
    part, weight = np.zeros(LANES, dtype), np.zeros(LANES, dtype)
    return cell, count, np.zeros(most * LANES, dtype), part, weight, np.zeros(5 * LANES, dtype)


# Without fastmath, so that both directions round alike and stay exact transposes.
@njit(cache=True, nogil=True, error_model="numpy")
def column_shares(beam: Any, p: Any, base: int, x: Any, y: Any, room: Any) -> None:
    """What `LANES` pixels of a row add to each column that they shade: chord times columns a mm.

    Unlike `footprint`, by no finer grid, and each pixel along its own ray: for cones, where the
    shares of a pixel serve a whole column of voxels.

    Parameters
    ----------
    p, base
        Of `tile_map` with one cell a column: ``base + cell`` is a column.
    room
        Of `shares_room`. Out: pixel i shades ``count[i]`` columns from ``cell[i]`` on, the k-th
        of them by ``share[k * LANES + i]``.
    """
    cell, count, share, part, weight, numbers = room
    row_positions(beam[0], p, x, y, cell, part, weight)
    cosine, sine, s0, d0 = p[0], p[1], y * p[1] + p[3], y * p[0] + p[2]
    one, half, least = p.dtype.type(1), p.dtype.type(0.5), p.dtype.type(LEAST)
    side_x = p.dtype.type(0.5 * beam[5] * beam[2] / beam[3])
    side_y = p.dtype.type(0.5 * beam[6] * beam[2] / beam[3])
    most = 0
    for i in range(len(x)):
        inverse = one / (d0 - x[i] * sine)
        z = (x[i] * cosine + s0) * inverse
        if beam[0] == CURVED:
            inverse = inverse / (one + z * z)
        across = max(side_x * abs(cosine + sine * z) * inverse, least)
        along = max(side_y * abs(sine - cosine * z) * inverse, least)
        reach = across + along + half
        low = np.floor(part[i] - reach) + one
        a, b = max(across, along), min(across, along)
        numbers[i] = low - half - part[i]  # where the first column begins, seen from the pixel
        numbers[LANES + i], numbers[2 * LANES + i] = a, half / a
        numbers[3 * LANES + i], numbers[4 * LANES + i] = b, half * half / b
        count[i] = np.int32(np.ceil(part[i] + reach) - low)
        cell[i] += np.int32(low) + base
        most = max(most, count[i])
    _integrate(weight, numbers, share, most)


@jit
def _integrate(weight: Any, numbers: Any, share: Any, most: int) -> None:
    """The trapezoid's integral over column after column, times the weight."""
    end, height = load(numbers, 0, LANES), load(weight, 0, LANES)
    a, scale = load(numbers, LANES, LANES), load(numbers, 2 * LANES, LANES)
    b, steep = load(numbers, 3 * LANES, LANES), load(numbers, 4 * LANES, LANES)
    before = fill(weight.dtype.type(0), LANES)
    for k in range(most):
        end = end + 1
        total = (_ramp(end + a, b, steep) - _ramp(end - a, b, steep)) * scale
        store(share, k * LANES, (total - before) * height)
        before = total


@jit
def _ramp(u: Any, b: Any, steep: Any) -> Any:
    """Integral of the integral of box(2b): zero, then a parabola, then u."""
    inside = maximum(minimum(u, b), b * -1) + b
    return inside * inside * steep + maximum(u - b, 0)


@parallel_jit
def window_cells(beam: Any, turns: Any, xs: Any, ys: Any, tile: int) -> int:
    """Fine cells that the largest shadow of a tile of the grid ``ys``, ``xs`` needs in any view."""
    cells, fine = 0, beam[7]
    for view in prange(len(turns)):
        cosine, sine = turns[view, 0], turns[view, 1]
        for y in range(0, len(ys), tile):
            for x in range(0, len(xs), tile):
                tile_x, tile_y = xs[x : x + tile], ys[y : y + tile]
                a, b = middle_ray(beam, cosine, sine, tile_x, tile_y)[5:]
                half = half_width(a, b, fine)
                first, last = columns_of(beam, cosine, sine, tile_x, tile_y, half)
                cells = max(cells, (last - first) * fine + 2 * half + 2 * fine)
    return cells
