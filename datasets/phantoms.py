"""Named phantoms: Shepp-Logan for MR, a head and a water disc for CT, a letter F for orientation.

All stand as an axial slice is viewed: anterior at small y (the top row), x to the right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..recon.ct.hounsfield import WATER
from .ellipses import Ellipse, EllipsePhantom, Ellipsoid, EllipsoidPhantom, mr_grid
from .rays import rays

__all__ = [
    "PHANTOMS",
    "WATER",
    "Ellipse",
    "EllipsePhantom",
    "Ellipsoid",
    "EllipsoidPhantom",
    "head",
    "head_3d",
    "letter_f",
    "mr_grid",
    "phantom",
    "rays",
    "shepp_logan",
    "shepp_logan_3d",
    "water_disc",
]

# value, semi-axes (x, y, z), centre (x, y, z) in units of half the field of view with y and z
# upward, angle in degrees: Shepp and Logan 1974 with Toft's contrast (1996), z after Kak and
# Slaney (1988).
_SHEPP_LOGAN = (
    (1.0, (0.69, 0.92, 0.81), (0.0, 0.0, 0.0), 0),
    (-0.8, (0.6624, 0.874, 0.78), (0.0, -0.0184, 0.0), 0),
    (-0.2, (0.11, 0.31, 0.22), (0.22, 0.0, 0.0), -18),
    (-0.2, (0.16, 0.41, 0.28), (-0.22, 0.0, 0.0), 18),
    (0.1, (0.21, 0.25, 0.41), (0.0, 0.35, -0.15), 0),
    (0.1, (0.046, 0.046, 0.05), (0.0, 0.1, 0.25), 0),
    (0.1, (0.046, 0.046, 0.05), (0.0, -0.1, 0.25), 0),
    (0.1, (0.046, 0.023, 0.05), (-0.08, -0.605, 0.0), 0),
    (0.1, (0.023, 0.023, 0.02), (0.0, -0.606, 0.0), 0),
    (0.1, (0.023, 0.046, 0.02), (0.06, -0.605, 0.0), 0),
)

# HU added, semi-axes (x, y, z) in mm, centre (x, y, z) in mm, angle in degrees.
_HEAD = (
    (1035, (76, 98, 90), (0, 0, 0), 0),  # soft tissue of the scalp, above air at -1000
    (815, (72, 94, 86), (0, 0, 0), 0),  # skull
    (-812, (66, 87, 79), (0, 1, 0), 0),  # brain: 38 HU
    (-30, (8, 27, 14), (-14, -6, 4), 12),  # lateral ventricles: 8 HU
    (-30, (8, 27, 14), (14, -6, 4), -12),
    (-30, (3, 10, 9), (0, 24, -3), 0),  # third ventricle
    (8, (9, 14, 12), (-31, 0, 0), 10),  # basal ganglia
    (8, (9, 14, 12), (31, 0, 0), -10),
    (20, (9, 7, 8), (-38, 40, 2), 30),  # fresh bleed
    (10, (6, 6, 6), (38, 42, 0), 0),
    (-10, (11, 9, 10), (40, -38, -2), 20),  # oedema
    (-5, (12, 10, 10), (-36, -42, 0), 0),  # early ischaemia
    (5, (5, 5, 5), (0, 58, 0), 0),
    (15, (2.5, 2.5, 2.5), (-12, 66, 0), 0),
    (15, (1.5, 1.5, 1.5), (0, 70, 0), 0),
    (15, (1, 1, 1), (10, 66, 0), 0),
    (900, (7, 2.5, 5), (-48, 62, -3), 40),  # petrous bone
    (900, (7, 2.5, 5), (48, 62, -3), -40),
    (-1853, (9, 2, 8), (0, -90.5, 0), 0),  # air of the frontal sinus, inside the bone
)


def shepp_logan(field_of_view: float = 240.0) -> EllipsePhantom:
    """Shepp and Logan's head with Toft's contrast for MR, values from 0 to 1.

    Parameters
    ----------
    field_of_view
        Side in mm of the square that the phantom is defined on; the head is 0.92 of it high.
    """
    half = field_of_view / 2
    shapes = [
        Ellipse(value, (-y * half, x * half), (b * half, a * half), -np.deg2rad(angle))
        for value, (a, b, _), (x, y, _), angle in _SHEPP_LOGAN
    ]
    return EllipsePhantom("shepp-logan", tuple(shapes))


def shepp_logan_3d(field_of_view: float = 240.0) -> EllipsoidPhantom:
    """Shepp and Logan's head in 3D with Toft's contrast for MR, values from 0 to 1.

    Parameters
    ----------
    field_of_view
        Side in mm of the cube that the phantom is defined on.
    """
    half = field_of_view / 2
    shapes = [
        Ellipsoid(
            value,
            (z * half, -y * half, x * half),
            (c * half, b * half, a * half),
            -np.deg2rad(angle),
        )
        for value, (a, b, c), (x, y, z), angle in _SHEPP_LOGAN
    ]
    return EllipsoidPhantom("shepp-logan-3d", tuple(shapes))


def head() -> EllipsePhantom:
    """Head for CT in attenuation 1/mm: skull, brain, ventricles, lesions of 5 to 20 HU."""
    shapes = [
        Ellipse(WATER * hu / 1000, (y, x), (b, a), np.deg2rad(angle))
        for hu, (a, b, _), (x, y, _), angle in _HEAD
    ]
    return EllipsePhantom("head", tuple(shapes))


def head_3d() -> EllipsoidPhantom:
    """Head for cone and helical CT in attenuation 1/mm: `head` with a height for each part."""
    shapes = [
        Ellipsoid(WATER * hu / 1000, (z, y, x), (c, b, a), np.deg2rad(angle))
        for hu, (a, b, c), (x, y, z), angle in _HEAD
    ]
    return EllipsoidPhantom("head-3d", tuple(shapes))


def water_disc(radius: float = 100.0) -> EllipsePhantom:
    """Disc of water in attenuation 1/mm, for noise, uniformity and Hounsfield units."""
    return EllipsePhantom("water", (Ellipse(WATER, (0.0, 0.0), (radius, radius)),))


def letter_f(value: float = 1.0) -> EllipsePhantom:
    """Letter F: no flip, rotation by 90 degrees or transposition maps it to itself."""
    stem = Ellipse(value, (0.0, -30.0), (75.0, 11.0))
    top = Ellipse(0.8 * value, (-60.0, 5.0), (11.0, 50.0))
    middle = Ellipse(0.6 * value, (-5.0, -5.0), (10.0, 32.0))
    return EllipsePhantom("letter-f", (stem, top, middle))


PHANTOMS: dict[str, Callable[[], EllipsePhantom | EllipsoidPhantom]] = {
    "shepp-logan": shepp_logan,
    "shepp-logan-3d": shepp_logan_3d,
    "head": head,
    "head-3d": head_3d,
    "water": water_disc,
    "letter-f": letter_f,
}


def phantom(name: str) -> EllipsePhantom | EllipsoidPhantom:
    """Return a phantom by its name, one of `PHANTOMS`.

    Raises
    ------
    ValueError
        A name that is not among them.
    """
    if name not in PHANTOMS:
        raise ValueError(f"unknown phantom {name!r}, expected one of: {', '.join(PHANTOMS)}")
    return PHANTOMS[name]()
