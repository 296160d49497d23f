"""Line integrals of readings that hold few photons, or none.

The logarithm of a single reading is biased upward as photons get few, and has no value at zero
or below. Where a ray sees fewer than 25 photons, the reading is therefore replaced by the mean of
a window of readings about it: the maximum-likelihood estimate where these see the same
transmission. The window is the smallest, up to 33 a side, that holds 25 photons; its size is told
by the next larger one, since a reading that had a say in its own window would bias it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ENOUGH = 25.0  # photons: a relative error of a fifth, a bias of 2 % of one
WINDOWS = (1, 3, 5, 9, 17, 33)
REACH = WINDOWS[-1] // 2
BLOCK = 1 << 23  # readings that are worked on together, each of which takes some 50 bytes

# Without photons to count by: readings below this transmission have no logarithm to speak of. Its
# -log is 13.8, beyond what any patient attenuates.
TRANSMISSION_FLOOR = 1e-6


def photon_integrals(photons: Tensor, level: Tensor, noise: float, axes: int) -> Tensor:
    """Line integrals of readings in photons.

    Parameters
    ----------
    photons
        Readings less the dark scan ``(*batch, view, [row,] column)``.
    level
        The same without object, positive, of the same shape.
    noise
        Standard deviation of the electronics in photons.
    axes
        How many of the last axes windows reach over: views, rows, columns.
    """
    if float(photons.min()) >= 4 * ENOUGH and noise**2 <= ENOUGH:
        return -torch.log(photons / level)
    return _in_blocks(lambda p, v: _windowed(p, v, noise, axes), photons, level, axes)


def _windowed(photons: Tensor, level: Tensor, noise: float, axes: int) -> Tensor:
    """`photon_integrals` of some of the views, with those beside them."""
    integrals = torch.empty_like(photons)
    open_ = torch.ones_like(photons, dtype=torch.bool)
    signal = photons
    for size, larger in zip(WINDOWS, [*WINDOWS[1:], WINDOWS[-1]], strict=True):
        here, around = signal, _window_mean(photons, larger, axes)
        rate = around.clamp_min(0)
        count = _window_count(photons, size, axes)
        strength = count * rate.square() / (rate + noise**2).clamp_min(1e-12)
        if size == WINDOWS[-1]:  # at least one photon in the largest window
            here, good = torch.maximum(here, 1 / count), open_
        else:
            good = open_ & (strength >= ENOUGH) & (here > 0)
        blank = level if size == 1 else _window_mean(level, size, axes)
        # -log is too large by half its variance: half a count more, or more with electronic noise.
        half = 0.5 / count * (1 + noise**2 / torch.maximum(rate, 1 / count))
        half = torch.where(strength < 4 * ENOUGH, half, 0.0)
        found = -torch.log((here + half).clamp_min(1e-12) / blank)
        integrals = torch.where(good, found, integrals)
        open_ = open_ & ~good
        signal = around
        if not bool(open_.any()):
            break
    return integrals


def positive_integrals(readings: Tensor, level: Tensor, axes: int) -> Tensor:
    """Line integrals of readings of unknown gain: those at or below zero take windows' means.

    The arguments are those of `photon_integrals`, in any unit.
    """
    return _in_blocks(lambda r, v: _positive(r, v, axes), readings, level, axes)


def _positive(readings: Tensor, level: Tensor, axes: int) -> Tensor:
    transmission = readings / level
    for size in WINDOWS[1:]:
        open_ = transmission <= TRANSMISSION_FLOOR
        if not bool(open_.any()):
            break
        mean = _window_mean(readings, size, axes) / _window_mean(level, size, axes)
        transmission = torch.where(open_, mean, transmission)
    return -torch.log(transmission.clamp_min(TRANSMISSION_FLOOR))


def _in_blocks(
    function: Callable[[Tensor, Tensor], Tensor], readings: Tensor, level: Tensor, axes: int
) -> Tensor:
    """A function of windows, block by block along the first axis that they reach over."""
    count = readings.shape[-axes]
    together = max(BLOCK * count // max(readings.numel(), 1), 2 * REACH)
    if together >= count:
        return function(readings, level)
    result = torch.empty_like(readings)
    for first in range(0, count, together):
        low, high = max(first - REACH, 0), min(first + together + REACH, count)
        part = function(*(x.narrow(-axes, low, high - low) for x in (readings, level)))
        kept = min(together, count - first)
        result.narrow(-axes, first, kept).copy_(part.narrow(-axes, first - low, kept))
    return result


def _window_mean(values: Tensor, size: int, axes: int) -> Tensor:
    """Mean over a window about each value, cut off at the edges of the data."""
    for axis in range(-axes, 0):
        if values.shape[axis] == 1:
            continue
        rows = values.movedim(axis, -1)
        pooled = torch.nn.functional.avg_pool1d(
            rows.reshape(-1, 1, rows.shape[-1]), size, 1, size // 2, count_include_pad=False
        )
        values = pooled.reshape(rows.shape).movedim(-1, axis)
    return values


def _window_count(values: Tensor, size: int, axes: int) -> Tensor:
    """How many values such windows hold; broadcasts to `values`."""
    count = values.new_ones(())
    for axis, length in enumerate(values.shape[-axes:]):
        place = torch.arange(length, device=values.device)
        reach = (place + size // 2).clamp(max=length - 1) - (place - size // 2).clamp(min=0) + 1
        count = count * reach.to(values).reshape(-1, *(1,) * (axes - 1 - axis))
    return count
