"""What Cartesian networks share: checked input, and the fully sampled centre of a mask."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def checked_input(kspace: Tensor, mask: Tensor, ndim: int) -> None:
    """Raise unless k-space is complex ``(batch, [slice,] coil, ky, kx)`` and the mask broadcasts.

    Parameters
    ----------
    kspace, mask
        As `VarNet.forward` takes them.
    ndim
        Axes of k-space, 4 or 5.
    """
    axes = "(batch, coil, ky, kx)" if ndim == 4 else "(batch, slice, coil, ky, kx)"
    if not kspace.is_complex():
        raise TypeError(f"kspace must be complex {axes}, got {kspace.dtype}")
    if kspace.ndim != ndim:
        raise ValueError(f"kspace must be {axes}, got shape {tuple(kspace.shape)}")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if mask.ndim != ndim or any(
        m not in (1, n) for m, n in zip(mask.shape, kspace.shape, strict=True)
    ):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, expected {axes} = {tuple(kspace.shape)} with a "
            "coil axis of length 1; axes of length 1 broadcast"
        )


def keep_centre(
    kspace: Tensor, mask: Tensor, lines: int | Tensor | None = None, *, official: bool = False
) -> Tensor:
    """Zero k-space outside the fully sampled centre of its mask.

    The centre is symmetric about index ``n // 2`` on each axis that the mask undersamples: the run
    of measured samples on the shorter side, twice.

    Parameters
    ----------
    kspace
        ``(..., coil, ky, kx)``.
    mask
        Bool, as many axes as k-space; axes of length 1 broadcast.
    lines
        Width of the centre on those axes, where it is known: of all, or of each item ``(batch,)``;
        0 is counted.
    official
        Count as fastMRI does, to which a side without a gap has a run of none: of a full k-space,
        or one that is full on one side, a single line is left, and warned of.
    """
    undersampled = [axis for axis in (-2, -1) if _varies(mask, axis)] or [-1]
    for axis in undersampled:
        n = kspace.shape[axis]
        other = -1 if axis == -2 else -2
        row = mask.select(other, mask.shape[other] // 2).expand(*mask.shape[:-2], n)
        width = _centre_width(row, official)
        if lines is not None:
            known = torch.as_tensor(lines, device=mask.device)
            known = known.reshape(-1, *[1] * (width.ndim - 1)).to(width.dtype)
            width = torch.where(known > 0, known, width)
        first = ((n - width + 1) // 2)[..., None]
        index = torch.arange(n, device=mask.device)
        inside = (index >= first) & (index < first + width[..., None])
        kspace = kspace * inside.unsqueeze(other)
    return kspace


def _centre_width(row: Tensor, official: bool) -> Tensor:
    """How many samples in a row about the centre of ``(..., n)`` are measured."""
    n = row.shape[-1]
    runs = []
    for side in (row[..., : n // 2].flip(-1), row[..., n // 2 :]):
        run = side.to(torch.int8).argmin(-1)  # the first that is missing; 0 where none is
        full = side.all(-1)
        if not official:
            run = torch.where(full, side.shape[-1], run)
        elif bool(full.any()):
            warnings.warn(
                "one half of k-space has no gap: VarNet, like fastMRI's, then takes its coil maps "
                "from a single line; num_low_frequencies tells it how many to take",
                stacklevel=4,
            )
        runs.append(run)
    whole = row.all(-1) & (not official)
    return torch.where(whole, n, 2 * torch.minimum(*runs)).clamp_min(1)


def _varies(mask: Tensor, axis: int) -> bool:
    return bool((mask != mask.narrow(axis, 0, 1)).any())


def mask_kind(mask: Tensor) -> str:
    """How a mask ``(ky or 1, kx or 1)`` samples: a network trained on one kind may fail on another.

    ``"regular"`` (equispaced, CAIPIRINHA: their aliasing is coherent) or ``"random"`` (Poisson
    discs too), then ``"lines along ky"``, ``"lines along kx"`` or ``"2D"``; or ``"full"``.
    """
    mask = mask.cpu()
    if bool(mask.all()):
        return "full"
    rows = bool((mask == mask[:1]).all())
    columns = bool((mask == mask[:, :1]).all())
    if rows:
        return f"{_regularity(mask[:1])} lines along ky"
    if columns:
        return f"{_regularity(mask[:, :1].T)} lines along kx"
    return f"{_regularity(mask)} 2D"


def _regularity(rows: Tensor) -> str:
    """Whether samples of ``(row, n)`` are evenly spaced outside the centre, to rounding."""
    n = rows.shape[-1]
    middle, index = n // 2, torch.arange(n)
    before = torch.where(~rows & (index < middle), index, -1).amax(1)  # the last that is missing,
    after = torch.where(~rows & (index >= middle), index, n).amin(1)  # the first
    dense = rows[:, middle]
    first = torch.where(dense & (before >= 0), before + 1, middle)
    last = torch.where(dense & (after < n), after, middle)
    outside = rows & ((index < first[:, None]) | (index >= last[:, None]))
    row, place = torch.nonzero(outside, as_tuple=True)
    side = 2 * row + (place >= middle)
    spacings = place.diff()[side.diff() == 0]
    even = spacings.numel() == 0 or int(spacings.max() - spacings.min()) <= 1
    return "regular" if even else "random"
