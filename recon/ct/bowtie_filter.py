"""Bow-tie filters: thin in the middle of the fan, thick at its edges."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, DivergentBeam
from .materials import attenuation


def bowtie(
    geometry: CircularBeam, radius: float, material: str = "teflon", *, energy: float = 60.0
) -> Tensor:
    """Thickness of a bow-tie that makes a centred water cylinder look alike from every column.

    It is a path like any other: ``simulate_counts({"water": w, "teflon": bowtie(...)}, ...)``.

    Parameters
    ----------
    geometry
        Parallel, fan or cone beam.
    radius
        Of the water cylinder in mm.
    material
        Of the filter.
    energy
        In keV, at which the signal of all columns is the same.

    Returns
    -------
    Tensor
        Millimetres ``(column,)``, zero for the ray through the axis, float64.

    Raises
    ------
    ValueError
        A radius that is not positive or reaches the source, an unknown material.

    References
    ----------
    J. Hsieh, Computed Tomography, 3rd ed., SPIE (2015), section 6.
    """
    distance = geometry.column_positions
    if isinstance(geometry, DivergentBeam):
        if radius >= geometry.source_to_isocenter:
            raise ValueError(
                f"a cylinder of {radius:g} mm reaches the source at "
                f"{geometry.source_to_isocenter:g} mm"
            )
        distance = geometry.source_to_isocenter * np.sin(geometry.fan_angles)
    if not radius > 0:
        raise ValueError(f"radius must be positive mm, got {radius}")
    chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    ratio = float(attenuation("water", energy) / attenuation(material, energy))
    return torch.from_numpy((2 * radius - chord) * ratio)
