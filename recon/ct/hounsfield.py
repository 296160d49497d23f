"""Hounsfield units."""

from __future__ import annotations

from torch import Tensor

# Linear attenuation of water at 70 keV, about the effective energy of a 120 kVp beam, in 1/mm
# (NIST XCOM).
WATER = 0.0193


def to_hounsfield(image: Tensor, water: float = WATER) -> Tensor:
    """Attenuation in 1/mm to Hounsfield units: air -1000, water 0.

    Parameters
    ----------
    image
        Linear attenuation in 1/mm, any shape.
    water
        Attenuation of water in 1/mm at the scan's effective energy, best from a calibration scan.

    Raises
    ------
    ValueError
        Water that is not positive.
    """
    if not water > 0:
        raise ValueError(f"the attenuation of water must be positive 1/mm, got {water}")
    return 1000 * (image / water - 1)


def from_hounsfield(image: Tensor, water: float = WATER) -> Tensor:
    """Hounsfield units to attenuation in 1/mm, the inverse of `to_hounsfield`."""
    if not water > 0:
        raise ValueError(f"the attenuation of water must be positive 1/mm, got {water}")
    return water * (1 + image / 1000)
