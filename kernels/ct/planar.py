"""Separable footprint in a plane, parallel and fan: one slice, or 16 slices side by side.

Forward, a thread owns views; back, it owns tiles of the image: no two write to one place. Pixels
of one slice are taken along the axis on which their shadows move faster, so that a pixel's does not
wait for its neighbour's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..simd import add_pairs, every_second, fill, interleave, load, load_pairs, store, total
from ..threads import jit, parallel_jit
from .footprint import PLANAR_FINE as FINE
from .footprint import TILE, row_positions, tile_numbers, tile_view
from .lanes import LANES, add_scaled

VIEWS = 16  # views that share one pass over the image
TASKS = 4  # at least so many a thread, so that none waits long for the last
GROUP = 8  # pixels taken together of one slice


def views_together(views: int, stacks: int, threads: int) -> int:
    """Views that share a pass over the image: many, but not so many that threads have no work."""
    return max(min(VIEWS, views * stacks // (TASKS * threads)), 1)


@jit
def faster_axis(beam: Any, p: Any) -> int:
    """0 if shadows move faster along x, 1 if along y; then `p` is turned: y inside, -x outside."""
    if abs(p[1]) * beam[6] <= abs(p[0]) * beam[5]:
        return 0
    p[0], p[1] = p[1], -p[0]
    return 1


@jit
def lengthened(x: Any) -> Any:
    """The coordinates up to a whole number of groups, the last one repeated."""
    result = np.full((len(x) + GROUP - 1) // GROUP * GROUP, x[-1], x.dtype)
    result[: len(x)] = x
    return result


@parallel_jit
def forward_one(
    image: Any, sinogram: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int, together: int
) -> None:
    """Project ``image (y, x)`` into ``sinogram (view, column)``, `together` views a pass."""
    views, columns = sinogram.shape
    ny, nx = image.shape
    across = (nx + TILE - 1) // TILE
    tiles = across * ((ny + TILE - 1) // TILE)
    for block in prange((views + together - 1) // together):
        h, p, numbers = tile_numbers(cells, image.dtype)
        fine = np.empty(cells, image.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, image.dtype), np.empty(TILE, image.dtype)
        start, stop = block * together, min((block + 1) * together, views)
        sinogram[start:stop] = 0
        for tile in range(tiles):
            y0, x0 = (tile // across) * TILE, (tile % across) * TILE
            x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
            pixels = np.zeros((2, TILE, TILE), image.dtype)  # along x, along y
            pixels[0, : len(y), : len(x)] = image[y0 : y0 + TILE, x0 : x0 + TILE]
            pixels[1] = pixels[0].T
            flat, along = pixels.reshape(-1), (lengthened(x), lengthened(y))
            for view in range(start, stop):
                first, last, half = tile_view(
                    beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers
                )
                if last < 0 or first >= columns:
                    continue
                taps = (2 * half + FINE) // FINE
                fine[: (last - first + taps) * FINE] = 0
                axis = faster_axis(beam, p)
                inner, outer = along[axis], x if axis else y
                for j in range(len(outer)):
                    row_positions(
                        beam[0], p, inner, -outer[j] if axis else outer[j], cell, part, weight
                    )
                    line = (axis * TILE + j) * TILE
                    for i in range(0, len(inner), GROUP):
                        value = load(flat, line + i, GROUP) * load(weight, i, GROUP)
                        right = value * load(part, i, GROUP)
                        add_pairs(fine, cell, i, interleave(value - right, right))
                for c in range(max(first, 0), min(last + 1, columns)):
                    sums = fill(image.dtype.type(0), FINE)
                    for k in range(taps):
                        at = (c - first + k) * FINE
                        sums = sums + load(fine, at, FINE) * load(h, k * FINE, FINE)
                    sinogram[view, c] += total(sums)


@jit
def spread_columns(row: Any, first: int, last: int, taps: int, h: Any, fine: Any) -> None:
    """Columns times their footprint, summed on the fine grid: the transpose of reading them."""
    for cell in range(last - first + taps):
        sums = fill(row.dtype.type(0), FINE)
        for k in range(taps):
            c = first + cell - k
            if max(first, 0) <= c < min(last + 1, len(row)):
                sums = sums + load(h, k * FINE, FINE) * row[c]
        store(fine, cell * FINE, sums)


@jit
def between(values: Any, cell: Any, i: int, part: Any) -> Any:
    """Linear interpolation of a row of values: a group of cells, from `i` on, and parts of them."""
    pairs = load_pairs(values, cell, i, GROUP)
    left, right = every_second(pairs, 0), every_second(pairs, 1)
    return left + (right - left) * part


@parallel_jit
def adjoint_one(
    image: Any, sinogram: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Back project ``sinogram (view, column)`` into ``image (y, x)``: the transpose."""
    views, columns = sinogram.shape
    ny, nx = image.shape
    across = (nx + TILE - 1) // TILE
    for tile in prange(across * ((ny + TILE - 1) // TILE)):
        h, p, numbers = tile_numbers(cells, image.dtype)
        fine = np.empty(cells, image.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, image.dtype), np.empty(TILE, image.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        pixels = np.zeros((2, TILE, TILE), image.dtype)  # along x, along y
        flat, along = pixels.reshape(-1), (lengthened(x), lengthened(y))
        for view in range(views):
            first, last, half = tile_view(beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            spread_columns(sinogram[view], first, last, (2 * half + FINE) // FINE, h, fine)
            axis = faster_axis(beam, p)
            inner, outer = along[axis], x if axis else y
            for j in range(len(outer)):
                row_positions(
                    beam[0], p, inner, -outer[j] if axis else outer[j], cell, part, weight
                )
                line = (axis * TILE + j) * TILE
                for i in range(0, len(inner), GROUP):
                    value = between(fine, cell, i, load(part, i, GROUP)) * load(weight, i, GROUP)
                    store(flat, line + i, load(flat, line + i, GROUP) + value)
        pixels[0] += pixels[1].T
        image[y0 : y0 + TILE, x0 : x0 + TILE] = pixels[0, : len(y), : len(x)]


@parallel_jit
def forward_stack(
    image: Any, sinogram: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int, together: int
) -> None:
    """Project ``image (block, y, x, lane)`` into ``sinogram (block, view, column, lane)``."""
    stacks, views, columns, _ = sinogram.shape
    ny, nx = image.shape[1:3]
    pixels, rays = image.reshape(-1), sinogram.reshape(-1)
    across = (nx + TILE - 1) // TILE
    tiles = across * ((ny + TILE - 1) // TILE)
    blocks = (views + together - 1) // together
    for task in prange(stacks * blocks):
        stack, block = task // blocks, task % blocks
        h, p, numbers = tile_numbers(cells, image.dtype)
        fine = np.empty(cells * LANES, image.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, image.dtype), np.empty(TILE, image.dtype)
        start, stop = block * together, min((block + 1) * together, views)
        sinogram[stack, start:stop] = 0
        for work in range(tiles * (stop - start)):
            tile, view = work // (stop - start), start + work % (stop - start)
            y0, x0 = (tile // across) * TILE, (tile % across) * TILE
            x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
            first, last, half = tile_view(beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            # one node more than the footprint reaches: the odd sum below may read it
            fine[: ((last - first) * FINE + 2 * half + 2) * LANES] = 0
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                at = ((stack * ny + y0 + j) * nx + x0) * LANES
                for i in range(len(x)):
                    left, pixel = cell[i] * LANES, at + i * LANES
                    w1 = weight[i] * part[i]
                    add_scaled(fine, left, pixels, pixel, weight[i] - w1)
                    add_scaled(fine, left + LANES, pixels, pixel, w1)
            row = (stack * views + view) * columns
            for c in range(max(first, 0), min(last + 1, columns)):
                node, ray = (c - first) * FINE * LANES, (row + c) * LANES
                even, odd = load(rays, ray, LANES), fill(image.dtype.type(0), LANES)
                for k in range(0, 2 * half + 1, 2):  # two sums: no step waits for the one before
                    at = node + k * LANES
                    even = even + load(fine, at, LANES) * h[k]
                    odd = odd + load(fine, at + LANES, LANES) * h[k + 1]
                store(rays, ray, even + odd)


@parallel_jit
def adjoint_stack(
    image: Any, sinogram: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Back project ``(block, view, column, lane)`` into ``(block, y, x, lane)``: the transpose."""
    stacks, views, columns, _ = sinogram.shape
    ny, nx = image.shape[1:3]
    rays = sinogram.reshape(-1)
    across = (nx + TILE - 1) // TILE
    tiles = across * ((ny + TILE - 1) // TILE)
    for task in prange(stacks * tiles):
        stack, tile = task // tiles, task % tiles
        h, p, numbers = tile_numbers(cells, image.dtype)
        fine = np.empty(cells * LANES, image.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, image.dtype), np.empty(TILE, image.dtype)
        y0, x0 = (tile // across) * TILE, (tile % across) * TILE
        x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
        sums = np.zeros(TILE * TILE * LANES, image.dtype)
        for view in range(views):
            first, last, half = tile_view(beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            taps = (2 * half + FINE) // FINE
            for node in range((last - first + taps) * FINE):
                c, value = first + node // FINE, fill(image.dtype.type(0), LANES)
                for k in range(taps):
                    if max(first, 0) <= c - k < min(last + 1, columns):
                        ray = ((stack * views + view) * columns + c - k) * LANES
                        value = value + load(rays, ray, LANES) * h[node % FINE + k * FINE]
                store(fine, node * LANES, value)
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    left, pixel = cell[i] * LANES, (j * TILE + i) * LANES
                    w1 = weight[i] * part[i]
                    add_scaled(sums, pixel, fine, left, weight[i] - w1)
                    add_scaled(sums, pixel, fine, left + LANES, w1)
        block = sums.reshape(TILE, TILE, LANES)
        image[stack, y0 : y0 + TILE, x0 : x0 + TILE] = block[: len(y), : len(x)]


@parallel_jit
def interleave_slices(stack: Any, out: Any) -> None:
    """Copy ``(slice, a, b)`` to ``(block, a, b, lane)``, zeros in unused lanes."""
    blocks, rows, columns, lanes = out.shape
    for task in prange(blocks * rows):
        block, row = task // rows, task % rows
        for lane in range(lanes):
            i = block * lanes + lane
            for c in range(columns):
                out[block, row, c, lane] = stack[i, row, c] if i < len(stack) else 0


@parallel_jit
def separate_slices(blocks: Any, out: Any) -> None:
    """Copy ``(block, a, b, lane)`` to ``(slice, a, b)``."""
    count, rows, columns = out.shape
    lanes = blocks.shape[3]
    for row in prange(rows):
        for i in range(count):
            for c in range(columns):
                out[i, row, c] = blocks[i // lanes, row, c, i % lanes]
