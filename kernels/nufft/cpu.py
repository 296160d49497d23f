"""NUFFT kernels for the CPU: tables of a trajectory, interpolation and spreading.

The grid is ``(job, z, y, x, coil)`` with coils innermost; a job is one frame's block of up to
eight coils. Every axis carries a halo of ``width - 1`` cells behind its end, the periodic copy of
its beginning, so that no window ever wraps. Threads take tasks from an atomic counter; tiles of
one colour never touch the same cell, so spreading needs no atomics and is deterministic.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from ..simd import (
    accumulate,
    load,
    next_task,
    prefetch,
    repeat,
    store,
    tile,
    weigh_and_fold,
    zero_row,
)
from ..threads import jit, parallel_jit

BLOCK = 32  # samples gathered or scattered together


@parallel_jit
def tabulate(positions, order, sizes, pitches, width, polynomials, cells, weights):
    """First cell and window weights of each sample, in sorted order.

    positions (M, nd) in cycles per pixel; polynomials (nd, power, tap); weights (M, nd, tap), last
    axis of the grid first.
    """
    samples, nd = positions.shape
    powers = polynomials.shape[1]
    for j in prange(samples):
        cell = 0
        for axis in range(nd):
            first, s = _first_cell(positions[order[j], axis], sizes[axis], width)
            cell += first * pitches[axis]
            for tap in range(width):
                value = 0.0
                for power in range(powers - 1, -1, -1):
                    value = value * s + polynomials[axis, power, tap]
                weights[j, nd - 1 - axis, tap] = value
        cells[j] = cell


@jit
def _first_cell(position, size, width):
    """First cell under the window (in [0, size)) and the fraction s in [-1, 1)."""
    u = position * size
    first = int(np.ceil(u - 0.5 * width))
    s = 2.0 * (first - u + 0.5 * width) - 1.0
    return (first + size if first < 0 else first), s


@jit
def sort_by_tile(positions, sizes, tiles, edge, width):
    """Order of one frame's samples by tile (counting sort), and each tile's first sample."""
    samples, nd = positions.shape
    count = 1
    for axis in range(nd):
        count *= tiles[axis]
    keys = np.empty(samples, np.int64)
    starts = np.zeros(count + 1, np.int64)
    for j in range(samples):
        key = 0
        for axis in range(nd):
            first, _ = _first_cell(positions[j, axis], sizes[axis], width)
            key = key * tiles[axis] + first // edge
        keys[j] = key
        starts[key + 1] += 1
    starts = np.cumsum(starts)
    place = starts[:-1].copy()
    order = np.empty(samples, np.int64)
    for j in range(samples):
        order[place[keys[j]]] = j
        place[keys[j]] += 1
    return order, starts


@parallel_jit
def clear(grid, threads):
    """Set the grid to zero."""
    share = (grid.size + threads - 1) // threads
    for thread in prange(threads):
        grid[thread * share : (thread + 1) * share] = 0


@jit
def _prefetch(data, origin, coils, samples, order, start, stop):
    """Ask for the next block of samples, which lie scattered in memory."""
    for coil in range(coils):
        base = origin + coil * samples
        last = -1
        for j in range(start, stop):
            line = (base + order[j]) >> 3
            if line != last:
                prefetch(data, 2 * (base + order[j]))
                last = line


@functools.cache
def interpolator(coils: int, wz: int, wy: int, wx: int):
    """Return the kernel for a block of `coils` and a window of ``wz x wy x wx`` cells."""
    cell, row = 2 * coils, 2 * coils * wx
    dimensions = 1 + (wy > 1) + (wz > 1)
    taps = dimensions * wx

    @parallel_jit
    def interpolate(
        grid, layout, cells, weights, order, tasks, jobs, samples, data, counter, threads
    ):
        plane, pitch = layout[1] * layout[2], layout[2]
        for _ in prange(threads):
            buffer = np.empty(BLOCK * cell, grid.dtype)
            while True:
                task = next_task(counter)
                if task >= len(tasks):
                    break
                job, begin, end = tasks[task]
                origin = job * layout[0] * plane
                target, valid = jobs[job, 2], jobs[job, 3]
                for start in range(begin, end, BLOCK):
                    stop = min(start + BLOCK, end)
                    _prefetch(data, target, valid, samples, order, stop, min(stop + BLOCK, end))
                    for j in range(start, stop):
                        w = j * taps
                        sums = zero_row(grid.dtype.type(0), row)
                        for iz in range(wz):
                            for iy in range(wy):
                                weight = grid.dtype.type(1)
                                if dimensions > 1:
                                    weight *= weights[w + wx + iy]
                                if dimensions > 2:
                                    weight *= weights[w + 2 * wx + iz]
                                p = (origin + cells[j] + iz * plane + iy * pitch) * cell
                                sums = accumulate(sums, grid, p, weight)
                        store(buffer, (j - start) * cell, weigh_and_fold(sums, weights, w, cell))
                    for coil in range(valid):
                        base = target + coil * samples
                        for j in range(start, stop):
                            p, b = 2 * (base + order[j]), (j - start) * cell + 2 * coil
                            data[p] = buffer[b]
                            data[p + 1] = buffer[b + 1]

    return interpolate


@functools.cache
def spreader(coils: int, wz: int, wy: int, wx: int):
    """Return the transpose of `interpolator`: adds into the grid the tiles of one colour."""
    cell, row = 2 * coils, 2 * coils * wx
    dimensions = 1 + (wy > 1) + (wz > 1)
    taps = dimensions * wx

    @parallel_jit
    def spread(grid, layout, cells, weights, order, tasks, jobs, samples, data, counter, threads):
        plane, pitch = layout[1] * layout[2], layout[2]
        for _ in prange(threads):
            buffer = np.zeros(BLOCK * cell, grid.dtype)
            while True:
                task = next_task(counter)
                if task >= len(tasks):
                    break
                job, begin, end = tasks[task]
                origin = job * layout[0] * plane
                source, valid = jobs[job, 2], jobs[job, 3]
                for start in range(begin, end, BLOCK):
                    stop = min(start + BLOCK, end)
                    _prefetch(data, source, valid, samples, order, stop, min(stop + BLOCK, end))
                    for coil in range(coils):
                        base = source + coil * samples
                        for j in range(start, stop):
                            b = (j - start) * cell + 2 * coil
                            if coil < valid:
                                p = 2 * (base + order[j])
                                buffer[b] = data[p]
                                buffer[b + 1] = data[p + 1]
                            else:
                                buffer[b] = 0
                                buffer[b + 1] = 0
                    for j in range(start, stop):
                        w = j * taps
                        value = tile(load(buffer, (j - start) * cell, cell), wx)
                        value = value * repeat(load(weights, w, wx), cell)
                        for iz in range(wz):
                            for iy in range(wy):
                                weight = grid.dtype.type(1)
                                if dimensions > 1:
                                    weight *= weights[w + wx + iy]
                                if dimensions > 2:
                                    weight *= weights[w + 2 * wx + iz]
                                p = (origin + cells[j] + iz * plane + iy * pitch) * cell
                                store(grid, p, load(grid, p, row) + value * weight)

    return spread
