"""Reconstruction of circular cone beams."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, Geometry, VolumeGrid
from .analytic import MEMORY, reconstruct, require_beam
from .filters import Filter


def fdk(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid | None = None,
    *,
    filter: Filter = "ram-lak",  # noqa: A002
    cutoff: float = 1.0,
    memory_limit: int = MEMORY,
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
    filter, cutoff, memory_limit
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
    require_beam("fdk", geometry)
    return reconstruct(sinogram, cast(CircularBeam, geometry), volume, filter, cutoff, memory_limit)
