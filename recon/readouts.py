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
    have ``N/2`` turns in all. N is the longest axis of the image as far as the samples reach.

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
        halves = 1 if bool((radius[:, 0] > 0.3 * radius[:, -1]).all()) else 2
        nyquist = math.pi / halves * pixels ** (ndim - 1)
        return Readouts(f"{ndim}D radial, {count} spokes x {length}", nyquist / count)
    if through_centre:
        kind = f"{ndim}D spiral, {count} interleaves x {length}"
        if ndim == 3:
            return Readouts(kind, None)
        step = lines[..., 0].atan2(lines[..., 1]).diff(dim=1)
        step = (step + math.pi) % (2 * math.pi) - math.pi
        turns = float(step.sum(1).abs().sum()) / (2 * math.pi)
        return Readouts(kind, pixels / 2 / turns)
    return Readouts(f"{ndim}D non-Cartesian, {count} readouts x {length}", None)
