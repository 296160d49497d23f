"""How many counts a photon makes, and the electronics' noise, from repeated frames."""

from __future__ import annotations

import torch
from torch import Tensor

FRAMES = 8  # fewer say too little of a variance


def detector_gain(
    blank: Tensor, dark: Tensor | float | None = None, *, detector_ndim: int = 1
) -> float:
    """Counts a photon, from the variance of the frames of a blank scan over their mean.

    Neighbouring columns are compared in each frame, so that a beam that flickers or moves does not
    count as noise. Photons are those that would make the noise (noise-equivalent quanta).

    Parameters
    ----------
    blank
        Readings without object ``(*batch, frame, [row,] column)``, eight frames or more, two
        columns or more.
    dark
        Readings without beam: a number, or frames alike, whose variance is taken off.
    detector_ndim
        1 for a detector of columns, 2 for rows and columns.

    Raises
    ------
    ValueError
        Fewer frames or columns, no two neighbours that see the beam, no variance.

    References
    ----------
    J. R. Janesick, Photon Transfer, SPIE (2007).
    """
    frames = _frames("blank", blank, detector_ndim)
    offset = torch.as_tensor(0.0 if dark is None else dark).to(frames)
    floor = 0.0
    if offset.ndim > detector_ndim:
        if has_frames(offset, detector_ndim):
            floor = electronic_noise(offset, detector_ndim=detector_ndim) ** 2
        offset = offset.mean(dim=-detector_ndim - 1, keepdim=True)
    axis = -detector_ndim - 1
    signal = frames - offset
    mean = signal.mean(dim=axis)
    pair = (mean[..., 1:] > 0) & (mean[..., :-1] > 0)
    if not bool(pair.any()):
        raise ValueError("no two neighbouring columns read more with beam than without")
    step = (signal / mean.unsqueeze(axis)).diff(dim=-1).var(dim=axis)
    inverse = 1 / mean
    photon = inverse[..., 1:] + inverse[..., :-1]
    readout = floor * (inverse[..., 1:].square() + inverse[..., :-1].square())
    weight = 1 / photon  # columns that read much, and columns that read little, alike
    gain = float((weight * (step - readout))[pair].sum() / (weight * photon)[pair].sum())
    if not gain > 0:
        raise ValueError("the frames of the blank scan do not vary: no gain can be told from them")
    return gain


def electronic_noise(dark: Tensor, *, detector_ndim: int = 1) -> float:
    """Standard deviation of readings without beam in counts, from eight frames or more."""
    frames = _frames("dark", dark, detector_ndim)
    return float(frames.var(dim=-detector_ndim - 1).mean().sqrt())


def has_frames(reading: Tensor | float | None, detector_ndim: int) -> bool:
    """Whether a reading repeats often enough to tell its variance."""
    if not isinstance(reading, Tensor) or reading.ndim <= detector_ndim:
        return False
    return reading.shape[-detector_ndim - 1] >= FRAMES


def _frames(name: str, reading: Tensor, detector_ndim: int) -> Tensor:
    frames = torch.as_tensor(reading).double()
    if not has_frames(frames, detector_ndim):
        raise ValueError(
            f"{name} must be (*batch, frame, [row,] column) with {FRAMES} frames or more, got "
            f"{tuple(frames.shape)}"
        )
    return frames
