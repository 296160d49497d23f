"""Pixel-driven back projection by linear interpolation, for analytic reconstruction.

Not the transpose of a projector: each pixel reads each filtered view once. Fan and cone views are
weighted by the inverse square of the distance in the plane from the source to the pixel.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, prange

from ..arrays import like, on_gpu
from ..simd import load, store
from ..threads import jit, parallel_jit
from .base import Array
from .footprint import CURVED, FINE, TILE, row_positions, tile_numbers, tile_view
from .geometry import CircularBeam, ConeBeam, DivergentBeam, Geometry, VolumeGrid
from .planar import GROUP, between, lengthened
from .projector import Projector, checked

A = TypeVar("A")


def backproject(sinogram: A, geometry: Geometry, volume: VolumeGrid) -> A:
    """Sum over the views of the sample that each pixel is seen at, by linear interpolation.

    Parameters
    ----------
    sinogram
        Filtered views ``(*batch, view, [row,] column)``, NumPy, torch or CuPy; zero beyond the
        detector.
    geometry
        Parallel, fan, cone or helical.
    volume
        The image's grid.

    Returns
    -------
    array or tensor
        ``(*batch, [z,] y, x)``: the sum, for a fan or cone with each term over the squared
        distance in mm from the source to the pixel, measured in the plane of the orbit.

    Raises
    ------
    TypeError, ValueError
        As `Projector`.
    """
    if not isinstance(geometry, CircularBeam):
        raise TypeError(f"backproject takes parallel, fan and cone beams, got {geometry}")
    plan = Projector(geometry, volume)
    if on_gpu(sinogram):
        return plan.on_card("backproject", "sinogram", sinogram, geometry.shape)
    array = checked("sinogram", sinogram, geometry.shape)
    batch = array.shape[: array.ndim - geometry.ndim]
    stack = array.reshape(-1, *geometry.shape)
    if (weights := column_weights(geometry)) is not None:
        stack = stack * weights.astype(array.dtype)
    xs, ys = plan.axes(array.dtype)
    images = np.empty((len(stack), *volume.shape), array.dtype)
    if isinstance(geometry, ConeBeam):
        for i, views in enumerate(stack):
            lines = np.ascontiguousarray(views.transpose(0, 2, 1))
            block = np.empty((*volume.shape[1:], volume.shape[0]), array.dtype)
            _cone(block, lines, plan.beam, plan.axial, plan.turns, xs, ys, plan.cells)
            images[i] = block.transpose(2, 0, 1)
    else:
        _planar(images, stack, plan.beam, plan.turns, xs, ys, plan.cells)
    return cast(A, like(images.reshape(*batch, *volume.shape), sinogram))


def column_weights(geometry: CircularBeam) -> Array | None:
    """What a view's columns are multiplied with first, ``(column,)``; None where they are right.

    `row_positions` weights flat views with (r / d^2)^2, not 1 / r^2.
    """
    if not isinstance(geometry, DivergentBeam) or geometry.detector == "curved":
        return None
    return np.asarray(np.cos(geometry.fan_angles) ** 4)


@jit
def _columns(beam: Any, turn: Any, x: Any, y: Any, h: Any, p: Any, numbers: Any) -> tuple[int, int]:
    """First and last column of a tile; `p` then maps to columns counted from the first."""
    first, last, half = tile_view(beam, turn[0], turn[1], x, y, h, p, numbers)
    # The shadow of a pixel far narrower than a column may begin beyond the column on its left,
    # which interpolation reads.
    p[4] = numbers[4] / FINE
    p[5] = (numbers[5] - half) / FINE + 1
    p[6] = 1.0
    return first - 1, last


@parallel_jit
def _planar(images: Any, views: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int) -> None:
    count, ny, nx = images.shape
    columns = views.shape[2]
    across = (nx + TILE - 1) // TILE
    tiles = across * ((ny + TILE - 1) // TILE)
    for task in prange(count * tiles):
        image, tile = task // tiles, task % tiles
        h, p, numbers = tile_numbers(cells, images.dtype)
        seen = np.empty(cells, images.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, images.dtype), np.empty(TILE, images.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        line = lengthened(x)
        sums = np.zeros(TILE * TILE, images.dtype)
        for view in range(len(turns)):
            first, last = _columns(beam, turns[view], x, y, h, p, numbers)
            seen[: last - first + 2] = 0
            for c in range(max(first, 0), min(last + 2, columns)):
                seen[c - first] = views[image, view, c]
            for j in range(len(y)):
                row_positions(beam[0], p, line, y[j], cell, part, weight)
                for i in range(0, len(line), GROUP):
                    value, w = between(seen, cell, part, i), load(weight, i, GROUP)
                    at = j * TILE + i
                    store(sums, at, load(sums, at, GROUP) + value * w * w)
        block = sums.reshape(TILE, TILE)
        images[image, y0 : y0 + TILE, x0 : x0 + TILE] = block[: len(y), : len(x)]


@parallel_jit
def _cone(
    volume: Any, views: Any, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """``views (view, column, row)`` into ``volume (y, x, z)``."""
    ny, nx, nz = volume.shape
    columns, rows = views.shape[1:]
    sdd, row_spacing, row_edge, dz, z_edge = axial
    across = (nx + TILE - 1) // TILE
    for tile in prange(across * ((ny + TILE - 1) // TILE)):
        h, p, numbers = tile_numbers(cells, volume.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, volume.dtype), np.empty(TILE, volume.dtype)
        line = np.zeros(rows + 3, volume.dtype)  # rounding may reach the zero behind the last
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        volume[y0 : y0 + TILE, x0 : x0 + TILE] = 0
        for view in range(len(turns)):
            cosine, sine, height = turns[view]
            first, _ = _columns(beam, turns[view], x, y, h, p, numbers)
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    c = first + cell[i]
                    if c < 0 or c + 1 >= columns:
                        continue
                    factor = weight[i] * weight[i]
                    w1 = factor * part[i]
                    w0 = factor - w1
                    left, right = views[view, c], views[view, c + 1]
                    for r in range(rows):
                        line[r + 1] = w0 * left[r] + w1 * right[r]
                    d = beam[1] - x[i] * sine + y[j] * cosine
                    if beam[0] == CURVED:
                        d = math.hypot(d, x[i] * cosine + y[j] * sine)
                    step = sdd / (d * row_spacing) * dz
                    start = (z_edge + 0.5 * dz - height) / dz * step - row_edge / row_spacing + 0.5
                    low = max(0, math.ceil(-start / step))
                    high = min(nz, math.ceil((rows + 1 - start) / step))
                    _along_z(volume[y0 + j, x0 + i], line, start, step, low, high)


@njit(cache=True, nogil=True, error_model="numpy")
def _along_z(voxels: Any, line: Any, start: float, step: float, low: int, high: int) -> None:
    """Add the rows, interpolated at ``start + k step``, to the voxels low..high."""
    for k in range(low, high):
        t = start + k * step
        r = np.int32(t)
        voxels[k] += line[r] + (t - r) * (line[r + 1] - line[r])
