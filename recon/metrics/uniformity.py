"""Hounsfield units of known materials, contrast to noise, uniformity and cupping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .reference import Array, as_array

Values = NDArray[np.float64]

_OUTSIDE = -500.0  # HU: what is less is air around the phantom
_ROUND = 0.95  # of a phantom that lies in the disc of its size at least
_ROI = 0.1  # radius of a region over the phantom's
_RIM = 0.75  # distance of the outer regions from the middle over the phantom's radius


def cnr(image: Array, roi: Array, background: Array) -> float:
    """Contrast-to-noise ratio: difference of the means over the background's deviation.

    Parameters
    ----------
    image
        Any shape.
    roi, background
        Bool, shaped as the image.

    Raises
    ------
    ValueError
        Shapes that differ, an empty region, a background without noise.
    """
    x = as_array(image)
    inside, outside = (
        _region(name, m, x) for name, m in (("roi", roi), ("background", background))
    )
    noise = float(outside.std(ddof=1)) if outside.size > 1 else 0.0
    if not noise > 0:
        raise ValueError("the background has no noise: the contrast-to-noise ratio is infinite")
    return float(abs(inside.mean() - outside.mean()) / noise)


def hounsfield_errors(
    image: Array, regions: Mapping[str, Array], expected: Mapping[str, float]
) -> dict[str, float]:
    """Measured less expected Hounsfield units of each material.

    Parameters
    ----------
    image
        In HU, any shape.
    regions
        Bool masks by material.
    expected
        HU by material, at the scan's tube voltage.

    Raises
    ------
    ValueError
        Materials without a region, empty regions.
    """
    if missing := sorted(set(expected) - set(regions)):
        raise ValueError(f"no region for {', '.join(missing)}")
    x = as_array(image)
    return {
        name: float(_region(name, regions[name], x).mean()) - value
        for name, value in expected.items()
    }


@dataclass(frozen=True)
class WaterPhantom:
    """Figures of a water phantom's image, in HU and mm.

    Parameters
    ----------
    water
        Mean of the region in the middle.
    noise
        Standard deviation there.
    uniformity
        Largest difference of the four outer regions' means from the middle's.
    cupping
        Mean of the outer regions less the middle: above zero where the middle is too dark.
    radius
        Of the phantom.
    center
        Of the phantom in pixels, ``(y, x)``.
    """

    water: float
    noise: float
    uniformity: float
    cupping: float
    radius: float
    center: tuple[float, float]

    def as_dict(self) -> dict[str, object]:
        """The figures by name."""
        return asdict(self)


def water_phantom(image: Array, spacing: float) -> WaterPhantom:
    """Find a round water phantom and measure it in its middle and at 12, 3, 6 and 9 o'clock.

    Parameters
    ----------
    image
        In HU, ``(y, x)``; of a stack ``(slice, y, x)``, regions reach through all slices.
    spacing
        Of the pixels in mm.

    Raises
    ------
    ValueError
        No phantom in air, one that is cut off.

    References
    ----------
    IEC 61223-3-5:2019; AAPM TG-233 (2019).
    """
    stack, center, radius = find_phantom(image, spacing)
    y, x = np.indices(stack.shape[1:])
    size = _ROI * radius

    def region(dy: float, dx: float) -> Values:
        away = np.hypot(y - center[0] - dy / spacing, x - center[1] - dx / spacing) * spacing
        return np.asarray(stack[:, away <= size])

    middle = region(0, 0)
    out = _RIM * radius
    rim = np.array([region(*place).mean() for place in ((-out, 0), (0, out), (out, 0), (0, -out))])
    away = rim - middle.mean()
    return WaterPhantom(
        water=float(middle.mean()),
        noise=float(middle.std(ddof=1)),
        uniformity=float(np.abs(away).max()),
        cupping=float(away.mean()),
        radius=radius,
        center=center,
    )


def radial_profile(image: Array, spacing: float, *, bins: int = 32) -> tuple[Values, Values]:
    """Mean over rings about the middle of a round phantom, from it to 0.95 of the radius.

    Returns
    -------
    ndarray, ndarray
        Distance in mm and mean, ``(bin,)``. Parameters and errors are those of `water_phantom`.
    """
    stack, center, radius = find_phantom(image, spacing)
    y, x = np.indices(stack.shape[1:])
    r = np.hypot(y - center[0], x - center[1]) * spacing
    number = np.floor(r / (0.95 * radius) * bins).astype(int)
    inside = number < bins
    count = np.bincount(number[inside], minlength=bins)
    total = np.bincount(number[inside], stack.mean(0)[inside], minlength=bins)
    place = np.bincount(number[inside], r[inside], minlength=bins)
    return place / np.maximum(count, 1), total / np.maximum(count, 1)


def find_phantom(image: Array, spacing: float) -> tuple[Values, tuple[float, float], float]:
    """Image ``(slice, y, x)``, and middle (pixels) and radius (mm) of the round phantom in it."""
    stack = as_array(image).astype(np.float64)
    stack = stack[None] if stack.ndim == 2 else stack
    if stack.ndim != 3 or not np.isfinite(stack).all():
        raise ValueError(f"expected HU ([slice,] y, x) without NaN, got {stack.shape}")
    inside = _largest(stack.mean(0) > _OUTSIDE)
    edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    if not inside.any() or edge.mean() > 0.05:
        raise ValueError(
            "no water phantom in air: expected HU with a round object above -500 that lies wholly "
            "inside the image"
        )
    y, x = np.nonzero(inside)
    center = float(y.mean()), float(x.mean())
    radius = float(np.sqrt(inside.sum() / np.pi))
    held = float((np.hypot(y - center[0], x - center[1]) <= radius + 1).mean())
    if held < _ROUND:
        raise ValueError(
            f"no round phantom: only {held:.0%} of what exceeds -500 HU lies in a disc of its size"
        )
    return stack, center, radius * spacing


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece without its holes: no table, no noise of corners that no ray saw."""
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(largest))


def _region(name: str, mask: Array, image: Values) -> Values:
    inside = as_array(mask).astype(bool)
    if inside.shape != image.shape:
        raise ValueError(f"{name} is {inside.shape}, the image {image.shape}: must agree")
    if not inside.any():
        raise ValueError(f"{name} is empty")
    return np.asarray(image[inside], dtype=np.float64)
