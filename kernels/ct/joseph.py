"""Joseph's projector for any geometry: linear interpolation in each plane that a ray crosses.

P. M. Joseph, An improved algorithm for reprojecting rays through pixel images, IEEE Trans. Med.
Imaging 1 (1982) 192. Forward, a thread owns rays; back, it owns a slab of the volume and follows
all rays through it: no two write to one place.
"""

from __future__ import annotations

import math
from typing import Any

from numba import prange

from ..threads import jit, parallel_jit
from .footprint import CURVED, PARALLEL

Ray = tuple[int, int, int, float, float, float, float, float]


@jit
def _ray(
    kind: int, f: Any, curve: Any, row: float, column: float, shape: Any, spacing: Any, origin: Any
) -> Ray:
    """Driving axis (of z, y, x), first and last + 1 plane, the two others' positions and steps.

    `row` and `column` count from the middle of the detector; positions are in voxels.
    """
    ahead, aside, up = 0.0, 0.0, 0.0
    if kind == CURVED:
        sdd, column_angle, angle_offset, row_step, row_shift = curve
        angle = column * column_angle + angle_offset
        ahead, aside, up = sdd * math.cos(angle), sdd * math.sin(angle), row * row_step + row_shift
    x, dx = _component(kind, f, 0, row, column, ahead, aside, up)
    y, dy = _component(kind, f, 1, row, column, ahead, aside, up)
    z, dz = _component(kind, f, 2, row, column, ahead, aside, up)
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    z, dz = (z - origin[0]) / spacing[0], dz / (length * spacing[0])
    y, dy = (y - origin[1]) / spacing[1], dy / (length * spacing[1])
    x, dx = (x - origin[2]) / spacing[2], dx / (length * spacing[2])
    if abs(dz) >= max(abs(dy), abs(dx)):
        return _across(0, z, dz, y, dy, x, dx, shape[0], shape[1], shape[2])
    if abs(dy) >= abs(dx):
        return _across(1, y, dy, z, dz, x, dx, shape[1], shape[0], shape[2])
    return _across(2, x, dx, z, dz, y, dy, shape[2], shape[0], shape[1])


@jit
def _component(
    kind: int, f: Any, i: int, row: float, column: float, ahead: float, aside: float, up: float
) -> tuple[float, float]:
    """A point of the ray and its direction, not of unit length, along x, y or z in mm."""
    if kind == CURVED:
        return f[0, i], ahead * f[1, i] + aside * f[3, i] + up * f[2, i]
    detector = f[1, i] + row * f[2, i] + column * f[3, i]
    if kind == PARALLEL:
        return detector, f[0, i]
    return f[0, i], detector - f[0, i]


@jit
def _across(
    a: int, s: float, ds: float, b: float, db: float, c: float, dc: float, na: int, nb: int, nc: int
) -> Ray:
    """Follow a ray plane by plane of its driving axis, whose position and step are `s`, `ds`."""
    db, dc = db / ds, dc / ds
    b, c = b - s * db, c - s * dc
    low, high = _clip(0, na, b, db, -1.0, float(nb))
    low, high = _clip(low, high, c, dc, -1.0, float(nc))
    return a, low, high, b, db, c, dc, 1 / abs(ds)


@jit
def _clip(low: int, high: int, p: float, dp: float, bottom: float, top: float) -> tuple[int, int]:
    """Narrow planes to those (one more at each end at most) with bottom < p + i dp < top."""
    if abs(dp) < 1e-12:
        return (low, high) if bottom < p < top else (0, 0)
    first, last = (bottom - p) / dp, (top - p) / dp
    first, last = min(first, last), max(first, last)
    first, last = max(first, low - 1.0), min(last, high + 1.0)
    return max(low, math.floor(first)), min(high, math.ceil(last) + 1)


@parallel_jit
def forward(
    volume: Any, sinogram: Any, kind: int, frames: Any, curve: Any, spacing: Any, origin: Any
) -> None:
    """Project ``volume (z, y, x)`` into ``sinogram (view, row, column)``."""
    views, rows, columns = sinogram.shape
    shape = volume.shape
    flat = volume.reshape(-1)
    strides = (shape[1] * shape[2], shape[2], 1)
    for task in prange(views * rows):
        view, row = task // rows, task % rows
        for column in range(columns):
            r, c = row - 0.5 * (rows - 1), column - 0.5 * (columns - 1)
            a, low, high, b0, db, c0, dc, length = _ray(
                kind, frames[view], curve, r, c, shape, spacing, origin
            )
            b, e = (1 if a == 0 else 0), (1 if a == 2 else 2)
            nb, nc, sb, sc = shape[b], shape[e], strides[b], strides[e]
            total = 0.0
            for i in range(low, high):
                pb, pc = b0 + i * db, c0 + i * dc
                ib, ic = math.floor(pb), math.floor(pc)
                wb, wc = pb - ib, pc - ic
                at = i * strides[a] + ib * sb + ic * sc
                if 0 <= ib < nb:
                    if 0 <= ic < nc:
                        total += (1 - wb) * (1 - wc) * flat[at]
                    if 0 <= ic + 1 < nc:
                        total += (1 - wb) * wc * flat[at + sc]
                if 0 <= ib + 1 < nb:
                    if 0 <= ic < nc:
                        total += wb * (1 - wc) * flat[at + sb]
                    if 0 <= ic + 1 < nc:
                        total += wb * wc * flat[at + sb + sc]
            sinogram[view, row, column] = total * length


@parallel_jit
def adjoint(
    volume: Any, sinogram: Any, kind: int, frames: Any, curve: Any, spacing: Any, origin: Any,
    slabs: int,
) -> None:  # fmt: skip
    """Back project ``sinogram (view, row, column)`` into ``volume (z, y, x)``: the transpose."""
    views, rows, columns = sinogram.shape
    shape = volume.shape
    flat = volume.reshape(-1)
    strides = (shape[1] * shape[2], shape[2], 1)
    cut = 1 if shape[0] < slabs else 0  # the axis that is cut into slabs
    for slab in prange(slabs):
        start, stop = slab * shape[cut] // slabs, (slab + 1) * shape[cut] // slabs
        if cut == 0:
            volume[start:stop] = 0
        else:
            volume[:, start:stop] = 0
        for ray in range(views * rows * columns):
            view, row, column = (
                ray // (rows * columns), (ray // columns) % rows, ray % columns
            )  # fmt: skip
            r, c = row - 0.5 * (rows - 1), column - 0.5 * (columns - 1)
            a, low, high, b0, db, c0, dc, length = _ray(
                kind, frames[view], curve, r, c, shape, spacing, origin
            )
            b, e = (1 if a == 0 else 0), (1 if a == 2 else 2)
            sb, sc = strides[b], strides[e]
            b_low, b_high, c_low, c_high = 0, shape[b], 0, shape[e]
            if cut == a:
                low, high = max(low, start), min(high, stop)
            elif cut == b:
                b_low, b_high = start, stop
                low, high = _clip(low, high, b0, db, start - 1.0, float(stop))
            else:
                c_low, c_high = start, stop
                low, high = _clip(low, high, c0, dc, start - 1.0, float(stop))
            value = sinogram[view, row, column] * length
            for i in range(low, high):
                pb, pc = b0 + i * db, c0 + i * dc
                ib, ic = math.floor(pb), math.floor(pc)
                wb, wc = pb - ib, pc - ic
                at = i * strides[a] + ib * sb + ic * sc
                if b_low <= ib < b_high:
                    if c_low <= ic < c_high:
                        flat[at] += (1 - wb) * (1 - wc) * value
                    if c_low <= ic + 1 < c_high:
                        flat[at + sc] += (1 - wb) * wc * value
                if b_low <= ib + 1 < b_high:
                    if c_low <= ic < c_high:
                        flat[at + sb] += wb * (1 - wc) * value
                    if c_low <= ic + 1 < c_high:
                        flat[at + sb + sc] += wb * wc * value
