"""Filtered back projection of parallel and fan beams."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, Geometry, VolumeGrid
from .analytic import MEMORY, reconstruct, require_beam
from .filters import Filter


def fbp(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid | None = None,
    *,
    filter: Filter = "ram-lak",  # noqa: A002
    cutoff: float = 1.0,
    memory_limit: int = MEMORY,
) -> Tensor:
    """Filtered back projection (Kak and Slaney, 1988, chapter 3), attenuation in 1/mm.

    Pixels farther than ``geometry.field_radius`` from the axis are seen in some of the views only
    and hold streaks; they are not masked.

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
        `cutoff` times the Nyquist frequency; or ``"mtf50=0.40"``, the kernel that keeps half of
        0.40 cycles/mm.
    memory_limit
        Bytes to use beside sinogram and image: views are filtered and back projected in blocks
        that fit. Default: 256 MiB.

    Returns
    -------
    Tensor
        Images ``(*batch, y, x)`` in 1/mm.

    Raises
    ------
    TypeError
        Another geometry, a sinogram that is not real floating point.
    ValueError
        Shapes that do not fit, NaN, a sinogram that requires a gradient, an unknown filter, angles
        that do not suffice, a memory limit below what one view takes.
    """
    require_beam("fbp", geometry)
    return reconstruct(sinogram, cast(CircularBeam, geometry), volume, filter, cutoff, memory_limit)
