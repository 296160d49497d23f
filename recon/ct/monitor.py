"""How the beam changed during a scan."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_monitor(before: Tensor, after: Tensor, views: int, dark: Tensor | float = 0.0) -> Tensor:
    """Beam of each view relative to the blank scan before, drifting evenly to the one after.

    Parameters
    ----------
    before, after
        Readings without object before and after the scan, any shape: their means count.
    views
        Number of views.
    dark
        Readings without beam.

    Returns
    -------
    Tensor
        ``(view,)``, for ``line_integrals(..., monitor=...)``, float64.

    Raises
    ------
    ValueError
        Blank scans that do not exceed the dark one.
    """
    floor = float(torch.as_tensor(dark).double().mean())
    first, last = (torch.as_tensor(b).double().mean() - floor for b in (before, after))
    if not (float(first) > 0 and float(last) > 0):
        raise ValueError(
            f"the blank scans must exceed the dark one, by {float(first):g} and {float(last):g} "
            "they do not"
        )
    share = (torch.arange(views, dtype=torch.float64, device=last.device) + 0.5) / views
    return 1 + share * (last / first - 1)


def normalize_air(sinogram: Tensor, columns: int) -> Tensor:
    """Take from each view the line drawn through its outermost columns, which saw only air.

    What the beam did between blank scan and view, brighter, darker or tilted, goes.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``.
    columns
        How many columns at each edge of the detector are beside the object in every view.

    Returns
    -------
    Tensor
        Shaped as the sinogram.

    Raises
    ------
    ValueError
        No columns, or more than a quarter of the detector; an object that reaches there.
    """
    total = sinogram.shape[-1]
    if not 1 <= columns <= total // 4:
        raise ValueError(
            f"air columns must be 1 to {total // 4} at each edge of {total}, got {columns}"
        )
    left, right = (part.mean(-1, keepdim=True) for part in (
        sinogram[..., :columns], sinogram[..., -columns:]))  # fmt: skip
    spread = max(float(part.std()) if part.numel() > 1 else 0.0 for part in (left, right))
    peak = float(sinogram.abs().max())
    if spread > 0.1 * peak:
        raise ValueError(
            f"the outermost {columns} columns vary from view to view by {spread:.3g}, a tenth of "
            f"the largest line integral ({peak:.3g}) and more: they do not see air only"
        )
    middle = (columns - 1) / 2
    place = torch.arange(total, device=sinogram.device).to(sinogram)
    share = (place - middle) / (total - 1 - 2 * middle)
    return sinogram - torch.lerp(left, right, share)
