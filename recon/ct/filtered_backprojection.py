"""Filtered back projection of parallel and fan beams."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ...kernels.ct.backprojection import backproject
from ...kernels.ct.geometry import (
    CircularBeam,
    DivergentBeam,
    FanBeam,
    Geometry,
    ParallelBeam,
    VolumeGrid,
)
from .filters import Filter, filter_views
from .redundancy import Array, is_offset, is_wide, turns_fully, view_weights

Beam = TypeVar("Beam", bound=CircularBeam)


def fbp(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid | None = None,
    *,
    filter: Filter = "ram-lak",  # noqa: A002
    cutoff: float = 1.0,
) -> Tensor:
    """Filtered back projection (Kak and Slaney, 1988, chapter 3), attenuation in 1/mm.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, column)``, float32 or float64.
    geometry
        `ParallelBeam` with views at any angles, or `FanBeam`, flat or curved: a full turn, or a
        short scan of 180° plus the fan angle (Parker weights). An offset detector over a full turn
        is weighted after Wang.
    volume
        Grid of the image. Default: over the field of view.
    filter, cutoff
        ``"ram-lak"``, ``"shepp-logan"``, ``"cosine"``, ``"hamming"`` or ``"hann"``, ending at
        `cutoff` times the Nyquist frequency.

    Returns
    -------
    Tensor
        Images ``(*batch, y, x)`` in 1/mm.

    Raises
    ------
    TypeError
        Another geometry, a sinogram that is not real floating point.
    ValueError
        Shapes that do not fit, an unknown filter, angles that do not suffice.
    """
    if not isinstance(geometry, (ParallelBeam, FanBeam)):
        raise TypeError(f"fbp takes a parallel or fan beam, got {geometry}: see fdk for cone beams")
    sinogram = checked_sinogram(sinogram, geometry)
    warn_of_truncation(sinogram, geometry)
    grid = volume or geometry.default_volume()
    before = view_weights(geometry)
    sinogram, geometry = widen(sinogram * torch.from_numpy(before).to(sinogram), geometry)
    if not isinstance(geometry, FanBeam):
        spacing = geometry.column_spacing
        filtered = filter_views(sinogram, spacing, filter, cutoff=cutoff, midpoints=True)
        return backproject(filtered, with_midpoints(geometry), grid)
    spacing, arc, cosine, _ = fan_weights(geometry)
    weighted = sinogram * torch.from_numpy(cosine).to(sinogram)
    filtered = filter_views(weighted, spacing, filter, arc=arc, cutoff=cutoff, midpoints=True)
    fine = with_midpoints(geometry)
    after = fan_weights(fine)[3]
    return backproject(filtered * torch.from_numpy(after).to(sinogram), fine, grid)


def with_midpoints(geometry: Beam) -> Beam:
    """The detector with a column halfway between any two."""
    changes: dict[str, float] = {
        "columns": 2 * geometry.columns - 1,
        "column_spacing": geometry.column_spacing / 2,
        "column_offset": 2 * geometry.column_offset,
    }
    return dataclasses.replace(geometry, **changes)


def checked_sinogram(sinogram: Tensor, geometry: CircularBeam) -> Tensor:
    """The sinogram as a real tensor whose last axes are the geometry's, or an error."""
    sinogram = torch.as_tensor(sinogram)
    if sinogram.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"sinogram must be float32 or float64, got {sinogram.dtype}")
    if torch.is_grad_enabled() and sinogram.requires_grad:
        raise ValueError(
            "analytic reconstruction has no gradient: detach() the sinogram, or build on "
            "XRayTransform"
        )
    shape = geometry.shape
    if tuple(sinogram.shape[-len(shape) :]) != shape:
        axes = "view, column" if len(shape) == 2 else "view, row, column"
        raise ValueError(
            f"sinogram has shape {tuple(sinogram.shape)}, expected (*batch, {axes}) with {shape}"
        )
    return sinogram


def widen(sinogram: Tensor, geometry: Beam) -> tuple[Tensor, Beam]:
    """Add zero columns on the short side of an offset detector, where filtered views have tails."""
    extra = int(2 * abs(geometry.column_offset))
    if not is_offset(geometry):
        return sinogram, geometry
    side = extra if geometry.column_offset > 0 else -extra
    padded = torch.nn.functional.pad(sinogram, (max(side, 0), max(-side, 0)))
    changes: dict[str, float] = {
        "columns": geometry.columns + extra,
        "column_offset": geometry.column_offset - side / 2,
    }
    return padded, dataclasses.replace(geometry, **changes)


def fan_weights(geometry: DivergentBeam) -> tuple[float, float, Array, Array]:
    """Sample spacing in mm, arc step, and the columns' weights before and after the filter.

    `backproject` divides by the squared distance from the source to the pixel, so that the
    weights after the filter hold the rest of the inversion formula.
    """
    sid = geometry.source_to_isocenter
    cosine = np.cos(geometry.fan_angles)
    spacing = geometry.column_spacing / geometry.magnification
    if geometry.detector == "curved":
        arc = geometry.column_spacing / geometry.source_to_detector
        return spacing, arc, cosine, np.full(geometry.columns, sid**2)
    return spacing, 0.0, cosine, sid**2 / cosine**2


def warn_of_truncation(sinogram: Tensor, geometry: CircularBeam) -> None:
    """Warn if the object reaches beyond the detector: edge columns above 5 % of the maximum.

    Raises
    ------
    ValueError
        It does, and the detector is shifted to one side over less than a full turn.
    """
    position = geometry.column_positions
    shifted = is_offset(geometry) and turns_fully(geometry)
    edge = sinogram.detach().abs()[..., [0, -1]].amax(dim=tuple(range(sinogram.ndim - 1)))
    peak = float(sinogram.detach().abs().max())
    for value, where in zip(edge, position[[0, -1]], strict=True):
        short = shifted and abs(where) < np.abs(position).max()
        if float(value) > 0.05 * peak and is_wide(geometry) and not turns_fully(geometry):
            raise ValueError(
                f"the object reaches beyond the detector's edge at {where:.1f} mm: a detector "
                "shifted to one side needs a full turn"
            )
        if float(value) > 0.05 * peak and not short:
            warnings.warn(
                f"the object reaches beyond the detector's edge at {where:.1f} mm (line integrals "
                f"of {float(value):.3g} there): expect a bright rim and a shifted mean",
                stacklevel=3,
            )
