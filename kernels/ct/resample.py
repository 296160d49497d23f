"""Integrals of a line of values over equal intervals: voxels over rows, and rows over voxels.

The values are constant between whole numbers. Averaging voxels over the rows of a detector and its
transpose are both such integrals: one with the map from rows to voxels, one with its inverse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..simd import count_up, load, maximum, minimum, pair_sums, pick, split, store
from ..threads import jit
from .lanes import LANES

MARGIN = 2 * LANES  # zeros that stand before and behind the values
LONGEST = 1 - 1e-6  # interval, so that `LANES` of them begin within `LANES` values when rounded
GROUP = 4 * LANES  # blocks whose places are computed together, ahead of their use


@jit
def resample_room(dtype: Any) -> tuple[Any, Any, Any]:
    """Working memory of `resample`."""
    return np.empty(GROUP, np.int32), np.empty(GROUP, dtype), np.empty(32 * LANES, dtype)


@jit
def resample(
    values: Any, at: int, count: int, sums: Any, start: int, stop: int, first: float, step: float,
    index: Any, place: Any, waiting: Any,
) -> None:  # fmt: skip
    """Integrate over the intervals from ``first + i * step`` on, for i from `start` to `stop`.

    Parameters
    ----------
    values, at, count
        Flat array; value k of `count` stands at ``at + k``, with `MARGIN` zeros at both ends.
    sums
        Out: ``sums[i]``, from `start` on, in whole `LANES`.
    first, step
        In values; float64, as only their difference from a whole number is rounded.
    index, place, waiting
        Of `resample_room`.
    """
    parts = 1
    while step > LONGEST * parts:  # so many intervals for one
        parts *= 2
    part, low = step / parts, first + start * step
    blocks = parts * ((stop - start + LANES - 1) // LANES)
    width = values.dtype.type(part)
    lanes = count_up(width, LANES) * width
    at -= MARGIN
    for group in range(0, blocks, GROUP):
        count_here = min(GROUP, blocks - group)
        for k in range(0, count_here, LANES):
            _places(low + (group + k) * LANES * part, LANES * part, count, index, place, k)
        if parts == 1:
            for k in range(count_here):
                sum_ = _integrals(values, at + index[k], lanes, place[k], width)
                store(sums, start + (group + k) * LANES, sum_)
            continue
        for k in range(0, count_here, 2):
            left = _integrals(values, at + index[k], lanes, place[k], width)
            right = _integrals(values, at + index[k + 1], lanes, place[k + 1], width)
            sum_ = pair_sums(left, right)  # parts of one interval are neighbours
            level, more, i = 0, parts >> 1, (group + k) >> 1
            while more > 1 and i & 1:
                sum_ = pair_sums(load(waiting, level, LANES), sum_)
                level, more, i = level + LANES, more >> 1, i >> 1
            if more > 1:
                store(waiting, level, sum_)
            else:
                store(sums, start + i * LANES, sum_)


@jit
def _places(low: float, step: float, count: int, index: Any, place: Any, k: int) -> None:
    """Where `LANES` blocks begin: whole values from the first of `MARGIN` on, and the rest."""
    begin = count_up(step, LANES) * step + (low + MARGIN)
    whole, rest = split(minimum(maximum(begin, 0.0), float(count + MARGIN)))
    store(index, k, whole)
    store(place, k, rest)


@jit
def _integrals(values: Any, index: int, lanes: Any, place: float, width: float) -> Any:
    """Integrals over `LANES` intervals, none above `LONGEST`, from `index` and `place` on."""
    k, rest = split(lanes + place)
    beyond = maximum(rest + (width - values.dtype.type(1)), values.dtype.type(0))  # in the next
    left, right = pick(values, index, k), pick(values, index + 1, k)
    return left * width + (right - left) * beyond
