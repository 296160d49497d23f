"""What non-Cartesian samples trace, and how far below Nyquist's rate they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Readouts:
    """The readouts of a trajectory, told from the samples themselves."""

    kind: str
    """Such as "2D radial, 402 spokes x 512"."""
    acceleration: float | None
    """Nyquist's number of spokes or turns over those measured; None for other trajectories."""


def readouts_of(
    trajectory: Tensor, image_shape: tuple[int, ...], length: int | None = None
) -> Readouts:
    """Name the readouts of a trajectory: straight ones through the centre are spokes.

    Nyquist's spokes lie no further apart than 1 / field of view at their ends: ``pi/2 N`` full
    spokes of N pixels, ``pi/2 N^2`` in 3D, twice as many from the centre out; Nyquist's spirals
    have ``N/2`` turns in all, their mean pitch counts. N is the longest axis of the image as far as
    the samples reach.

    Parameters
    ----------
    trajectory
        ``(*batch, sample, ndim)`` in cycles per pixel, the first of the batch counts.
    image_shape
        ``([z,] y, x)``.
    length
        Samples a readout, if they are all alike.
    """
    k = trajectory.reshape(-1, *trajectory.shape[-2:])[0].double()
    ndim = k.shape[-1]
    if not length or k.shape[0] % length:
        return Readouts(f"{ndim}D non-Cartesian", None)
    lines = k.reshape(-1, length, ndim)
    count, radius = len(lines), lines.norm(dim=-1)
    ends = lines[:, -1] - lines[:, 0]
    paths = lines.diff(dim=1).norm(dim=-1).sum(-1)
    straight = bool((ends.norm(dim=-1) > 0.99 * paths).all())
    through_centre = bool((radius.amin(-1) < 2 / length).all())
    pixels = 2 * float(radius.max()) * max(image_shape)
    if straight and through_centre:
        inner, outer = radius[:, [0, -1]].aminmax(dim=1)
        from_middle = bool((inner < 0.3 * outer).all())
        nyquist = math.pi / (1 if from_middle else 2) * pixels ** (ndim - 1)
        return Readouts(f"{ndim}D radial, {count} spokes x {length}", nyquist / count)
    if through_centre:
        kind = f"{ndim}D spiral, {count} interleaves x {length}"
        if ndim == 3:
            return Readouts(kind, None)
        return Readouts(kind, _pitch(lines) * max(image_shape) / count)
    return Readouts(f"{ndim}D non-Cartesian, {count} readouts x {length}", None)


def _pitch(spirals: Tensor) -> float:
    """Mean growth of the radius in a turn of spirals ``(interleave, sample, 2)``."""
    radius = spirals.norm(dim=-1)
    outer = (radius > radius.max() / 4)[:, :-1]  # the middle has no direction
    angle = spirals[..., 0].atan2(spirals[..., 1]).diff(dim=1)
    angle = ((angle + math.pi) % (2 * math.pi) - math.pi).abs()
    turns = float(angle[outer].sum()) / (2 * math.pi)
    return float(radius.diff(dim=1)[outer].abs().sum()) / turns if turns else math.inf
