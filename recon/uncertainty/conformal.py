"""Intervals that hold what they promise, calibrated on images whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..arrays import as_tensor, require_finite
from ..image import Image
from .ensembles import pooled

UNITS = 3.0  # ratio of norms beyond which an image and its truth are not in one unit
FLOOR = 0.05  # least deviation, in units of the image's root mean square one


@dataclass(frozen=True)
class Calibration:
    """Half widths of intervals in units of an image's own standard deviation, `pooled`.

    Without unit: it serves images of any scale, as MR's are.

    Parameters
    ----------
    level
        Part of the pixels that the intervals are to hold.
    factor
        Half width over the standard deviation.
    """

    level: float
    factor: float

    def interval(self, image: Image | Tensor, deviation: Tensor | None = None) -> Intervals:
        """Lower and upper bound of the magnitude in each pixel (of the value, where it is real).

        Parameters
        ----------
        image
            An `Image` with `deviation`, or its values ``(*batch, [z,] y, x)``.
        deviation
            Of values: shaped alike.

        Raises
        ------
        ValueError
            An image without a standard deviation, shapes that differ.
        """
        value, spread = _value_and_deviation(image, deviation)
        half = self.factor * spread
        lower = value - half
        complex_image = image.data.is_complex() if isinstance(image, Image) else image.is_complex()
        return (lower.clamp_min(0) if complex_image else lower), value + half


Intervals = tuple[Tensor, Tensor]


def calibrate(
    images: Sequence[Image | tuple[Tensor, Tensor]],
    targets: Sequence[Image | Tensor | ArrayLike],
    *,
    level: float = 0.9,
    masks: Sequence[Tensor | ArrayLike] | None = None,
) -> Calibration:
    """Find the factor by which standard deviations become intervals of a stated coverage.

    Split conformal prediction with the error over the standard deviation as the score: of pixels
    from images like those given, at least the part `level` will lie in their intervals, whatever
    the method and its errors. Pixels of one image are not independent: give images of several
    subjects, none of which is judged later.

    Parameters
    ----------
    images
        Held-out images with their standard deviations: `Image`, or pairs (value, deviation).
    targets
        True images, of the same shapes and in the same unit; of complex ones the magnitude counts.
    level
        Coverage, between 0 and 1.
    masks
        Bool, of the same shapes: pixels that count. Default: all.

    Raises
    ------
    ValueError
        No image, lengths or shapes that differ, values that are not finite, a target in another
        unit, a level out of range or beyond what so few pixels can tell, images without a standard
        deviation.

    References
    ----------
    V. Vovk et al., Algorithmic Learning in a Random World (2005); A. N. Angelopoulos et al.,
    Image-to-image regression with distribution-free uncertainty quantification, ICML (2022).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if not images or len(images) != len(targets) or (masks and len(masks) != len(images)):
        raise ValueError(
            f"calibrate needs one target (and mask) an image, got {len(images)} images, "
            f"{len(targets)} targets"
        )
    errors, deviations = [], []
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        pair = (image, None) if isinstance(image, Image) else image
        value, spread = _value_and_deviation(*pair)
        truth = _magnitude(target).to(value)
        if truth.shape != value.shape:
            raise ValueError(
                f"target {index} has shape {tuple(truth.shape)}, its image {tuple(value.shape)}"
            )
        inside = _inside(None if masks is None else masks[index], value)
        error = (truth - value)[inside]
        require_finite(f"the error of image {index}", error)
        _require_one_unit(index, value[inside], truth[inside])
        errors.append(error.abs())
        deviations.append(spread[inside])
    error, deviation = torch.cat(errors).double(), torch.cat(deviations).double()
    if not bool((deviation > 0).all()):
        raise ValueError("an image's standard deviation is zero everywhere: it has one sample only")
    scores = error / deviation
    rank = math.ceil((len(scores) + 1) * level)
    if rank > len(scores):
        raise ValueError(f"{len(scores)} pixels cannot calibrate intervals of {level:.0%}")
    return Calibration(level, float(scores.kthvalue(rank).values))


def coverage(
    target: Image | Tensor | ArrayLike,
    interval: Intervals,
    mask: Tensor | ArrayLike | None = None,
) -> dict[str, float]:
    """Part of the pixels whose interval holds the target, and the intervals' mean width.

    Parameters
    ----------
    target
        True image; of a complex one the magnitude counts.
    interval
        Lower and upper bound, shaped alike, from `Calibration.interval`.
    mask
        Bool: pixels that count; default: all.

    Returns
    -------
    dict
        ``coverage`` (0 to 1) and ``width`` in the target's unit.

    Raises
    ------
    ValueError
        Shapes that differ.
    """
    lower, upper = interval
    truth = _magnitude(target).to(lower.device)
    if lower.shape != truth.shape or upper.shape != truth.shape:
        raise ValueError(f"intervals are {tuple(lower.shape)}, the target {tuple(truth.shape)}")
    inside = _inside(mask, truth)
    if not bool(inside.any()):
        raise ValueError("the mask holds no pixel: there is no coverage to measure")
    held = (truth >= lower) & (truth <= upper)
    return {
        "coverage": float(held[inside].double().mean()),
        "width": float((upper - lower)[inside].double().mean()),
    }


def _magnitude(target: Image | Tensor | ArrayLike) -> Tensor:
    data = target.data if isinstance(target, Image) else as_tensor(target)
    return data.abs() if data.is_complex() else data


def _require_one_unit(index: int, value: Tensor, truth: Tensor) -> None:
    """Raise where image and target are of another size: raw data's units are no truth's."""
    sizes = [float(torch.linalg.vector_norm(v.double())) for v in (value, truth)]
    if max(sizes) > UNITS * min(sizes):
        raise ValueError(
            f"target {index} is {sizes[1] / max(sizes[0], 1e-300):.3g} times as large as its image:"
            " bring both to one unit, such as by reconstructing the fully sampled scan alike"
        )


def _inside(mask: Tensor | ArrayLike | None, like: Tensor) -> Tensor:
    """The mask as booleans of the shape of an image; all of it without one."""
    if mask is None:
        return torch.ones_like(like, dtype=torch.bool)
    found = as_tensor(mask)
    if found.dtype != torch.bool or found.shape != like.shape:
        raise ValueError(
            f"a mask must be bool of shape {tuple(like.shape)}, got {found.dtype} of "
            f"{tuple(found.shape)}"
        )
    return found.to(like.device)


def _value_and_deviation(image: Image | Tensor, deviation: Tensor | None) -> tuple[Tensor, Tensor]:
    """Magnitude (the value, where it is real), and the pooled standard deviation with its floor."""
    if isinstance(image, Image):
        if image.deviation is None:
            raise ValueError(
                f"{image} has no standard deviation: reconstruct it with samples=8, or an ensemble"
            )
        data, deviation = image.data, image.deviation
    else:
        data = image
    if deviation is None or deviation.shape != data.shape:
        found = None if deviation is None else tuple(deviation.shape)
        raise ValueError(f"values of shape {tuple(data.shape)} have deviations of shape {found}")
    spread = pooled(deviation)
    floor = FLOOR * float(spread.double().square().mean().sqrt())
    return (data.abs() if data.is_complex() else data), spread.clamp_min(floor)
