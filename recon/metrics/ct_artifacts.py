"""How strong rings and streaks are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, median_filter
from scipy.stats import gumbel_r

from .reference import Array, as_array

Values = NDArray[np.float64]

_SECTORS = 8  # of a turn: rings run through one at least, an object's edges seldom do
_RADII = 21  # samples that a ring stands out of


def ring_index(
    image: Array, center: tuple[float, float] | None = None, *, radius: float | None = None
) -> float:
    """Root mean square of what runs in arcs about the axis of rotation, in the image's unit.

    In polar coordinates rings are lines: the median over an eighth of a turn, less the median over
    the radii about it.

    Parameters
    ----------
    image
        ``(y, x)``.
    center
        Of rotation in pixels, ``(y, x)``. Default: the middle of the image.
    radius
        Up to which, in pixels. Default: what fits.

    Raises
    ------
    ValueError
        Less than 16 pixels around the centre.
    """
    x = _image(image)
    middle = tuple((n - 1) / 2 for n in x.shape) if center is None else center
    room = min(*middle, *(n - 1 - c for n, c in zip(x.shape, middle, strict=True)))
    radius = room if radius is None else min(radius, room)
    if radius < 16:
        raise ValueError(f"rings need 16 pixels around the centre {middle}, there are {radius:g}")
    r = np.arange(3, radius, 0.5)
    angles = int(np.ceil(2 * np.pi * radius / _SECTORS)) * _SECTORS
    turn = 2 * np.pi * np.arange(angles) / angles
    place = [middle[0] + np.outer(r, np.sin(turn)), middle[1] + np.outer(r, np.cos(turn))]
    polar = map_coordinates(x, place, order=3, mode="nearest")
    rest = polar - median_filter(polar, (_RADII, 1), mode="nearest")
    arcs = np.median(rest.reshape(len(r), _SECTORS, -1), axis=2)
    return float(np.sqrt(np.mean(arcs**2)))


def artifact_index(image: Array, roi: Array, reference: Array) -> float:
    """Noise that artefacts add: ``sqrt(SD_roi^2 - SD_reference^2)``, in the image's unit.

    Parameters
    ----------
    image
        Any shape.
    roi, reference
        Bool, shaped as the image: evenly dense tissue with streaks, and the same without.

    Returns
    -------
    float
        0 where the region is no noisier than the reference.

    Raises
    ------
    ValueError
        Masks that do not fit or hold fewer than two pixels.
    """
    x = as_array(image)
    deviation = []
    for name, mask in (("roi", roi), ("reference", reference)):
        inside = as_array(mask).astype(bool)
        if inside.shape != x.shape or inside.sum() < 2:
            raise ValueError(f"{name} must be bool {x.shape} with two pixels or more")
        deviation.append(float(x[inside].std(ddof=1)))
    return float(np.sqrt(max(deviation[0] ** 2 - deviation[1] ** 2, 0.0)))


def streak_index(roi: Array) -> tuple[float, float]:
    """Strength of streaks: Gumbel's location and scale of the largest steps across them.

    Parameters
    ----------
    roi
        ``(y, x)`` or ``(slice, y, x)`` of even tissue, turned so that streaks run along y: of each
        row, the largest step between neighbours is one extreme value.

    Returns
    -------
    float, float
        Location and scale, in the image's unit: the stronger the streaks, the larger the location.

    Raises
    ------
    ValueError
        Fewer than 20 rows or 8 columns.

    References
    ----------
    K. Imai et al., Br J Radiol 82, 580 (2009).
    """
    x = as_array(roi).astype(np.float64)
    if x.ndim not in (2, 3) or x.shape[-1] < 8 or x[..., 0].size < 20:
        raise ValueError(f"streaks need 20 rows of 8 columns or more, got {x.shape}")
    largest = np.abs(np.diff(x, axis=-1)).max(-1).ravel()
    location, scale = gumbel_r.fit(largest)
    return float(location), float(scale)


def _image(image: Array) -> Values:
    x = as_array(image).astype(np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"expected an image (y, x) without NaN, got {x.shape}")
    return np.asarray(x)
