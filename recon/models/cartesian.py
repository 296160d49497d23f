"""What Cartesian networks share: checked input, and the fully sampled centre of a mask."""

from __future__ import annotations

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


def keep_centre(kspace: Tensor, mask: Tensor, lines: int | None = None) -> Tensor:
    """Zero k-space outside the fully sampled centre of its mask.

    The centre is symmetric about index ``n // 2`` on each axis that the mask undersamples, and
    counted as fastMRI does it: the run of measured samples on the shorter side, twice.

    Parameters
    ----------
    kspace
        ``(..., coil, ky, kx)``.
    mask
        Bool, as many axes as k-space; axes of length 1 broadcast.
    lines
        Width of the centre on those axes, where it is known.
    """
    undersampled = [axis for axis in (-2, -1) if _varies(mask, axis)] or [-1]
    for axis in undersampled:
        n = kspace.shape[axis]
        other = -1 if axis == -2 else -2
        row = mask.select(other, mask.shape[other] // 2).expand(*mask.shape[:-2], n)
        if lines:
            width = torch.full(row.shape[:-1], lines, device=mask.device)
        else:
            left, right = row[..., : n // 2].flip(-1), row[..., n // 2 :]
            # argmin finds the first sample that is missing: 0 where none is, as in fastMRI
            runs = [side.to(torch.int8).argmin(-1) for side in (left, right)]
            width = (2 * torch.minimum(*runs)).clamp_min(1)
        first = ((n - width + 1) // 2)[..., None]
        index = torch.arange(n, device=mask.device)
        inside = (index >= first) & (index < first + width[..., None])
        kspace = kspace * inside.unsqueeze(other)
    return kspace


def _varies(mask: Tensor, axis: int) -> bool:
    return bool((mask != mask.narrow(axis, 0, 1)).any())


def mask_kind(mask: Tensor) -> str:
    """``"lines"`` where whole lines were measured, ``"2D"`` otherwise; ``(ky or 1, kx or 1)``."""
    rows = bool((mask == mask[:1]).all())
    columns = bool((mask == mask[:, :1]).all())
    return "lines" if rows or columns else "2D"
