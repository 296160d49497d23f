"""From detector readings to line integrals."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.warn import warn

# Readings at or below zero (dead pixels, or fewer photons than the electronic noise) have no
# logarithm. They are raised to this fraction of the blank reading: -log is then 13.8, finite and
# beyond what any patient attenuates.
TRANSMISSION_FLOOR = 1e-6


def line_integrals(
    counts: Tensor,
    blank: Tensor | float,
    dark: Tensor | float | None = None,
    *,
    detector_ndim: int | None = None,
) -> Tensor:
    """Line integrals ``-log((counts - dark) / (blank - dark))`` by Beer and Lambert's law.

    Dead pixels, whose blank reading does not exceed the dark one, get their line integrals from
    the nearest live columns of their row, linearly, with a warning that counts them.

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

    Returns
    -------
    Tensor
        Line integrals without unit, shaped as `counts`, float64 if they are and float32 otherwise.
        Transmissions below 1e-6, zero and negative ones too, are set to 1e-6.

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN, more dead than live pixels or a row of dead ones.

    Warns
    -----
    UserWarning
        Dead pixels.
    """
    if blank is None:
        raise ValueError("line integrals need a blank scan (white field, I0): give blank=")
    counts = torch.as_tensor(counts)
    counts = counts if counts.dtype == torch.float64 else counts.float()
    offset, level = _levels(counts, blank, dark, detector_ndim)
    dead = level <= 0
    bad = int(dead.sum())
    if bad:
        _require_neighbours(dead, bad)
        level = torch.where(dead, 1.0, level)
    transmission = (counts - offset) / level
    if bool(torch.isnan(transmission).any()):
        raise ValueError("counts, blank or dark hold NaN")
    integrals = -torch.log(transmission.clamp_min(TRANSMISSION_FLOOR))
    if not bad:
        return integrals
    warn(
        f"{bad} of {dead.numel()} detector pixels are dead (blank not above dark): their line "
        "integrals are interpolated from the columns beside them"
    )
    return _bridged(integrals, dead)


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


def _bridged(integrals: Tensor, dead: Tensor) -> Tensor:
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
    if ndim is None:
        ndim = 2 if counts.ndim > 2 and reading.shape[-2:] == counts.shape[-2:] else 1
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
