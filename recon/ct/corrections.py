"""From detector readings to line integrals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...kernels.warn import warn
from .photon_transfer import detector_gain, electronic_noise, has_frames
from .starvation import photon_integrals, positive_integrals

_SHUT = 1e-4  # of the blank reading: a view none of whose readings brings more saw no beam
_MANY = 0.01  # of the readings at or below zero, or beyond the blank scan
_BRIGHT = 2.0  # times the blank reading: more than any drift of a beam
_FULL = 0.001  # of the readings at a converter's full scale
_VIEWS = 16  # without a photon, where neighbours have some: no chance, a pixel that broke


def line_integrals(
    counts: Tensor,
    blank: Tensor | float,
    dark: Tensor | float | None = None,
    *,
    detector_ndim: int | None = None,
    monitor: Tensor | None = None,
    bad: Tensor | None = None,
    gain: float | None = None,
) -> Tensor:
    """Line integrals ``-log((counts - dark) / (blank - dark))`` by Beer and Lambert's law.

    Dead pixels, whose blank reading does not exceed the dark one, or whose readings never do while
    their neighbours' do, get their line integrals from the nearest live columns of their row,
    linearly, with a warning that counts them.

    Where a ray brought fewer than 25 photons, readings are averaged over the smallest window of
    views, rows and columns that holds as many (see `starvation`). That takes the gain; where it is
    not known, only readings at or below zero are averaged, until their mean exceeds 1e-6 of the
    blank reading, which is what readings without any photon about them are set to.

    Parameters
    ----------
    counts
        Detector readings ``(*batch, view, [row,] column)``.
    blank
        Readings without object: a number, ``(column,)``, ``(row, column)``, or a stack of frames
        ``(*batch, frame, [row,] column)``, averaged over the frames.
    dark
        Readings without beam, shaped as `blank`. Default: none.
    detector_ndim
        1 for a detector of columns, 2 for rows and columns. Default: 2 where the last two axes of
        a reference reading are those of the counts.
    monitor
        Beam of each view relative to that of the blank scan, ``(view,)``: a current, an ion
        chamber, or `linear_monitor`.
    bad
        Pixels to treat as dead ones, bool ``([row,] column)``; see `bad_pixels`.
    gain
        Counts a photon. Default: `detector_gain` of the blank scan, if it has eight frames or more.

    Returns
    -------
    Tensor
        Line integrals without unit, shaped as `counts`, float64 if they are and float32 otherwise.

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN, more dead than live pixels or a row of dead ones; a scan or
        views whose readings do not exceed the dark one.

    Warns
    -----
    UserWarning
        Dead pixels; more than 1 % of the readings at or below the dark one, or of twice the blank
        one; readings at a converter's full scale (4095, 65535, ...).
    """
    if blank is None:
        raise ValueError("line integrals need a blank scan (white field, I0): give blank=")
    counts = torch.as_tensor(counts)
    counts = counts if counts.dtype == torch.float64 else counts.float()
    blank = torch.as_tensor(blank, device=counts.device)
    dark = None if dark is None else torch.as_tensor(dark, device=counts.device)
    ndim = detector_axes(counts, blank, dark) if detector_ndim is None else detector_ndim
    offset, level = _levels(counts, blank, dark, ndim)
    dead = level <= 0
    if bad is not None:
        dead = dead | _fitting("bad", torch.as_tensor(bad, device=counts.device), dead)
    missing = int(dead.sum())
    if missing:
        _require_neighbours(dead, missing)
        level = torch.where(dead, torch.finfo(level.dtype).tiny, level)  # no say in any window
    signal = counts - offset
    silent = _silent(signal, dead, ndim)
    broken = int((silent & ~dead).sum())
    if broken:
        dead, missing = dead | silent, missing + broken
    if bool(torch.isnan(signal).any()) or bool(torch.isnan(level).any()):
        raise ValueError("counts, blank or dark hold NaN")
    if missing:
        signal = torch.where(dead, 0.0, signal)
    _require_beam(signal, level, dead, ndim)
    if bad is None:
        _tell_of_saturation(counts, signal, level)
    if monitor is not None:
        level = level * _beam(monitor, counts, ndim)
    integrals = _integrals(signal, level.expand(counts.shape), ndim, gain, blank, dark)
    if not missing:
        return integrals
    which = f"; {broken} of them dark in every view alone" if broken else ""
    warn(
        f"{missing} of {dead.numel()} detector pixels are dead (blank not above dark{which})"
        f"{' or bad' if bad is not None else ''}: their line integrals are interpolated from the "
        "columns beside them"
    )
    return bridged(integrals, dead)


def _require_beam(signal: Tensor, level: Tensor, dead: Tensor, ndim: int) -> None:
    """Refuse scans and views without beam; tell of many readings that are not above the dark."""
    above = signal > 0
    if not bool(above.any()):
        raise ValueError("no reading exceeds the dark one: no beam reached the detector")
    if signal.ndim > ndim:
        others = tuple(axis for axis in range(signal.ndim) if axis != signal.ndim - ndim - 1)
        dark = (signal.amax(dim=others) < _SHUT * level.mean()).nonzero().flatten().tolist()
        if dark:
            raise ValueError(
                f"{len(dark)} of {signal.shape[-ndim - 1]} views brought no beam, the first is "
                f"view {dark[0]} (a closed shutter?): leave them out"
            )
    if (missing := 1 - float((above | dead).float().mean())) > _MANY:
        warn(
            f"{missing:.1%} of the readings do not exceed the dark one (photon starvation, or a "
            "dark scan that is too high): they take the mean of readings beside them"
        )


def _silent(signal: Tensor, dead: Tensor, ndim: int) -> Tensor:
    """Pixels that no view brought anything, while it did their neighbours: ``(*batch, 1, ...)``.

    Where all neighbours see as little, as behind much metal, readings are starved, not broken; and
    a whole row, or most of the detector, lies in a shadow.
    """
    if signal.ndim <= ndim or signal.shape[-ndim - 1] < _VIEWS:
        return dead
    seen = (signal > 0).to(signal.dtype).mean(dim=-ndim - 1, keepdim=True)
    silent = (seen == 0) & ~dead
    shadow = (silent | dead).all(dim=-1, keepdim=True)
    silent = silent & ~shadow
    if not bool(silent.any()) or 2 * int(silent.sum()) > silent.numel():
        return dead
    return silent & (bridged(seen.clone(), silent | dead) > 0.5)


def _tell_of_saturation(counts: Tensor, signal: Tensor, level: Tensor) -> None:
    """Warn of many readings at a converter's full scale, or far beyond the blank scan."""
    top = float(counts.max())
    clipped = int((counts == top).sum())
    if top >= 255 and math.log2(top + 1).is_integer() and clipped > _FULL * counts.numel():
        warn(
            f"{clipped} of {counts.numel()} readings are {top:g}, a converter's full scale: "
            f"saturated? The options bad_pixels and saturation={top:g} bridge such pixels"
        )
    elif (bright := float((signal > _BRIGHT * level).float().mean())) > _MANY:
        warn(
            f"{bright:.1%} of the readings are more than {_BRIGHT:g} times the blank scan's: "
            "saturated pixels, or a blank scan of another exposure?"
        )


def _integrals(
    signal: Tensor,
    level: Tensor,
    ndim: int,
    gain: float | None,
    blank: Tensor,
    dark: Tensor | None,
) -> Tensor:
    """Line integrals by photons, where the gain is known or the frames tell it."""
    axes = min(ndim + 1, signal.ndim)
    if gain is None and has_frames(blank, ndim):
        try:
            gain = detector_gain(blank, dark, detector_ndim=ndim)
        except ValueError:
            gain = None  # frames that are copies of one
    if gain is None:
        return positive_integrals(signal, level, axes)
    if not gain > 0:
        raise ValueError(f"gain must be positive counts a photon, got {gain}")
    noise = 0.0
    if dark is not None and has_frames(dark, ndim):
        noise = electronic_noise(dark, detector_ndim=ndim) / gain
    return photon_integrals(signal / gain, level / gain, noise, axes)


def detector_axes(counts: Tensor, *readings: Tensor | float | None) -> int:
    """2 where the last two axes of a reference reading are those of the counts, 1 otherwise."""
    shapes = [torch.as_tensor(reading).shape for reading in readings if reading is not None]
    return 2 if counts.ndim > 2 and any(s[-2:] == counts.shape[-2:] for s in shapes) else 1


def _beam(monitor: Tensor, counts: Tensor, ndim: int) -> Tensor:
    """The monitor, positive, broadcasting to ``(*batch, view, [row,] column)``."""
    beam = torch.as_tensor(monitor, device=counts.device).to(counts.dtype)
    views = counts.shape[-ndim - 1] if counts.ndim > ndim else 1
    if beam.shape != (views,) or not bool((beam > 0).all()):
        raise ValueError(
            f"monitor must be positive, one value for each of {views} views, got shape "
            f"{tuple(beam.shape)} and values from {float(beam.min()):g}"
        )
    return beam.reshape(-1, *(1,) * ndim)


def _fitting(name: str, mask: Tensor, dead: Tensor) -> Tensor:
    if mask.dtype != torch.bool or mask.shape != dead.shape[dead.ndim - mask.ndim :]:
        raise ValueError(
            f"{name} must be bool for the detector's pixels {tuple(dead.shape)}, got {mask.dtype} "
            f"{tuple(mask.shape)}"
        )
    return mask


def dead_pixels(
    counts: Tensor,
    blank: Tensor | float,
    dark: Tensor | float | None = None,
    *,
    detector_ndim: int | None = None,
) -> int:
    """Count the pixels whose averaged blank reading does not exceed the dark one.

    The arguments are those of `line_integrals`.
    """
    counts = torch.as_tensor(counts)
    counts = counts if counts.dtype == torch.float64 else counts.float()
    _, level = _levels(counts, blank, dark, detector_ndim)
    return int((level <= 0).sum())


def _levels(
    counts: Tensor, blank: Tensor | float, dark: Tensor | float | None, ndim: int | None
) -> tuple[Tensor, Tensor]:
    """Dark reading, and blank reading above it; both broadcast over the views."""
    offset = reference_reading("dark", 0.0 if dark is None else dark, counts, ndim)
    return offset, reference_reading("blank", blank, counts, ndim) - offset


def _require_neighbours(dead: Tensor, count: int) -> None:
    """Refuse readings of which too few are left to interpolate the others."""
    if 2 * count > dead.numel():
        raise ValueError(
            f"blank - dark must be positive at the detector's pixels: {count} of {dead.numel()} "
            "are not (blank and dark exchanged?)"
        )
    rows = dead.all(dim=-1)
    if bool(rows.any()):
        raise ValueError(
            f"blank - dark must be positive at the detector's pixels: {int(rows.sum())} of "
            f"{rows.numel()} rows have none (leave these rows out)"
        )


def bridged(integrals: Tensor, dead: Tensor) -> Tensor:
    """Draw line integrals ``(..., column)`` straight across dead columns; flat at the edges."""
    columns = dead.shape[-1]
    index = torch.arange(columns, device=dead.device)
    left = torch.where(dead, -1, index).cummax(dim=-1).values
    right = torch.where(dead, columns, index).flip(-1).cummin(dim=-1).values.flip(-1)
    left, right = torch.where(left < 0, right, left), torch.where(right == columns, left, right)
    hit = dead.reshape(-1, columns).any(dim=0)
    left, right, found = left[..., hit], right[..., hit], integrals[..., hit]
    weight = (index[hit] - left) / (right - left).clamp_min(1)
    start, end = (integrals.gather(-1, side.expand(found.shape)) for side in (left, right))
    between = torch.lerp(start, end, weight.to(integrals.dtype))
    integrals[..., hit] = torch.where(dead[..., hit], between, found)
    return integrals


def reference_reading(
    name: str, value: Tensor | float | None, counts: Tensor, ndim: int | None = None
) -> Tensor:
    """Average the frames of a reference reading, so that it broadcasts over the views."""
    reading = torch.as_tensor(value, device=counts.device).to(counts.dtype)
    ndim = detector_axes(counts, reading) if ndim is None else ndim
    has_frames = reading.ndim > ndim
    averaged = reading.mean(dim=-ndim - 1, keepdim=True) if has_frames else reading
    try:
        averaged.expand(counts.shape)
    except RuntimeError as error:
        raise ValueError(
            f"{name} has shape {tuple(reading.shape)}, expected a number, (column,), (row, column) "
            f"or (*batch, frame, [row,] column) for counts {tuple(counts.shape)}"
        ) from error
    return averaged
