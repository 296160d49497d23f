"""Objects that reach beyond the detector: views are continued as water would."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch
from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, DivergentBeam
from .hounsfield import WATER
from .redundancy import is_wide

Beam = TypeVar("Beam", bound=CircularBeam)

_FIT = 12  # columns at the edge whose level and slope are continued
_MOST = 0.5  # of the detector's width that an end is continued by


def extrapolate_truncation(
    sinogram: Tensor, geometry: Beam, *, water: float = WATER
) -> tuple[Tensor, Beam]:
    """Continue truncated views by the water cylinder that fits level and slope at the edge.

    What is measured stays; without the continuation the ramp filter sees a cliff, which makes a
    bright rim and raises the values inside.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``.
    geometry
        Parallel, fan or cone beam with a centred detector.
    water
        Attenuation in 1/mm of what lies outside.

    Returns
    -------
    Tensor, geometry
        The sinogram with as many columns added on both sides, and a detector as wide. Reconstruct
        on the grid of the narrow geometry: outside it the image is a guess.

    Raises
    ------
    ValueError
        A detector shifted to one side, fewer than 24 columns, water that is not positive.

    References
    ----------
    J. Hsieh et al., Med Phys 31, 2385 (2004).
    """
    columns = geometry.columns
    if is_wide(geometry):
        raise ValueError(
            f"the detector is shifted by {geometry.column_offset:g} columns: only one of its edges "
            "cuts the object, which a water cylinder on both sides would not continue"
        )
    if columns < 2 * _FIT or not water > 0:
        raise ValueError(
            f"extrapolation needs {2 * _FIT} columns and positive water, got {columns} and {water}"
        )
    spacing = geometry.column_spacing
    if isinstance(geometry, DivergentBeam):
        spacing = spacing / geometry.magnification
    most = int(_MOST * columns)
    left = _cylinder(sinogram[..., :_FIT].flip(-1), most, spacing, water).flip(-1)
    right = _cylinder(sinogram[..., -_FIT:], most, spacing, water)
    reach = max(_reach(left.flip(-1)), _reach(right))
    if not reach:
        return sinogram, geometry
    wide = torch.cat([left[..., most - reach :], sinogram, right[..., :reach]], dim=-1)
    changes: dict[str, int] = {"columns": columns + 2 * reach}
    return wide, dataclasses.replace(geometry, **changes)


def _cylinder(edge: Tensor, count: int, spacing: float, water: float) -> Tensor:
    """Line integrals behind the last of the edge's columns: ``2 water sqrt(R^2 - x^2)``."""
    place = (torch.arange(_FIT, device=edge.device) - (_FIT - 1)).to(edge) * spacing
    middle = place.mean()
    slope = ((place - middle) * edge).sum(-1) / (place - middle).square().sum()
    level = (edge.mean(-1) - slope * middle).clamp_min(0)
    # A view that rises towards the edge is continued by a cylinder whose top is the edge.
    start = (-level * slope / (4 * water**2)).clamp_min(0)
    radius2 = (level / (2 * water)).square() + start.square()
    x = start[..., None] + spacing * torch.arange(1, count + 1, device=edge.device).to(edge)
    fall = 2 * water * (radius2[..., None] - x.square()).clamp_min(0).sqrt()
    # A cylinder that is wider than the room for it ends smoothly all the same.
    taper = torch.linspace(1, 0, count, device=edge.device, dtype=edge.dtype)
    return fall * (1 - (1 - taper) ** 4)


def _reach(side: Tensor) -> int:
    """Columns out to the first behind which nothing exceeds a thousandth of the largest."""
    peak = float(side.abs().max())
    if peak <= 0:
        return 0
    held = (side > 1e-3 * peak).reshape(-1, side.shape[-1]).any(0).nonzero()
    return min(int(held.max()) + 2, side.shape[-1]) if held.numel() else 0
