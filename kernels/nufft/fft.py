"""Fast Fourier transforms of eight lines at a time, held in the nearest cache.

A buffer holds `n` points of eight lines: eight real parts, then eight imaginary parts, point by
point, so that every butterfly is a handful of vector instructions. The lines are coils, or
neighbouring rows, or both. Stockham's autosort form (Cochran et al. 1967), radix 2, 3, 4, 5 and 8.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simd import load, store
from ..threads import jit

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
    for radix in _radices(n):
        p, k = np.arange(m // radix), np.arange(1, radix)
        twiddles.append(np.exp(-2j * np.pi * np.outer(p, k) / m).ravel())
        m //= radix
        radices.append(radix)
    flat = np.concatenate(twiddles).view(np.float64).astype(dtype)
    return np.array(radices, np.int64), flat


def _radices(n: int) -> list[int]:
    """Factors in the order of passes: as few as can be, a lone 2 only where nothing else fits."""
    twos = (n & -n).bit_length() - 1
    fours = {0: 0, 1: 2, 2: 1}[twos % 3] if twos > 1 else 0
    eights, twos = divmod(twos - 2 * fours, 3)
    factors = [8] * eights + [4] * fours + [2] * twos
    for radix in (3, 5):
        while n % radix == 0:
            n //= radix
            factors.append(radix)
    return factors


def _remainder(n: int) -> int:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n


@jit
def transform(a, b, n, radices, twiddles):  # type: ignore[no-untyped-def]
    """Transform eight lines of `n` points in buffer `a`; returns `a` or the scratch `b`."""
    m, t = n, 0
    for radix in radices:
        stride = n // m  # no literal: Numba would compile every radix twice
        m //= radix
        if radix == 8:
            _radix8(a, b, m, stride, twiddles[t:])
        elif radix == 4:
            _radix4(a, b, m, stride, twiddles[t:])
        elif radix == 2:
            _radix2(a, b, m, stride, twiddles[t:])
        elif radix == 3:
            _radix3(a, b, m, stride, twiddles[t:])
        else:
            _radix5(a, b, m, stride, twiddles[t:])
        t += 2 * (radix - 1) * m
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
def _radix8(x, y, m, stride, w):  # type: ignore[no-untyped-def]
    root = w.dtype.type(0.7071067811865476)
    h, d = stride * m * POINT, stride * POINT
    for p in range(m):
        t = 14 * p
        for q in range(stride):
            i, j = (q + stride * p) * POINT, (q + stride * 8 * p) * POINT
            r0, i0 = load(x, i, LANES), load(x, i + LANES, LANES)
            r2, i2 = load(x, i + 2 * h, LANES), load(x, i + 2 * h + LANES, LANES)
            r4, i4 = load(x, i + 4 * h, LANES), load(x, i + 4 * h + LANES, LANES)
            r6, i6 = load(x, i + 6 * h, LANES), load(x, i + 6 * h + LANES, LANES)
            ra, ia, rb, ib = r0 + r4, i0 + i4, r0 - r4, i0 - i4
            rc, ic, rd, id_ = r2 + r6, i2 + i6, r2 - r6, i2 - i6
            re0, ie0, re2, ie2 = ra + rc, ia + ic, ra - rc, ia - ic
            re1, ie1, re3, ie3 = rb + id_, ib - rd, rb - id_, ib + rd
            r1, i1 = load(x, i + h, LANES), load(x, i + h + LANES, LANES)
            r3, i3 = load(x, i + 3 * h, LANES), load(x, i + 3 * h + LANES, LANES)
            r5, i5 = load(x, i + 5 * h, LANES), load(x, i + 5 * h + LANES, LANES)
            r7, i7 = load(x, i + 7 * h, LANES), load(x, i + 7 * h + LANES, LANES)
            ra, ia, rb, ib = r1 + r5, i1 + i5, r1 - r5, i1 - i5
            rc, ic, rd, id_ = r3 + r7, i3 + i7, r3 - r7, i3 - i7
            ro0, io0, ro2, io2 = ra + rc, ia + ic, ia - ic, rc - ra  # the third times -i
            ra, ia, rc, ic = rb + id_, ib - rd, rb - id_, ib + rd
            ro1, io1 = (ra + ia) * root, (ia - ra) * root  # times exp(-i pi/4)
            ro3, io3 = (ic - rc) * root, (rc + ic) * (-root)  # times exp(-3i pi/4)
            store(y, j, re0 + ro0)
            store(y, j + LANES, ie0 + io0)
            _put(y, j + d, re1 + ro1, ie1 + io1, w[t], w[t + 1])
            _put(y, j + 2 * d, re2 + ro2, ie2 + io2, w[t + 2], w[t + 3])
            _put(y, j + 3 * d, re3 + ro3, ie3 + io3, w[t + 4], w[t + 5])
            _put(y, j + 4 * d, re0 - ro0, ie0 - io0, w[t + 6], w[t + 7])
            _put(y, j + 5 * d, re1 - ro1, ie1 - io1, w[t + 8], w[t + 9])
            _put(y, j + 6 * d, re2 - ro2, ie2 - io2, w[t + 10], w[t + 11])
            _put(y, j + 7 * d, re3 - ro3, ie3 - io3, w[t + 12], w[t + 13])


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
