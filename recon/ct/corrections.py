"""From detector readings to line integrals."""

from __future__ import annotations

import torch
from torch import Tensor

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
        Shapes that do not fit, a blank that does not exceed the dark reading, NaN.
    """
    if blank is None:
        raise ValueError("line integrals need a blank scan (white field, I0): give blank=")
    counts = torch.as_tensor(counts)
    counts = counts if counts.dtype == torch.float64 else counts.float()
    offset = _reference("dark", 0.0 if dark is None else dark, counts, detector_ndim)
    level = _reference("blank", blank, counts, detector_ndim) - offset
    if not bool((level > 0).all()):
        bad = int((~(level > 0)).sum())
        raise ValueError(
            f"blank - dark must be positive at every detector pixel: {bad} of {level.numel()} are "
            "not (dead pixels, or blank and dark exchanged?)"
        )
    transmission = (counts - offset) / level
    if bool(torch.isnan(transmission).any()):
        raise ValueError("counts, blank or dark hold NaN")
    return -torch.log(transmission.clamp_min(TRANSMISSION_FLOOR))


def _reference(name: str, value: Tensor | float, counts: Tensor, ndim: int | None) -> Tensor:
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
