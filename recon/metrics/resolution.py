"""Resolution: modulation transfer from a wire, an edge or the rim of a disc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0, j1

from .reference import Array, as_array

Values = NDArray[np.float64]

_BINS = 8  # of the edge's profile in a pixel
_POINTS = 129  # frequencies up to the pixels' Nyquist frequency


@dataclass(frozen=True, eq=False)
class TransferFunction:
    """How much of each spatial frequency an image keeps.

    Parameters
    ----------
    frequencies
        In cycles per mm, from 0, growing, ``(frequency,)``.
    values
        1 at frequency 0.
    contrast
        Of the edge, or the sum of the wire's image, in the image's unit.
    """

    frequencies: Values
    values: Values
    contrast: float

    def frequency_at(self, level: float) -> float:
        """First frequency in cycles per mm at which the values fall to a level, such as 0.5.

        Raises
        ------
        ValueError
            They stay above it.
        """
        below = np.flatnonzero(self.values <= level)
        if not below.size or below[0] == 0:
            raise ValueError(
                f"the transfer function stays above {level:g} up to "
                f"{self.frequencies[-1]:.3g} cycles/mm"
            )
        k = below[0]
        f, v = self.frequencies[k - 1 : k + 1], self.values[k - 1 : k + 1]
        return float(f[0] + (v[0] - level) / (v[0] - v[1]) * (f[1] - f[0]))


def mtf_wire(
    image: Array, spacing: float, *, diameter: float = 0.0, radius: float | None = None
) -> TransferFunction:
    """Modulation transfer function from a thin wire (or bead) across the slice.

    The mean over all directions of the Fourier transform of the wire's image, about its centroid.

    Parameters
    ----------
    image
        ``(y, x)`` with one wire in it, or a part of an image; several, ``(repeat, y, x)``, are
        averaged.
    spacing
        Of the pixels in mm.
    diameter
        Of the wire in mm, which is divided out; 0 for one that is thin.
    radius
        Of the disc about the wire that holds its image, in mm; the ring around it, half as wide, is
        background. Default: what fits the image.

    Raises
    ------
    ValueError
        No wire that stands out, one at the image's edge.

    References
    ----------
    E. L. Nickoloff, R. Riley, Med Phys 12, 437 (1985); ICRU Report 87 (2012).
    """
    plane = _plane(image)
    top = np.unravel_index(np.argmax(np.abs(plane - np.median(plane))), plane.shape)
    fits = min(*top, *(n - 1 - t for n, t in zip(plane.shape, top, strict=True))) * spacing / 1.5
    radius = fits if radius is None else radius
    if radius > fits + 1e-9 or radius < 3 * spacing:
        raise ValueError(
            f"the wire at pixel {tuple(map(int, top))} of {plane.shape} leaves room for a radius "
            f"of {fits:.3g} mm, asked for {radius:.3g} (3 pixels, {3 * spacing:.3g} mm, at least)"
        )
    center = np.array(top, dtype=np.float64)
    y, x = np.indices(plane.shape)
    for _ in range(3):  # the disc moves to the centroid, and the centroid with it
        r = np.hypot(y - center[0], x - center[1]) * spacing
        ring = (r > radius) & (r <= 1.5 * radius)
        spread = plane - plane[ring].mean()
        core = np.where(r <= max(radius / 3, 2.5 * spacing), spread, 0)
        total = core.sum()
        if abs(total) < 5 * plane[ring].std() * np.sqrt((core != 0).sum()) or total == 0:
            raise ValueError("no wire stands out of the background")
        center = np.array([(core * y).sum(), (core * x).sum()]) / total
    inside = r <= radius
    frequencies = np.linspace(0, 0.5 / spacing, _POINTS)
    waves = j0(2 * np.pi * frequencies[:, None] * r[inside])
    transfer = waves @ spread[inside] / spread[inside].sum()
    size = np.pi * frequencies * diameter
    if diameter:
        transfer = transfer / np.where(size > 0, 2 * j1(size) / np.maximum(size, 1e-12), 1)
    return TransferFunction(frequencies, transfer, float(spread[inside].sum()))


def mtf_edge(image: Array, spacing: float) -> TransferFunction:
    """Modulation transfer function across a straight edge, a few degrees off the pixels' axes.

    Parameters
    ----------
    image
        ``(y, x)``: a part of an image that the edge runs through from side to side; several,
        ``(repeat, y, x)``, are averaged.
    spacing
        Of the pixels in mm.

    Raises
    ------
    ValueError
        No edge.

    References
    ----------
    ISO 12233:2017; E. Samei, M. J. Flynn, D. A. Reimann, Med Phys 25, 102 (1998).
    """
    plane = _plane(image)
    upright = np.abs(np.diff(plane, axis=1)).sum() >= np.abs(np.diff(plane, axis=0)).sum()
    rows = plane if upright else plane.T
    steps = np.diff(rows, axis=1)
    sign = np.sign(steps.sum())
    weight = np.maximum(sign * steps, 0) ** 2  # squares: noise weighs little
    if not sign or weight.sum(1).min() <= 0:
        raise ValueError("no edge crosses the rows of the image")
    place = (weight * (np.arange(steps.shape[1]) + 0.5)).sum(1) / weight.sum(1)
    line = np.arange(len(rows))
    slope, start = np.polyfit(line, place, 1)
    distance = np.arange(rows.shape[1]) - (start + slope * line)[:, None]
    distance = distance * np.cos(np.arctan(slope)) * spacing
    return _from_edge(distance.ravel(), sign * rows.ravel(), spacing)


def ttf_disc(
    image: Array, spacing: float, center: tuple[float, float], radius: float, *, reach: float = 0.0
) -> TransferFunction:
    """Task transfer function across the rim of a disc: resolution at the disc's contrast and dose.

    Parameters
    ----------
    image
        ``(y, x)``; several, ``(repeat, y, x)``, are averaged.
    spacing
        Of the pixels in mm.
    center
        Of the disc in pixels, ``(y, x)``; it is refined.
    radius
        Of the disc in mm.
    reach
        How far in mm the rim is looked at to both sides. Default: nine tenths of the radius, or
        what the image has room for.

    Raises
    ------
    ValueError
        A disc that is not inside the image, no contrast.

    References
    ----------
    S. Richard et al., Med Phys 39, 4115 (2012); AAPM TG-233 (2019).
    """
    plane = _plane(image)
    y, x = np.indices(plane.shape)
    place = np.array(center, dtype=np.float64)
    room = (min(*place, *(n - 1 - c for n, c in zip(plane.shape, place, strict=True)))) * spacing
    reach = reach or min(0.9 * radius, room - radius)
    if not 3 * spacing <= reach <= radius or radius + reach > room + 1e-9:
        raise ValueError(
            f"a disc of {radius:g} mm, looked at over {reach:g} mm, does not fit an image of "
            f"{plane.shape} pixels of {spacing:g} mm about {tuple(center)}"
        )
    for _ in range(4):
        r = np.hypot(y - place[0], x - place[1]) * spacing
        outer = plane[(r > radius + 0.4 * reach) & (r <= radius + reach)].mean()
        inner = plane[r < radius - 0.4 * reach].mean()
        contrast = inner - outer
        if not abs(contrast) > 0:
            raise ValueError("the disc has no contrast")
        share = np.where(r <= radius + 0.5 * reach, (plane - outer) / contrast, 0)
        place = np.array([(share * y).sum(), (share * x).sum()]) / share.sum()
    r = np.hypot(y - place[0], x - place[1]) * spacing
    near = np.abs(r - radius) <= reach
    return _from_edge(radius - r[near], np.sign(contrast) * plane[near], spacing)


def _from_edge(distance: Values, values: Values, spacing: float) -> TransferFunction:
    """Transfer across an edge that rises with the distance in mm."""
    width = spacing / _BINS
    reach = float(min(distance.max(), -distance.min()))
    if reach < 3 * spacing:
        raise ValueError(f"the edge has {reach:.3g} mm beside it, expected three pixels or more")
    bins = int(reach / width)
    number = np.floor(distance / width).astype(int) + bins
    kept = (number >= 0) & (number < 2 * bins)
    count = np.bincount(number[kept], minlength=2 * bins)
    total = np.bincount(number[kept], values[kept], minlength=2 * bins)
    filled = np.flatnonzero(count)
    profile = np.interp(np.arange(2 * bins), filled, total[filled] / count[filled])
    spread = np.diff(profile) / width
    position = (np.arange(2 * bins - 1) - bins + 1) * width
    window = np.cos(np.pi / 2 * position / (bins * width)) ** 2  # noise far from the edge
    spread = spread * window
    contrast = float(spread.sum() * width)
    if not contrast > 0:
        raise ValueError("the edge has no contrast")
    frequencies = np.linspace(0, 0.5 / spacing, _POINTS)
    waves = np.exp(-2j * np.pi * frequencies[:, None] * position)
    transfer = np.abs(waves @ spread) * width / contrast
    # Means over bins, and differences of these, are blurred by a bin each.
    return TransferFunction(frequencies, transfer / np.sinc(frequencies * width) ** 2, contrast)


def _plane(image: Array) -> Values:
    plane = as_array(image)
    if plane.ndim == 3:
        plane = plane.mean(0)
    if plane.ndim != 2 or np.iscomplexobj(plane) or not np.isfinite(plane).all():
        raise ValueError(f"expected a real image ([repeat,] y, x) without NaN, got {plane.shape}")
    return np.asarray(plane, dtype=np.float64)
