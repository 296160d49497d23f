"""Reconstruction of circular cone beams."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.ct.backprojection import backproject
from ...kernels.ct.geometry import ConeBeam, Geometry, HelicalBeam, VolumeGrid
from .filtered_backprojection import checked_sinogram, fan_weights, warn_of_truncation, widen
from .filters import Filter, filter_views
from .redundancy import view_weights


def fdk(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid | None = None,
    *,
    filter: Filter = "ram-lak",  # noqa: A002
    cutoff: float = 1.0,
) -> Tensor:
    """Cone-beam reconstruction after Feldkamp, Davis and Kress (J. Opt. Soc. Am. A 1 (1984) 612).

    Exact in the plane of the orbit; above and below, missing data darken sharp changes along z.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, row, column)``.
    geometry
        `ConeBeam`, flat or curved: a full turn, or a short scan (Parker weights).
    volume
        Grid of the image. Default: over the field of view.
    filter, cutoff
        As `fbp`.

    Returns
    -------
    Tensor
        Volumes ``(*batch, z, y, x)`` in 1/mm.

    Raises
    ------
    TypeError, ValueError
        As `fbp`.
    """
    if not isinstance(geometry, ConeBeam) or isinstance(geometry, HelicalBeam):
        raise TypeError(f"fdk takes a ConeBeam on a circle, got {geometry}")
    sinogram = checked_sinogram(sinogram, geometry)
    warn_of_truncation(sinogram, geometry)
    grid = volume or geometry.default_volume()
    before = view_weights(geometry)[:, None, :]
    sinogram, geometry = widen(sinogram * torch.from_numpy(before).to(sinogram), geometry)
    spacing, arc, cosine, after = fan_weights(geometry)
    weighted = sinogram * torch.from_numpy(cosine / geometry.slopes).to(sinogram)
    filtered = filter_views(weighted, spacing, filter, arc=arc, cutoff=cutoff)
    return backproject(filtered * torch.from_numpy(after).to(sinogram), geometry, grid)
