"""Separable footprint in a plane, parallel and fan: one slice, or 16 slices side by side.

Forward, a thread owns views; back, it owns tiles of the image: no two write to one place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..threads import parallel_jit
from .footprint import FINE, TILE, row_positions, tile_numbers, tile_view
from .lanes import LANES, add_scaled

VIEWS = 16  # views that share one pass over the image


@parallel_jit
def forward_one(
    image: Any, sinogram: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Project ``image (y, x)`` into ``sinogram (view, column)``."""
    views, columns = sinogram.shape
    ny, nx = image.shape
    across = (nx + TILE - 1) // TILE
    tiles = across * ((ny + TILE - 1) // TILE)
    for block in prange((views + VIEWS - 1) // VIEWS):
        h, p, numbers = tile_numbers(cells, image.dtype)
        fine = np.empty(cells, image.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, image.dtype), np.empty(TILE, image.dtype)
        start, stop = block * VIEWS, min((block + 1) * VIEWS, views)
        sinogram[start:stop] = 0
        for work in range(tiles * (stop - start)):
            tile, view = work // (stop - start), start + work % (stop - start)
            y0, x0 = (tile // across) * TILE, (tile % across) * TILE
            x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
            first, last, half = tile_view(beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            fine[: (last - first) * FINE + 2 * half + 1] = 0
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    value = image[y0 + j, x0 + i] * weight[i]
                    right = value * part[i]
                    fine[cell[i]] += value - right
                    fine[cell[i] + 1] += right
            for c in range(max(first, 0), min(last + 1, columns)):
                base = (c - first) * FINE
                total = sinogram[view, c]
                for k in range(2 * half + 1):
                    total += h[k] * fine[base + k]
                sinogram[view, c] = total


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
        total = image[y0 : y0 + TILE, x0 : x0 + TILE]
        total[:] = 0
        for view in range(views):
            first, last, half = tile_view(beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            fine[: (last - first) * FINE + 2 * half + 1] = 0
            for c in range(max(first, 0), min(last + 1, columns)):
                base = (c - first) * FINE
                value = sinogram[view, c]
                for k in range(2 * half + 1):
                    fine[base + k] += h[k] * value
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    left = fine[cell[i]]
                    total[j, i] += weight[i] * (left + part[i] * (fine[cell[i] + 1] - left))


@parallel_jit
def forward_stack(
    image: Any, sinogram: Any, beam: Any, turns: Any, xs: Any, ys: Any, cells: int
) -> None:
    """Project ``image (block, y, x, lane)`` into ``sinogram (block, view, column, lane)``."""
    stacks, views, columns, _ = sinogram.shape
    ny, nx = image.shape[1:3]
    pixels, rays = image.reshape(-1), sinogram.reshape(-1)
    across = (nx + TILE - 1) // TILE
    tiles = across * ((ny + TILE - 1) // TILE)
    blocks = (views + VIEWS - 1) // VIEWS
    for task in prange(stacks * blocks):
        stack, block = task // blocks, task % blocks
        h, p, numbers = tile_numbers(cells, image.dtype)
        fine = np.empty(cells * LANES, image.dtype)
        cell = np.empty(TILE, np.int32)
        part, weight = np.empty(TILE, image.dtype), np.empty(TILE, image.dtype)
        start, stop = block * VIEWS, min((block + 1) * VIEWS, views)
        sinogram[stack, start:stop] = 0
        for work in range(tiles * (stop - start)):
            tile, view = work // (stop - start), start + work % (stop - start)
            y0, x0 = (tile // across) * TILE, (tile % across) * TILE
            x, y = xs[x0 : x0 + TILE], ys[y0 : y0 + TILE]
            first, last, half = tile_view(beam, turns[view, 0], turns[view, 1], x, y, h, p, numbers)
            if last < 0 or first >= columns:
                continue
            fine[: ((last - first) * FINE + 2 * half + 1) * LANES] = 0
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                at = ((stack * ny + y0 + j) * nx + x0) * LANES
                for i in range(len(x)):
                    left, pixel = cell[i] * LANES, at + i * LANES
                    w1 = weight[i] * part[i]
                    add_scaled(fine, left, pixels, pixel, weight[i] - w1)
                    add_scaled(fine, left + LANES, pixels, pixel, w1)
            row = (stack * views + view) * columns
            for k in range(2 * half + 1):  # columns inner: no step waits for the one before
                for c in range(max(first, 0), min(last + 1, columns)):
                    node = (c - first) * FINE + k
                    add_scaled(rays, (row + c) * LANES, fine, node * LANES, h[k])


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
            fine[: ((last - first) * FINE + 2 * half + 1) * LANES] = 0
            for c in range(max(first, 0), min(last + 1, columns)):
                ray, node = ((stack * views + view) * columns + c) * LANES, (c - first) * FINE
                for k in range(2 * half + 1):
                    add_scaled(fine, (node + k) * LANES, rays, ray, h[k])
            for j in range(len(y)):
                row_positions(beam[0], p, x, y[j], cell, part, weight)
                for i in range(len(x)):
                    left, pixel = cell[i] * LANES, (j * TILE + i) * LANES
                    w1 = weight[i] * part[i]
                    add_scaled(sums, pixel, fine, left, weight[i] - w1)
                    add_scaled(sums, pixel, fine, left + LANES, w1)
        block = sums.reshape(TILE, TILE, LANES)
        image[stack, y0 : y0 + TILE, x0 : x0 + TILE] = block[: len(y), : len(x)]
