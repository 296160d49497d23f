"""Passes over the lines of a NUFFT grid: deapodise, pad and transform, and their transposes.

A pass takes eight lines at a time, one a lane; `cpu` says how the grid lies in memory.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import prange

from ..simd import (
    every_second,
    fill,
    interleave,
    load,
    next_task,
    prefetch,
    repeat,
    store,
    transpose,
)
from ..threads import jit, parallel_jit
from .fft import LANES, POINT, transform


@jit
def _place(i, points, n):
    """Where pixel `i` of a line stands in a buffer: the origin first, what is left of it last."""
    i = min(i, points - 1) - points // 2
    return (i + n if i < 0 else i) * POINT


@jit
def _read_lines(image, lines, factors, dx, points, n, buffer):
    """Gather eight image lines into a buffer, scaled, the origin first."""
    scaled = np.empty(POINT, buffer.dtype)
    store(scaled, 0, factors)
    for start in range(0, points - points % LANES, LANES):
        p = 2 * start
        x0, x1 = load(image, lines[0] + p, POINT), load(image, lines[1] + p, POINT)
        x2, x3 = load(image, lines[2] + p, POINT), load(image, lines[3] + p, POINT)
        x4, x5 = load(image, lines[4] + p, POINT), load(image, lines[5] + p, POINT)
        x6, x7 = load(image, lines[6] + p, POINT), load(image, lines[7] + p, POINT)
        re = transpose((
            every_second(x0, 0), every_second(x1, 0), every_second(x2, 0), every_second(x3, 0),
            every_second(x4, 0), every_second(x5, 0), every_second(x6, 0), every_second(x7, 0),
        ))  # fmt: skip
        im = transpose((
            every_second(x0, 1), every_second(x1, 1), every_second(x2, 1), every_second(x3, 1),
            every_second(x4, 1), every_second(x5, 1), every_second(x6, 1), every_second(x7, 1),
        ))  # fmt: skip
        for k in range(LANES):
            i = start + k
            q = _place(i, points, n)
            store(buffer, q, re[k] * factors * dx[i])
            store(buffer, q + LANES, im[k] * factors * dx[i])
    for i in range(points - points % LANES, points):
        q = _place(i, points, n)
        for lane in range(LANES):
            factor = scaled[lane] * dx[i]
            buffer[q + lane] = image[lines[lane] + 2 * i] * factor
            buffer[q + LANES + lane] = image[lines[lane] + 2 * i + 1] * factor


@jit
def _write_lines(image, lines, factors, dx, points, n, buffer):
    """Transpose of `_read_lines`, real and imaginary parts swapped; lines below zero are none."""
    scaled = np.empty(POINT, buffer.dtype)
    store(scaled, 0, factors)
    block = np.empty(LANES * POINT, buffer.dtype)
    for start in range(0, points, LANES):
        for part in range(2):
            shift = (1 - part) * LANES
            x = transpose((
                load(buffer, _place(start, points, n) + shift, LANES),
                load(buffer, _place(start + 1, points, n) + shift, LANES),
                load(buffer, _place(start + 2, points, n) + shift, LANES),
                load(buffer, _place(start + 3, points, n) + shift, LANES),
                load(buffer, _place(start + 4, points, n) + shift, LANES),
                load(buffer, _place(start + 5, points, n) + shift, LANES),
                load(buffer, _place(start + 6, points, n) + shift, LANES),
                load(buffer, _place(start + 7, points, n) + shift, LANES),
            ))  # fmt: skip
            for lane in range(LANES):
                store(block, (2 * lane + part) * LANES, x[lane] * scaled[lane])
        if start + LANES <= points:
            scale = load(dx, start, LANES)
            for lane in range(LANES):
                re, im = (
                    load(block, 2 * lane * LANES, LANES),
                    load(block, (2 * lane + 1) * LANES, LANES),
                )
                if lines[lane] >= 0:
                    store(image, lines[lane] + 2 * start, interleave(re * scale, im * scale))
        else:
            for lane in range(LANES):
                for k in range(points - start):
                    if lines[lane] >= 0:
                        p, b = lines[lane] + 2 * (start + k), 2 * lane * LANES + k
                        image[p] = block[b] * dx[start + k]
                        image[p + 1] = block[b + LANES] * dx[start + k]


@parallel_jit
def rows_from_image(
    image, grid, layout, shape, halo, coils, jobs, scale, dx, radices, twiddles, counter, threads
):
    """Deapodise, pad and transform the image's x lines into the grid: the first forward pass.

    layout: cells (z, y, x) a job; shape: image (z, y, x) and grid length of x; scale (z, y) and dx
    deapodise.
    """
    nz, ny, nx, n = shape
    half, rows, together = nx // 2, nz * ny, LANES // coils
    groups = (rows + together - 1) // together
    for _ in prange(threads):
        a, b = np.zeros(n * POINT, grid.dtype), np.zeros(n * POINT, grid.dtype)
        lines, factors = np.zeros(LANES, np.int64), np.zeros(LANES, grid.dtype)
        while True:
            task = next_task(counter)
            if task >= len(jobs) * groups:
                break
            job, first = task // groups, (task % groups) * together
            a[(nx - half) * POINT : (n - half) * POINT] = 0
            for lane in range(LANES):  # a lane without a line of its own repeats another's
                row = min(first + lane // coils, rows - 1)
                coil = min(lane % coils, jobs[job, 3] - 1)
                lines[lane] = 2 * (jobs[job, 1] + (coil * rows + row) * nx)
                factors[lane] = scale[row]
            _read_lines(image, lines, load(factors, 0, LANES), dx, nx, n, a)
            result = transform(a, b, n, radices, twiddles)
            for member in range(min(together, rows - first)):
                z, y = (first + member) // ny, (first + member) % ny
                p = ((job * layout[0] + z) * layout[1] + y) * layout[2] * 2 * coils
                if coils == LANES:
                    for i in range(n + halo):
                        q = (i if i < n else i - n) * POINT
                        re, im = load(result, q, LANES), load(result, q + LANES, LANES)
                        store(grid, p + i * POINT, interleave(re, im))
                else:
                    for i in range(n + halo):
                        q = (i if i < n else i - n) * POINT + member * coils
                        for coil in range(coils):
                            grid[p + 2 * (i * coils + coil)] = result[q + coil]
                            grid[p + 2 * (i * coils + coil) + 1] = result[q + LANES + coil]


@parallel_jit
def image_from_rows(
    image, grid, layout, shape, halo, coils, jobs, scale, dx, radices, twiddles, counter, threads
):
    """Transpose of `rows_from_image`: fold the halo, transform back, crop, deapodise."""
    nz, ny, nx, n = shape
    rows, together = nz * ny, LANES // coils
    groups = (rows + together - 1) // together
    for _ in prange(threads):
        a, b = np.zeros(n * POINT, grid.dtype), np.zeros(n * POINT, grid.dtype)
        lines, factors = np.zeros(LANES, np.int64), np.zeros(LANES, grid.dtype)
        while True:
            task = next_task(counter)
            if task >= len(jobs) * groups:
                break
            job, first = task // groups, (task % groups) * together
            for member in range(min(together, rows - first)):
                z, y = (first + member) // ny, (first + member) % ny
                p = ((job * layout[0] + z) * layout[1] + y) * layout[2] * 2 * coils
                if coils == LANES:
                    for i in range(n):
                        value = load(grid, p + i * POINT, POINT)
                        if i < halo:
                            value = value + load(grid, p + (i + n) * POINT, POINT)
                        store(a, i * POINT, every_second(value, 1))  # swapped: inverse
                        store(a, i * POINT + LANES, every_second(value, 0))
                else:
                    for i in range(n + halo):
                        q = (i if i < n else i - n) * POINT + member * coils
                        keep = grid.dtype.type(i >= n)
                        for coil in range(coils):
                            re = grid[p + 2 * (i * coils + coil)]
                            im = grid[p + 2 * (i * coils + coil) + 1]
                            a[q + coil] = im + keep * a[q + coil]
                            a[q + coil + LANES] = re + keep * a[q + coil + LANES]
            result = transform(a, b, n, radices, twiddles)
            for lane in range(LANES):
                row, coil = first + lane // coils, lane % coils
                valid = row < rows and coil < jobs[job, 3]
                lines[lane] = 2 * (jobs[job, 1] + (coil * rows + row) * nx) if valid else -1
                factors[lane] = scale[min(row, rows - 1)]
            _write_lines(image, lines, load(factors, 0, LANES), dx, nx, n, result)


@parallel_jit
def columns(
    grid, outer, strides, inner, points, n, halo, inverse, radices, twiddles, counter, threads
):
    """Transform along y or z in place: `points` image lines to ``n + halo`` grid lines, or back.

    outer: counts of the two axes outside; strides, in complex numbers: theirs and the transformed
    axis's; `inner` neighbouring lines are contiguous.
    """
    stride = strides[2]
    half, groups = points // 2, inner // LANES
    for _ in prange(threads):
        a, b = np.zeros(n * POINT, grid.dtype), np.zeros(n * POINT, grid.dtype)
        while True:
            task = next_task(counter)
            if task >= outer[0] * outer[1] * groups:
                break
            plane = task // groups
            p = (plane // outer[1]) * strides[0] + (plane % outer[1]) * strides[1]
            p = 2 * (p + (task % groups) * LANES)
            if inverse:
                for i in range(n):
                    prefetch(grid, p + 2 * i * stride + POINT)  # the neighbour comes next
                    value = load(grid, p + 2 * i * stride, POINT)
                    if i < halo:
                        value = value + load(grid, p + 2 * (i + n) * stride, POINT)
                    store(a, i * POINT, every_second(value, 1))
                    store(a, i * POINT + LANES, every_second(value, 0))
                result = transform(a, b, n, radices, twiddles)
                for i in range(points):
                    q = _place(i, points, n)
                    re, im = load(result, q + LANES, LANES), load(result, q, LANES)
                    store(grid, p + 2 * i * stride, interleave(re, im))
            else:
                a[(points - half) * POINT : (n - half) * POINT] = 0
                for i in range(points):
                    q = _place(i, points, n)
                    prefetch(grid, p + 2 * i * stride + POINT)
                    value = load(grid, p + 2 * i * stride, POINT)
                    store(a, q, every_second(value, 0))
                    store(a, q + LANES, every_second(value, 1))
                result = transform(a, b, n, radices, twiddles)
                for i in range(n + halo):
                    q = (i if i < n else i - n) * POINT
                    re, im = load(result, q, LANES), load(result, q + LANES, LANES)
                    store(grid, p + 2 * i * stride, interleave(re, im))


@jit
def _factors(kernel, p, coils):
    """Eight real factors for eight neighbouring (x, coil) from position `p` of the kernel."""
    if coils == 8:
        return fill(kernel[p], LANES)
    if coils == 4:
        return repeat(load(kernel, p, 2), 4)
    if coils == 2:
        return repeat(load(kernel, p, 4), 2)
    return load(kernel, p, LANES)


@parallel_jit
def convolve_columns(
    grid, outer, strides, inner, points, n, coils, kernel, frames, radices, twiddles, counter,
    threads,
):  # fmt: skip
    """Transform the last axis, multiply by a real spectrum, transform back, in one pass.

    kernel: ``(frame, n, outer[1], inner // coils)``; frames: the frame of each job. Otherwise as
    `columns`, without halo.
    """
    half, groups, stride = points // 2, inner // LANES, strides[2]
    line = inner // coils
    for _ in prange(threads):
        a, b = np.zeros(n * POINT, grid.dtype), np.zeros(n * POINT, grid.dtype)
        while True:
            task = next_task(counter)
            if task >= outer[0] * outer[1] * groups:
                break
            plane, group = task // groups, task % groups
            job, member = plane // outer[1], plane % outer[1]
            p = 2 * (job * strides[0] + member * strides[1] + group * LANES)
            a[(points - half) * POINT : (n - half) * POINT] = 0
            for i in range(points):
                q = _place(i, points, n)
                value = load(grid, p + 2 * i * stride, POINT)
                store(a, q, every_second(value, 0))
                store(a, q + LANES, every_second(value, 1))
            spectrum = transform(a, b, n, radices, twiddles)
            other = b if len(radices) % 2 == 0 else a
            first = (frames[job] * n * outer[1] + member) * line + group * LANES // coils
            for i in range(n):
                factors = _factors(kernel, first + i * outer[1] * line, coils)
                q = i * POINT
                re, im = load(spectrum, q, LANES), load(spectrum, q + LANES, LANES)
                store(spectrum, q, im * factors)  # swapped: the inverse transform follows
                store(spectrum, q + LANES, re * factors)
            result = transform(spectrum, other, n, radices, twiddles)
            for i in range(points):
                q = _place(i, points, n)
                re, im = load(result, q + LANES, LANES), load(result, q, LANES)
                store(grid, p + 2 * i * stride, interleave(re, im))
