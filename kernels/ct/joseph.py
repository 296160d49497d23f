"""Joseph's projector for any geometry: linear interpolation in each plane that a ray crosses.

P. M. Joseph, An improved algorithm for reprojecting rays through pixel images, IEEE Trans. Med.
Imaging 1 (1982) 192. Forward, a thread owns rays; back, it owns a slab of the volume and follows
all rays through it: no two write to one place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ..threads import jit, parallel_jit
from .base import Array
from .footprint import CURVED, PARALLEL
from .geometry import CircularBeam, ConeBeam, DivergentBeam, Geometry, ModularBeam

Ray = tuple[int, int, int, float, float, float, float, float]


def ray_frames(geometry: Geometry) -> Array:
    """Source or ray direction, detector centre, row step, column step per view, ``(view, 4, 3)``.

    Vectors are (x, y, z) in mm. A parallel beam holds the ray's direction in place of the source,
    a curved detector the unit vectors along the central ray, z and columns.
    """
    if isinstance(geometry, ModularBeam):
        vectors = (
            geometry.source,
            geometry.detector_center,
            geometry.row_vector,
            geometry.column_vector,
        )
        return np.stack(vectors, axis=1)
    assert isinstance(geometry, CircularBeam)
    zero, one = np.zeros(len(geometry)), np.ones(len(geometry))
    column = np.stack([np.cos(geometry.angles), np.sin(geometry.angles), zero], axis=1)
    ray = np.stack([-np.sin(geometry.angles), np.cos(geometry.angles), zero], axis=1)
    up = np.stack([zero, zero, one], axis=1)
    step = geometry.column_spacing
    shift = column * geometry.column_offset * step
    if not isinstance(geometry, DivergentBeam):
        return np.stack([ray, shift, up, column * step], axis=1)
    source, row_step, row_offset = -geometry.source_to_isocenter * ray, 1.0, 0.0
    if isinstance(geometry, ConeBeam):
        source = source + up * geometry.source_z[:, None]
        row_step, row_offset = geometry.row_spacing, geometry.row_offset
    if geometry.detector == "curved":
        return np.stack([source, ray, up, column], axis=1)
    center = source + geometry.source_to_detector * ray + shift + up * row_offset * row_step
    return np.stack([source, center, up * row_step, column * step], axis=1)


@jit
def _ray(
    kind: int, f: Any, curve: Any, row: float, column: float, shape: Any, spacing: Any, origin: Any
) -> Ray:
    """Driving axis (of z, y, x), first and last + 1 plane, the two others' positions and steps.

    `row` and `column` count from the middle of the detector; positions are in voxels.
    """
    sdd, column_angle, angle_offset, row_step, row_shift = curve
    if kind == CURVED:
        angle = column * column_angle + angle_offset
        ahead, aside, up = sdd * math.cos(angle), sdd * math.sin(angle), row * row_step + row_shift
    start, step = np.empty(3), np.empty(3)
    for axis in range(3):
        i = 2 - axis
        detector = f[1, i] + row * f[2, i] + column * f[3, i]
        if kind == CURVED:
            start[axis] = f[0, i]
            step[axis] = ahead * f[1, i] + aside * f[3, i] + up * f[2, i]
        elif kind == PARALLEL:
            start[axis], step[axis] = detector, f[0, i]
        else:
            start[axis], step[axis] = f[0, i], detector - f[0, i]
    length = math.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    for axis in range(3):
        start[axis] = (start[axis] - origin[axis]) / spacing[axis]
        step[axis] = step[axis] / (length * spacing[axis])
    a = int(np.argmax(np.abs(step)))
    b, c = (1 if a == 0 else 0), (1 if a == 2 else 2)
    db, dc = step[b] / step[a], step[c] / step[a]
    b0, c0 = start[b] - start[a] * db, start[c] - start[a] * dc
    low, high = _clip(0, shape[a], b0, db, -1.0, float(shape[b]))
    low, high = _clip(low, high, c0, dc, -1.0, float(shape[c]))
    return a, low, high, b0, db, c0, dc, 1 / abs(step[a])


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
