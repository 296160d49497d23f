"""Pixel-driven back projection by linear interpolation, for analytic reconstruction.

Not the transpose of a projector: each pixel reads each filtered view once. Fan and cone views are
weighted by the inverse square of the distance in the plane from the source to the pixel.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, prange

from ..arrays import like, on_gpu, to_numpy
from ..simd import load, store
from ..threads import jit, parallel_jit, thread_count
from .base import Array
from .footprint import CURVED, TILE, map_numbers, row_positions, tile_map
from .geometry import CircularBeam, ConeBeam, DivergentBeam, Geometry, VolumeGrid
from .planar import GROUP, between, lengthened
from .projector import Projector, checked

A = TypeVar("A")
TASKS = 4  # at least so many a thread
THINNEST = 16  # voxels along z of a slab that is a task of its own


def backproject(sinogram: A, geometry: Geometry, volume: VolumeGrid) -> A:
    """Sum over the views of the sample that each pixel is seen at, by linear interpolation.

    Parameters
    ----------
    sinogram
        Filtered views ``(*batch, view, [row,] column)``, NumPy, torch or CuPy. Beyond the outermost
        columns and rows they fall to zero within one more.
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
    sums = BackProjection(geometry, volume)
    if on_gpu(sinogram):
        return sums.plan.on_card("backproject", "sinogram", sinogram, geometry.shape)
    array = checked("sinogram", sinogram, geometry.shape)
    batch = array.shape[: array.ndim - geometry.ndim]
    stack = array.reshape(-1, *geometry.shape)
    images = np.zeros((len(stack), *volume.shape), array.dtype)
    sums.add(images, stack)
    return cast(A, like(images.reshape(*batch, *volume.shape), sinogram))


class BackProjection:
    """`backproject` in parts: views are added as they come.

    Parameters
    ----------
    geometry, volume
        As `backproject`.
    """

    def __init__(self, geometry: Geometry, volume: VolumeGrid) -> None:
        if not isinstance(geometry, CircularBeam):
            raise TypeError(f"backproject takes parallel, fan and cone beams, got {geometry}")
        self.geometry, self.plan = geometry, Projector(geometry, volume)

    def add(self, images: Any, views: Any, first: int = 0) -> None:
        """Add some views, from `first` on, to images.

        Parameters
        ----------
        images
            ``(n, [z,] y, x)``, contiguous; arrays and CPU tensors, or CUDA tensors.
        views
            ``(n, view, [row,] column)``, of the same kind and precision.
        first
            The geometry's view that stands first.
        """
        if on_gpu(views):
            self.plan.card(views.device).add_views(images, views, first)
            return
        plan, images, views = self.plan, to_numpy("images", images), to_numpy("views", views)
        weights = column_weights(self.geometry)
        factor = None if weights is None else weights.astype(views.dtype)
        turns, axes = plan.turns[first : first + views.shape[1]], plan.axes(views.dtype)
        if not isinstance(self.geometry, ConeBeam):
            views = views if factor is None else views * factor
            _planar(images, views, plan.beam, turns, *axes, plan.cells)
            return
        columns, rows = views.shape[3], views.shape[2]
        slabs = slabs_along_z(self.plan.volume.shape, thread_count())
        for volume, part in zip(images, views, strict=True):
            lines = np.zeros((len(part), columns + 2, rows), part.dtype)
            lines[:, 1:-1] = part.transpose(0, 2, 1)
            if factor is not None:
                lines[:, 1:-1] *= factor[:, None]
            _cone(volume, lines, plan.beam, plan.axial, turns, *axes, slabs)

    def memory(self, views: int, itemsize: int = 4) -> int:
        """Bytes that `add` uses on the CPU for some views, of one volume or one slice."""
        samples = views * int(np.prod(self.geometry.shape[1:]))
        if not isinstance(self.geometry, ConeBeam):
            return itemsize * samples
        rows, shape = self.geometry.rows, self.plan.volume.shape
        depth = -(-shape[0] // slabs_along_z(shape, thread_count()))
        return itemsize * (samples + 2 * views * rows + thread_count() * TILE * TILE * depth)


def slabs_along_z(shape: tuple[int, ...], threads: int) -> int:
    """Slabs of a volume ``(z, y, x)`` that are tasks of their own: several where tiles are few."""
    nz, ny, nx = shape
    tiles = -(-ny // TILE) * -(-nx // TILE)
    return max(min(-(-TASKS * threads // tiles), nz // THINNEST), 1)


def column_weights(geometry: CircularBeam) -> Array | None:
    """What a view's columns are multiplied with first, ``(column,)``; None where they are right.

    `row_positions` weights flat views with (r / d^2)^2, not 1 / r^2.
    """
    if not isinstance(geometry, DivergentBeam) or geometry.detector == "curved":
        return None
    return np.asarray(np.cos(geometry.fan_angles) ** 4)


@jit
def _columns(beam: Any, turn: Any, x: Any, y: Any, p: Any, numbers: Any) -> tuple[int, int]:
    """First and last column of a tile; `p` then maps to columns counted from the first."""
    first, last, half, _, _ = tile_map(beam, turn[0], turn[1], x, y, p, numbers)
    # The shadow of a pixel far narrower than a column may begin beyond the column on its left,
    # which interpolation reads.
    p[4] = numbers[4] / beam[7]
    p[5] = (numbers[5] - half) / beam[7] + 1
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
        p, numbers = map_numbers(images.dtype), np.zeros(8)
        seen = np.empty(cells, images.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, images.dtype), np.empty(TILE, images.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        line = lengthened(x)
        sums = np.zeros(TILE * TILE, images.dtype)
        for view in range(len(turns)):
            first, last = _columns(beam, turns[view], x, y, p, numbers)
            seen[: last - first + 2] = 0
            for c in range(max(first, 0), min(last + 2, columns)):
                seen[c - first] = views[image, view, c]
            for j in range(len(y)):
                row_positions(beam[0], p, line, y[j], cell, part, weight)
                for i in range(0, len(line), GROUP):
                    value, w = between(seen, cell, i, load(part, i, GROUP)), load(weight, i, GROUP)
                    at = j * TILE + i
                    store(sums, at, load(sums, at, GROUP) + value * w * w)
        block = sums.reshape(TILE, TILE)
        images[image, y0 : y0 + TILE, x0 : x0 + TILE] += block[: len(y), : len(x)]


@parallel_jit
def _cone(
    volume: Any, views: Any, beam: Any, axial: Any, turns: Any, xs: Any, ys: Any, slabs: int
) -> None:
    """``views (view, column, row)``, a zero column at each end, into ``volume (z, y, x)``."""
    nz, ny, nx = volume.shape
    columns, rows = views.shape[1:]
    sdd, row_spacing, row_edge, dz, z_edge = axial
    across = (nx + TILE - 1) // TILE
    for task in prange(across * ((ny + TILE - 1) // TILE) * slabs):
        tile, slab = task // slabs, task % slabs
        bottom, top = slab * nz // slabs, (slab + 1) * nz // slabs
        p, numbers = map_numbers(volume.dtype), np.zeros(8)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, volume.dtype), np.empty(TILE, volume.dtype)
        line = np.zeros(rows + 3, volume.dtype)  # rounding may reach the zero behind the last
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        sums = np.zeros((len(y), len(x), top - bottom), volume.dtype)
        for view in range(len(turns)):
            cosine, sine, height = turns[view]
            first, _ = _columns(beam, turns[view], x, y, p, numbers)
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    c = first + cell[i] + 1
                    if c < 0 or c + 1 >= columns:
                        continue
                    factor = weight[i] * weight[i]
                    w1 = factor * part[i]
                    w0 = factor - w1
                    left, right = views[view, c], views[view, c + 1]
                    d = beam[1] - x[i] * sine + y[j] * cosine
                    if beam[0] == CURVED:
                        d = math.hypot(d, x[i] * cosine + y[j] * sine)
                    step = sdd / (d * row_spacing) * dz
                    start = (z_edge + 0.5 * dz - height) / dz * step - row_edge / row_spacing + 0.5
                    low = max(bottom, math.ceil(-start / step))
                    high = min(top, math.ceil((rows + 1 - start) / step))
                    for r in range(rows):
                        line[r + 1] = w0 * left[r] + w1 * right[r]
                    start += bottom * step
                    _along_z(sums[j, i], line, start, step, low - bottom, high - bottom)
        for k in range(bottom, top):
            for j in range(len(y)):
                for i in range(len(x)):
                    volume[k, y0 + j, x0 + i] += sums[j, i, k - bottom]


@njit(cache=True, nogil=True, error_model="numpy")
def _along_z(voxels: Any, line: Any, start: float, step: float, low: int, high: int) -> None:
    """Add the rows, interpolated at ``start + k step``, to the voxels low..high."""
    for k in range(low, high):
        t = start + k * step
        r = np.int32(t)
        voxels[k] += line[r] + (t - r) * (line[r + 1] - line[r])
