"""Dominant eigenvectors of many small Hermitian matrices: sixteen pixels at a time, one a lane."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from .simd import every_second, fill, interleave, load, store
from .threads import jit, parallel_jit, thread_count

LANES = 16  # pixels
POINT = 2 * LANES
SQUARINGS = 3  # the eighth power
TINY = 1e-30


def dominant(
    entries: NDArray[Any], start: NDArray[Any], iterations: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Largest eigenvalues ``(pixel,)`` and unit eigenvectors ``(coil, pixel)`` by power iteration.

    `entries` ``(coil * (coil + 1) / 2, pixel)`` are the lower triangles of positive semidefinite
    matrices, row by row. The iteration takes their eighth power from `start` ``(coil,)``, and
    ``start^H vector`` is made real and positive.
    """
    coils, pixels = len(start), entries.shape[1]
    vectors = np.empty((coils, pixels), entries.dtype)
    values = np.empty(pixels, entries.real.dtype)
    _dominant(_real(entries), _real(start), _real(vectors), values, iterations, thread_count())
    return values, vectors


def _real(x: NDArray[Any]) -> NDArray[Any]:
    return x.view(x.real.dtype).ravel()


@parallel_jit
def _dominant(entries, start, vectors, values, iterations, threads):
    pixels, coils = len(values), len(start) // 2
    size = coils + coils % 2  # of the matrices held, the last row zero
    blocks = (pixels + LANES - 1) // LANES
    for thread in prange(threads):
        matrix = np.zeros(size * size * POINT, values.dtype)
        power, other = np.zeros_like(matrix), np.zeros_like(matrix)
        vector, image = np.zeros(size * POINT, values.dtype), np.zeros(size * POINT, values.dtype)
        scale, trace = np.zeros(POINT, values.dtype), np.zeros(LANES, values.dtype)
        for block in range(thread, blocks, threads):
            first = block * LANES
            count = min(LANES, pixels - first)
            _read(entries, matrix, coils, size, pixels, first, count)
            _normalise(matrix, size, trace)
            _square(matrix, power, size)
            for _ in range(1, SQUARINGS):
                _square(power, other, size)
                power, other = other, power
            for i in range(2 * coils):
                store(vector, i * LANES, fill(start[i], LANES))
            for _ in range(iterations):
                _apply(power, vector, image, size)
                _inverse_length(image, coils, scale)
                factor = load(scale, 0, LANES)
                for i in range(2 * coils):
                    store(vector, i * LANES, load(image, i * LANES, LANES) * factor)
            _apply(matrix, vector, image, size)
            value = fill(start[0] - start[0], LANES)
            for i in range(2 * coils):
                value = value + load(vector, i * LANES, LANES) * load(image, i * LANES, LANES)
            store(trace, 0, value * load(trace, 0, LANES))
            values[first : first + count] = trace[:count]
            _turn(vector, start, coils, scale)
            _write(vector, vectors, coils, pixels, first, count)


@jit
def _read(entries, matrix, coils, size, pixels, first, count):
    """Lower triangles of a block of pixels as whole matrices, real and imaginary parts in turn."""
    pair = 0
    for i in range(coils):
        for j in range(i + 1):
            source = 2 * (pair * pixels + first)
            if count == LANES:
                both = load(entries, source, POINT)
                _keep(matrix, i, j, size, every_second(both, 0), every_second(both, 1))
            else:
                lower, upper = (i * size + j) * POINT, (j * size + i) * POINT
                for k in range(count):
                    matrix[upper + k] = entries[source + 2 * k]
                    matrix[upper + LANES + k] = -entries[source + 2 * k + 1]
                    matrix[lower + k] = entries[source + 2 * k]
                    matrix[lower + LANES + k] = entries[source + 2 * k + 1]
            pair += 1


@jit
def _normalise(matrix, size, trace):
    """Divide by the trace: the largest eigenvalue then lies between 1 / coils and 1."""
    total = load(matrix, 0, LANES)
    for i in range(1, size):
        total = total + load(matrix, i * (size + 1) * POINT, LANES)
    store(trace, 0, total)
    for k in range(LANES):
        trace[k] = max(trace[k], TINY)
        trace[k] = 1 / trace[k]
    factor = load(trace, 0, LANES)
    for i in range(0, len(matrix), LANES):
        store(matrix, i, load(matrix, i, LANES) * factor)
    for k in range(LANES):
        trace[k] = 1 / trace[k]


@jit
def _square(matrix, result, size):
    """``A A = A A^H``: products of rows, two by two, so that sums do not wait for each other."""
    zero = fill(matrix[0] - matrix[0], LANES)
    for i in range(0, size, 2):
        for j in range(0, i + 1, 2):
            real00, real01, real10, real11 = zero, zero, zero, zero
            imag00, imag01, imag10, imag11 = zero, zero, zero, zero
            a, b = i * size * POINT, j * size * POINT
            c, d = a + size * POINT, b + size * POINT
            for _ in range(size):
                p, q = load(matrix, a, LANES), load(matrix, a + LANES, LANES)
                t, u = load(matrix, c, LANES), load(matrix, c + LANES, LANES)
                r, s = load(matrix, b, LANES), load(matrix, b + LANES, LANES)
                v, w = load(matrix, d, LANES), load(matrix, d + LANES, LANES)
                real00, imag00 = real00 + p * r + q * s, imag00 + q * r - p * s
                real01, imag01 = real01 + p * v + q * w, imag01 + q * v - p * w
                real10, imag10 = real10 + t * r + u * s, imag10 + u * r - t * s
                real11, imag11 = real11 + t * v + u * w, imag11 + u * v - t * w
                a, b, c, d = a + POINT, b + POINT, c + POINT, d + POINT
            _keep(result, i, j, size, real00, imag00)
            _keep(result, i, j + 1, size, real01, imag01)
            _keep(result, i + 1, j, size, real10, imag10)
            _keep(result, i + 1, j + 1, size, real11, imag11)


@jit
def _keep(matrix, i, j, size, real, imaginary):
    """Write an entry and the conjugate one across the diagonal."""
    lower, upper = (i * size + j) * POINT, (j * size + i) * POINT
    store(matrix, upper, real)
    store(matrix, upper + LANES, imaginary - imaginary - imaginary)
    store(matrix, lower, real)
    store(matrix, lower + LANES, imaginary)


@jit
def _apply(matrix, vector, image, size):
    zero = fill(matrix[0] - matrix[0], LANES)
    for i in range(0, size, 2):
        real0, imag0, real1, imag1 = zero, zero, zero, zero
        a, b, x = i * size * POINT, (i + 1) * size * POINT, 0
        for _ in range(size):
            r, s = load(vector, x, LANES), load(vector, x + LANES, LANES)
            p, q = load(matrix, a, LANES), load(matrix, a + LANES, LANES)
            t, u = load(matrix, b, LANES), load(matrix, b + LANES, LANES)
            real0, imag0 = real0 + p * r - q * s, imag0 + p * s + q * r
            real1, imag1 = real1 + t * r - u * s, imag1 + t * s + u * r
            a, b, x = a + POINT, b + POINT, x + POINT
        store(image, i * POINT, real0)
        store(image, i * POINT + LANES, imag0)
        store(image, (i + 1) * POINT, real1)
        store(image, (i + 1) * POINT + LANES, imag1)


@jit
def _inverse_length(vector, coils, scale):
    total = fill(vector[0] - vector[0], LANES)
    for i in range(2 * coils):
        part = load(vector, i * LANES, LANES)
        total = total + part * part
    store(scale, 0, total)
    for k in range(LANES):
        scale[k] = 1 / np.sqrt(max(scale[k], TINY))


@jit
def _turn(vector, start, coils, phase):
    """Turn vectors so that their product with `start` is real and positive."""
    real = fill(start[0] - start[0], LANES)
    imaginary = fill(start[0] - start[0], LANES)
    for i in range(coils):
        p, q = load(vector, 2 * i * LANES, LANES), load(vector, (2 * i + 1) * LANES, LANES)
        real = real + p * start[2 * i] + q * start[2 * i + 1]
        imaginary = imaginary + q * start[2 * i] - p * start[2 * i + 1]
    store(phase, 0, real)
    store(phase, LANES, imaginary)
    for k in range(LANES):
        length = np.sqrt(phase[k] ** 2 + phase[LANES + k] ** 2)
        phase[k] = phase[k] / length if length > 0 else 1
        phase[LANES + k] = phase[LANES + k] / length if length > 0 else 0
    r, s = load(phase, 0, LANES), load(phase, LANES, LANES)
    for i in range(coils):
        p, q = load(vector, 2 * i * LANES, LANES), load(vector, (2 * i + 1) * LANES, LANES)
        store(vector, 2 * i * LANES, p * r + q * s)
        store(vector, (2 * i + 1) * LANES, q * r - p * s)


@jit
def _write(vector, vectors, coils, pixels, first, count):
    for i in range(coils):
        target = 2 * (i * pixels + first)
        if count == LANES:
            p, q = load(vector, 2 * i * LANES, LANES), load(vector, (2 * i + 1) * LANES, LANES)
            store(vectors, target, interleave(p, q))
        else:
            for k in range(count):
                vectors[target + 2 * k] = vector[2 * i * LANES + k]
                vectors[target + 2 * k + 1] = vector[(2 * i + 1) * LANES + k]
