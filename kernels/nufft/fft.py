"""Fast Fourier transforms of eight lines at a time, held in the nearest cache.

A buffer holds `n` points of eight lines: eight real parts, then eight imaginary parts, point by
point, so that every butterfly is a handful of vector instructions. The lines are coils, or
neighbouring rows, or both. Stockham's autosort form (Cochran et al. 1967), radix 2, 3, 4 and 5.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..threads import jit
from .simd import load, store

LANES = 8
POINT = 2 * LANES  # floats that one point takes in a buffer


def fast_length(minimum: int) -> int:
    """Return the smallest length that has no prime factor above 5."""
    length = max(1, minimum)
    while _remainder(length) > 1:
        length += 1
    return length


@functools.lru_cache(maxsize=256)
def tables(n: int, dtype: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the radices of a transform of length `n` and its twiddles (re, im)."""
    radices: list[int] = []
    twiddles: list[NDArray[Any]] = [np.zeros(0, complex)]
    m = n
    for radix in (4, 2, 3, 5):
        while m % radix == 0:
            p, k = np.arange(m // radix), np.arange(1, radix)
            twiddles.append(np.exp(-2j * np.pi * np.outer(p, k) / m).ravel())
            m //= radix
            radices.append(radix)
    flat = np.concatenate(twiddles).view(np.float64).astype(dtype)
    return np.array(radices, np.int64), flat


def _remainder(n: int) -> int:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n


@jit
def transform(a, b, n, radices, twiddles):  # type: ignore[no-untyped-def]
    """Transform eight lines of `n` points in buffer `a`; returns `a` or the scratch `b`."""
    m, stride, t = n, 1, 0
    for radix in radices:
        m //= radix
        if radix == 4:
            _radix4(a, b, m, stride, twiddles[t:])
        elif radix == 2:
            _radix2(a, b, m, stride, twiddles[t:])
        elif radix == 3:
            _radix3(a, b, m, stride, twiddles[t:])
        else:
            _radix5(a, b, m, stride, twiddles[t:])
        t += 2 * (radix - 1) * m
        stride *= radix
        a, b = b, a
    return a


@jit
def _put(y, i, re, im, c, s):  # type: ignore[no-untyped-def]
    store(y, i, re * c - im * s)
    store(y, i + LANES, im * c + re * s)


@jit
def _radix2(x, y, m, stride, w):  # type: ignore[no-untyped-def]
    for p in range(m):
        c, s = w[2 * p], w[2 * p + 1]
        for q in range(stride):
            i, j = (q + stride * p) * POINT, (q + stride * 2 * p) * POINT
            h = stride * m * POINT
            r0, i0 = load(x, i, LANES), load(x, i + LANES, LANES)
            r1, i1 = load(x, i + h, LANES), load(x, i + h + LANES, LANES)
            store(y, j, r0 + r1)
            store(y, j + LANES, i0 + i1)
            _put(y, j + stride * POINT, r0 - r1, i0 - i1, c, s)


@jit
def _radix3(x, y, m, stride, w):  # type: ignore[no-untyped-def]
    half, root = w.dtype.type(0.5), w.dtype.type(0.8660254037844386)
    h, d = stride * m * POINT, stride * POINT
    for p in range(m):
        c1, s1, c2, s2 = w[4 * p], w[4 * p + 1], w[4 * p + 2], w[4 * p + 3]
        for q in range(stride):
            i, j = (q + stride * p) * POINT, (q + stride * 3 * p) * POINT
            r0, i0 = load(x, i, LANES), load(x, i + LANES, LANES)
            r1, i1 = load(x, i + h, LANES), load(x, i + h + LANES, LANES)
            r2, i2 = load(x, i + 2 * h, LANES), load(x, i + 2 * h + LANES, LANES)
            rs, is_ = r1 + r2, i1 + i2
            rd, id_ = (r1 - r2) * root, (i1 - i2) * root
            rm, im = r0 - rs * half, i0 - is_ * half
            store(y, j, r0 + rs)
            store(y, j + LANES, i0 + is_)
            _put(y, j + d, rm + id_, im - rd, c1, s1)
            _put(y, j + 2 * d, rm - id_, im + rd, c2, s2)


@jit
def _radix4(x, y, m, stride, w):  # type: ignore[no-untyped-def]
    h, d = stride * m * POINT, stride * POINT
    for p in range(m):
        c1, s1, c2, s2 = w[6 * p], w[6 * p + 1], w[6 * p + 2], w[6 * p + 3]
        c3, s3 = w[6 * p + 4], w[6 * p + 5]
        for q in range(stride):
            i, j = (q + stride * p) * POINT, (q + stride * 4 * p) * POINT
            r0, i0 = load(x, i, LANES), load(x, i + LANES, LANES)
            r1, i1 = load(x, i + h, LANES), load(x, i + h + LANES, LANES)
            r2, i2 = load(x, i + 2 * h, LANES), load(x, i + 2 * h + LANES, LANES)
            r3, i3 = load(x, i + 3 * h, LANES), load(x, i + 3 * h + LANES, LANES)
            ra, ia, rb, ib = r0 + r2, i0 + i2, r0 - r2, i0 - i2
            rc, ic, rd, id_ = r1 + r3, i1 + i3, r1 - r3, i1 - i3
            store(y, j, ra + rc)
            store(y, j + LANES, ia + ic)
            _put(y, j + d, rb + id_, ib - rd, c1, s1)
            _put(y, j + 2 * d, ra - rc, ia - ic, c2, s2)
            _put(y, j + 3 * d, rb - id_, ib + rd, c3, s3)


@jit
def _radix5(x, y, m, stride, w):  # type: ignore[no-untyped-def]
    real = w.dtype.type
    ca, cb = real(0.30901699437494745), real(-0.8090169943749475)
    sa, sb = real(0.9510565162951535), real(0.5877852522924731)
    h, d = stride * m * POINT, stride * POINT
    for p in range(m):
        c1, s1, c2, s2 = w[8 * p], w[8 * p + 1], w[8 * p + 2], w[8 * p + 3]
        c3, s3, c4, s4 = w[8 * p + 4], w[8 * p + 5], w[8 * p + 6], w[8 * p + 7]
        for q in range(stride):
            i, j = (q + stride * p) * POINT, (q + stride * 5 * p) * POINT
            r0, i0 = load(x, i, LANES), load(x, i + LANES, LANES)
            r1, i1 = load(x, i + h, LANES), load(x, i + h + LANES, LANES)
            r2, i2 = load(x, i + 2 * h, LANES), load(x, i + 2 * h + LANES, LANES)
            r3, i3 = load(x, i + 3 * h, LANES), load(x, i + 3 * h + LANES, LANES)
            r4, i4 = load(x, i + 4 * h, LANES), load(x, i + 4 * h + LANES, LANES)
            ra, ia, rb, ib = r1 + r4, i1 + i4, r2 + r3, i2 + i3
            rc, ic, rd, id_ = r1 - r4, i1 - i4, r2 - r3, i2 - i3
            store(y, j, r0 + ra + rb)
            store(y, j + LANES, i0 + ia + ib)
            re, im = r0 + ra * ca + rb * cb, i0 + ia * ca + ib * cb
            rs, is_ = rc * sa + rd * sb, ic * sa + id_ * sb
            _put(y, j + d, re + is_, im - rs, c1, s1)
            _put(y, j + 4 * d, re - is_, im + rs, c4, s4)
            re, im = r0 + ra * cb + rb * ca, i0 + ia * cb + ib * ca
            rs, is_ = rc * sb - rd * sa, ic * sb - id_ * sa
            _put(y, j + 2 * d, re + is_, im - rs, c2, s2)
            _put(y, j + 3 * d, re - is_, im + rs, c3, s3)
