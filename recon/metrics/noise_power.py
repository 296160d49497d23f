"""Noise power spectra of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .reference import Array, as_array

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisePower:
    """A noise power spectrum, in the image's unit squared times mm^2.

    Parameters
    ----------
    spectrum
        ``(fy, fx)``, frequency 0 in the middle.
    frequencies
        Of its axes in cycles per mm, ``(fy,)`` and ``(fx,)``.
    radial_frequencies, radial
        Its mean over all directions, ``(frequency,)``.
    rois
        How many regions it is the mean of.
    """

    spectrum: Values
    frequencies: tuple[Values, Values]
    radial_frequencies: Values
    radial: Values
    rois: int

    @property
    def variance(self) -> float:
        """Of a pixel: the integral of the spectrum."""
        cell = np.prod([f[1] - f[0] for f in self.frequencies])
        return float(self.spectrum.sum() * cell)

    @property
    def mean_frequency(self) -> float:
        """In cycles per mm, weighted by the radial spectrum: coarse noise has a low one."""
        return float((self.radial_frequencies * self.radial).sum() / self.radial.sum())

    @property
    def peak_frequency(self) -> float:
        """In cycles per mm, of the largest radial value."""
        return float(self.radial_frequencies[np.argmax(self.radial)])


def noise_power_spectrum(
    rois: Array, spacing: tuple[float, float] | float, *, repeats: bool = False
) -> NoisePower:
    """Noise power spectrum of square regions.

    Parameters
    ----------
    rois
        Regions ``(roi, y, x)``, see `square_rois`; or repeated scans of one region.
    spacing
        Of the pixels in mm, ``(y, x)`` or one number.
    repeats
        The regions are one place in repeated scans: their mean is taken off, which frees the noise
        of all structure. Otherwise a plane bent by second order is taken off each.

    Raises
    ------
    ValueError
        Shapes that do not fit; fewer than two repeats, regions below eight pixels, NaN.

    References
    ----------
    ICRU Report 87 (2012); AAPM TG-233 (2019).
    """
    stack = as_array(rois).astype(np.float64)
    if stack.ndim != 3 or min(stack.shape[1:]) < 8 or not np.isfinite(stack).all():
        raise ValueError(f"expected regions (roi, y, x) of 8 pixels or more, got {stack.shape}")
    steps = (spacing, spacing) if isinstance(spacing, int | float) else tuple(spacing)
    if len(steps) != 2 or not min(steps) > 0:
        raise ValueError(f"spacing must be positive mm (y, x), got {spacing}")
    count, *shape = stack.shape
    if repeats:
        if count < 2:
            raise ValueError("repeats=True needs two scans or more")
        noise = (stack - stack.mean(0)) * np.sqrt(count / (count - 1))
    else:
        noise = _without_trend(stack)
    scale = steps[0] * steps[1] / (shape[0] * shape[1])
    power = scale * (np.abs(np.fft.fftshift(np.fft.fft2(noise), axes=(1, 2))) ** 2).mean(0)
    fy, fx = (
        np.fft.fftshift(np.fft.fftfreq(n, step)) for n, step in zip(shape, steps, strict=True)
    )
    f = np.hypot(fy[:, None], fx[None, :])
    width = max(fy[1] - fy[0], fx[1] - fx[0])
    number = np.rint(f / width).astype(int)
    hits = np.bincount(number.ravel())
    inside = np.arange(len(hits)) * width <= min(-fy[0], -fx[0]) + 1e-9
    mean = np.bincount(number.ravel(), power.ravel()) / np.maximum(hits, 1)
    place = np.bincount(number.ravel(), f.ravel()) / np.maximum(hits, 1)
    return NoisePower(power, (fy, fx), place[inside], mean[inside], count)


def square_rois(
    image: Array, size: int, *, radius: tuple[float, float] | None = None, overlap: float = 0.5
) -> Values:
    """Cut squares out of images, all over them or from a ring about the middle.

    Parameters
    ----------
    image
        ``(y, x)`` or ``(slice, y, x)``.
    size
        Of a square in pixels.
    radius
        Only squares that lie wholly between these distances from the middle, in pixels.
    overlap
        Of neighbours, as a part of their size.

    Returns
    -------
    ndarray
        ``(roi, y, x)``.

    Raises
    ------
    ValueError
        No square fits.
    """
    stack = as_array(image).astype(np.float64)
    stack = stack[None] if stack.ndim == 2 else stack
    if stack.ndim != 3 or not 0 <= overlap < 1:
        raise ValueError(f"expected ([slice,] y, x) and an overlap in [0, 1), got {stack.shape}")
    step = max(int(size * (1 - overlap)), 1)
    middle = [(n - 1) / 2 for n in stack.shape[1:]]
    found = []
    for top in range(0, stack.shape[1] - size + 1, step):
        for left in range(0, stack.shape[2] - size + 1, step):
            if radius is not None:
                away = [
                    np.array([start, start + size - 1]) - c
                    for start, c in zip((top, left), middle, strict=True)
                ]
                farthest = math.hypot(*(np.abs(a).max() for a in away))
                nearest = math.hypot(*(0.0 if a[0] < 0 < a[1] else np.abs(a).min() for a in away))
                if nearest < radius[0] or farthest > radius[1]:
                    continue
            found.append(stack[:, top : top + size, left : left + size])
    if not found:
        raise ValueError(f"no square of {size} pixels fits {stack.shape[1:]} and radius {radius}")
    return np.concatenate(found)


def _without_trend(stack: Values) -> Values:
    """Take off each region's least-squares fit of 1, y, x, y^2, x^2, xy."""
    y, x = (np.linspace(-1, 1, n) for n in stack.shape[1:])
    y, x = (grid.ravel() for grid in np.meshgrid(y, x, indexing="ij"))
    terms = np.linalg.qr(np.stack([np.ones_like(y), y, x, y**2, x**2, x * y], axis=1))[0]
    flat = stack.reshape(len(stack), -1)
    # Six degrees of freedom went with the trend.
    scale = np.sqrt(flat.shape[1] / (flat.shape[1] - 6))
    return np.asarray((flat - (flat @ terms) @ terms.T) * scale).reshape(stack.shape)
