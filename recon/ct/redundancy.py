"""How often each ray was measured: the weights that make a scan cover every line once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...kernels.ct.geometry import CircularBeam, DivergentBeam
from ...kernels.warn import warn

Array = NDArray[np.float64]

# Beyond this share of the columns, an offset detector is taken as meant to widen the field of
# view (half-fan): its shares change over all columns that are seen from both sides.
OFFSET_SHARE = 0.02


def view_weights(geometry: CircularBeam) -> Callable[[slice], Array]:
    """Weights in radians: the angle that each view stands for, times redundancy.

    Along any line through the object the weights add up to what the inversion formula integrates
    over: pi for parallel beams, and for fans the weights of a ray and its opposite add up to the
    angular step.

    Parallel views may lie at any angles: each stands for half the gaps to its neighbours, modulo
    180°. Fans are weighted as a full scan, or as a short scan of 180° plus the fan angle (D. L.
    Parker, Med. Phys. 9 (1982) 254). A full turn with an offset detector is feathered across the
    central columns (G. Wang, Med. Phys. 29 (2002) 1634).

    Returns
    -------
    function
        Of a slice of the views: their weights, ``(view, column)``.

    Raises
    ------
    ValueError
        A fan scan that covers less than 180° plus the fan angle, or less than a full turn with a
        detector shifted to one side.

    Warns
    -----
    UserWarning
        Parallel views that cover less than 180°.
    """
    if not isinstance(geometry, DivergentBeam):
        position = geometry.column_positions
        full = is_offset(geometry) and turns_fully(geometry)
        covered, needed = angular_range(geometry)
        if covered < needed:
            warn(
                f"the views cover {np.rad2deg(covered):.1f}°, a parallel beam needs 180°: expect "
                "streaks and too low values"
            )
        steps = angular_steps(geometry.angles, 2 * np.pi if full else np.pi)
        # Over a full turn each line is met twice: shares of a pair add up to one, or to a half
        # of twice the steps where no pair is needed.
        share = _feather(position, taper(geometry)) if full else np.ones(len(position))
        return lambda views: steps[views, None] * share
    angles, gamma = geometry.angles, geometry.fan_angles
    if _is_full_turn(angles):
        share = np.full(len(gamma), 0.5)
        if is_offset(geometry):
            share = _feather(gamma, taper(geometry))
        steps = angular_steps(angles, 2 * np.pi)
        return lambda views: steps[views, None] * share
    if is_wide(geometry):
        raise ValueError(
            f"the views cover {np.rad2deg(_span(angles)):.1f}°; a detector shifted to one side "
            "needs a full turn: the rays of its wide side are not measured from the other"
        )
    covered, needed = angular_range(geometry)
    if covered < needed:
        raise ValueError(
            f"the views cover {np.rad2deg(covered):.1f}°; a fan beam needs 180° plus the fan "
            f"angle, {np.rad2deg(needed):.1f}°, or a full turn"
        )
    angles = _from_the_gap(angles)
    steps, span = _open_steps(angles), float(np.ptp(angles))
    return lambda views: steps[views, None] * parker(angles[views], gamma, span)


def angular_range(geometry: CircularBeam) -> tuple[float, float]:
    """Radians that the views cover, and those that analytic reconstruction needs.

    Parallel beams need 180°, at any multiples of it; fans a full turn, or 180° plus the fan angle.
    """
    angles = geometry.angles
    if not isinstance(geometry, DivergentBeam):
        return float(angular_steps(angles, np.pi).sum()), 0.98 * np.pi
    if _is_full_turn(angles):
        return _span(angles), 0.0
    angles = _from_the_gap(angles)
    needed = np.pi + 2 * float(np.abs(geometry.fan_angles).max())
    return _span(angles), needed - 2.5 * _span(angles) / len(angles)


def _from_the_gap(angles: Array) -> Array:
    """The angles in [0, 2 pi), from the first behind the largest gap: a short scan in one piece."""
    folded = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(folded, append=folded[0] + 2 * np.pi)
    first = folded[(int(np.argmax(gaps)) + 1) % len(folded)]
    return np.asarray(np.mod(angles - first + 1e-9, 2 * np.pi) - 1e-9)


def angular_steps(angles: Array, period: float) -> Array:
    """Angle that each view stands for: half the gaps to its neighbours modulo `period`.

    A gap of more than four median steps and 5° was not scanned: its sides count as a median step.
    """
    folded = np.mod(angles, period)
    order = np.argsort(folded, kind="stable")
    gaps = np.diff(folded[order], append=folded[order[0]] + period)
    typical = np.median(gaps[gaps > 1e-9]) if np.any(gaps > 1e-9) else period
    gaps = np.where(gaps > max(4 * typical, np.deg2rad(5)), typical, gaps)
    steps = np.empty_like(folded)
    steps[order] = (gaps + np.roll(gaps, 1)) / 2
    return np.asarray(steps)


def parker(angle: Array, gamma: Array, span: float) -> Array:
    """Short-scan weights ``(view, column)``: a ray and its opposite add up to one.

    `angle` counts from the start of a scan over `span` radians; `gamma` is the fan angle.
    """
    beta, g = angle[:, None], gamma[None, :]
    half = max((span - np.pi) / 2, float(np.abs(gamma).max()) + 1e-9)
    rise = np.sin(np.pi / 4 * beta / (half + g)) ** 2
    fall = np.sin(np.pi / 4 * np.clip(np.pi + 2 * half - beta, 0, None) / (half - g)) ** 2
    weight = np.where(beta < 2 * (half + g), rise, 1.0)
    return np.asarray(np.where(beta > np.pi + 2 * g, fall, weight))


def _open_steps(angles: Array) -> Array:
    order = np.argsort(angles, kind="stable")
    steps = np.empty_like(angles)
    steps[order] = np.gradient(angles[order]) if len(angles) > 1 else np.pi
    return steps


def _span(angles: Array) -> float:
    return float(np.ptp(angles)) * len(angles) / max(len(angles) - 1, 1)


def _is_full_turn(angles: Array) -> bool:
    """Whether the views go round, and none are missing on the way."""
    round_ = _span(angles) > 2 * np.pi - 2.5 * _span(angles) / len(angles)
    return round_ and float(angular_steps(angles, 2 * np.pi).sum()) > 1.999 * np.pi


def turns_fully(geometry: CircularBeam) -> bool:
    """Whether the views go round: an offset detector then misses nothing on its short side."""
    if isinstance(geometry, DivergentBeam):
        return _is_full_turn(geometry.angles)
    return _span(geometry.angles) > 1.9 * np.pi


def is_offset(geometry: CircularBeam) -> bool:
    """Whether one side of the detector sees rays that the other misses; not by a quarter shift."""
    return abs(geometry.column_offset) > 0.5


def is_wide(geometry: CircularBeam) -> bool:
    """Whether the detector is shifted to widen the field of view of a full turn (half-fan)."""
    return abs(geometry.column_offset) > OFFSET_SHARE * geometry.columns


def taper(geometry: CircularBeam) -> float:
    """Part of the columns seen from both sides over which shares change: little noise is lost."""
    return 1.0 if is_wide(geometry) else 0.25


def _feather(position: Array, taper: float) -> Array:
    """Shares of a full turn's columns: w(u) + w(-u) = 1, one where only one side is seen."""
    reach = min(position.max(), -position.min())
    if reach <= 0:
        raise ValueError("the detector does not reach the central ray: nothing is seen twice")
    side = 1.0 if position.max() > -position.min() else -1.0
    ramp = np.clip(side * position / reach, -1, 1)
    ramp = np.sign(ramp) * np.clip((np.abs(ramp) - 1 + taper) / taper, 0, 1)
    return np.asarray(0.5 * (1 + np.sin(np.pi / 2 * ramp)))
