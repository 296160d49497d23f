"""Weighting an image by coil sensitivities, and summing coil images, in one pass over memory."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from .arena import arena
from .simd import every_second, interleave, load, store
from .threads import parallel_jit, thread_count

BLOCK = 2048  # pixels whose sum stays in cache
LANES = 8
POINT = 2 * LANES


def expand(image: NDArray[Any], maps: NDArray[Any]) -> NDArray[Any]:
    """``maps * image``: images (batch, pixel) and maps (part, coil, pixel) to (batch, coil, pixel).

    Batch item i takes part ``i % parts`` of the maps. Everything is C-contiguous and of one type.
    """
    result = arena.empty((len(image), *maps.shape[1:]), image.dtype)
    sizes = np.array([len(image), *maps.shape])
    _expand(_real(image), _real(maps), _real(result), sizes, thread_count())
    return result


def combine(images: NDArray[Any], maps: NDArray[Any]) -> NDArray[Any]:
    """Transpose of `expand`: ``sum_coil conj(maps) * images``."""
    result = arena.empty((len(images), images.shape[2]), images.dtype)
    sizes = np.array([len(images), *maps.shape])
    _combine(_real(images), _real(maps), _real(result), sizes, thread_count())
    return result


def _real(x: NDArray[Any]) -> NDArray[Any]:
    return x.view(x.real.dtype).ravel()


@parallel_jit
def _expand(image, maps, result, sizes, threads):
    batch, parts, coils, pixels = sizes
    blocks = (pixels + BLOCK - 1) // BLOCK
    for thread in prange(threads):
        for task in range(thread, batch * blocks, threads):
            item, first = task // blocks, (task % blocks) * BLOCK
            last = min(first + BLOCK, pixels)
            whole = last - (last - first) % LANES
            for coil in range(coils):
                x = 2 * item * pixels
                m = 2 * ((item % parts) * coils + coil) * pixels
                y = 2 * (item * coils + coil) * pixels
                for i in range(2 * first, 2 * whole, POINT):
                    p, q = load(image, x + i, POINT), load(maps, m + i, POINT)
                    a, b, c, d = (
                        every_second(p, 0),
                        every_second(p, 1),
                        every_second(q, 0),
                        every_second(q, 1),
                    )
                    store(result, y + i, interleave(a * c - b * d, a * d + b * c))
                for i in range(2 * whole, 2 * last, 2):
                    a, b, c, d = image[x + i], image[x + i + 1], maps[m + i], maps[m + i + 1]
                    result[y + i] = a * c - b * d
                    result[y + i + 1] = a * d + b * c


@parallel_jit
def _combine(images, maps, result, sizes, threads):
    batch, parts, coils, pixels = sizes
    blocks = (pixels + BLOCK - 1) // BLOCK
    for thread in prange(threads):
        for task in range(thread, batch * blocks, threads):
            item, first = task // blocks, (task % blocks) * BLOCK
            last = min(first + BLOCK, pixels)
            whole = last - (last - first) % LANES
            x = 2 * item * pixels
            result[x + 2 * first : x + 2 * last] = 0
            for coil in range(coils):
                m = 2 * ((item % parts) * coils + coil) * pixels
                y = 2 * (item * coils + coil) * pixels
                for i in range(2 * first, 2 * whole, POINT):
                    p, q = load(images, y + i, POINT), load(maps, m + i, POINT)
                    a, b, c, d = (
                        every_second(p, 0),
                        every_second(p, 1),
                        every_second(q, 0),
                        every_second(q, 1),
                    )
                    product = interleave(a * c + b * d, b * c - a * d)
                    store(result, x + i, load(result, x + i, POINT) + product)
                for i in range(2 * whole, 2 * last, 2):
                    a, b, c, d = images[y + i], images[y + i + 1], maps[m + i], maps[m + i + 1]
                    result[x + i] += a * c + b * d
                    result[x + i + 1] += b * c - a * d
