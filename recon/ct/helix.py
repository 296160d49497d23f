"""What a helix sees: its parallel views, the pitch that it allows, the heights that it covers.

The ray at the angle ``theta`` and the distance p from the axis is measured at the source angle
``theta + g`` with ``sin g = p / source_to_isocenter``. A point is seen along it once more, from
the other side, at ``theta + pi - g``: between the two the source climbs by ``pi - 2 g`` of the
helix, and then by ``pi + 2 g``, which is where a gap opens first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...kernels.ct.geometry import HelicalBeam, VolumeGrid
from ...kernels.ct.rebinning import TAPS
from .redundancy import is_wide

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ParallelViews:
    """Parallel views that a helical scan can be rebinned to.

    Parameters
    ----------
    angles
        Evenly spaced, ``(view,)`` in radians.
    half_turn
        Views in 180 degrees.
    positions
        Distance of the samples from the axis in mm, evenly spaced, ``(position,)``.
    radius
        Of the circle about the axis to reconstruct, in mm: all of the views see it.
    taps
        Measured views to interpolate between.
    """

    angles: Array
    half_turn: int
    positions: Array
    radius: float
    taps: int


def plan_helix(
    geometry: HelicalBeam, volume: VolumeGrid | None = None
) -> tuple[ParallelViews, VolumeGrid]:
    """Plan the parallel views of a helix and the grid, by default over all that it covers.

    Raises
    ------
    ValueError
        A pitch with gaps between the turns, too few turns, repeated or missing views, a detector
        that is not centred, a 2D volume.
    """
    if volume is not None and volume.ndim != 3:
        raise ValueError(f"a helical scan needs a 3D volume, got {volume}")
    views = _parallel_views(geometry)
    if volume is not None:
        y, x = (float(np.abs(volume.positions(axis)).max()) for axis in (1, 2))
        views = replace(views, radius=min(views.radius, float(np.hypot(x, y))))
    _require_no_gaps(geometry, views.radius)
    if volume is None:
        low, high = covered_heights(geometry, views)
        grid = geometry.default_volume()
        slices = int((high - low) / grid.spacing[0] + 1e-6) + 1
        volume = VolumeGrid((slices, *grid.shape[1:]), grid.spacing, ((low + high) / 2, 0.0, 0.0))
    return views, volume


def _parallel_views(geometry: HelicalBeam) -> ParallelViews:
    if is_wide(geometry) or not geometry.fan_angles[0] < 0 < geometry.fan_angles[-1]:
        raise ValueError(
            f"a helix needs a detector centred to a few columns, got column_offset "
            f"{geometry.column_offset:g} of {geometry.columns} columns"
        )
    angles, step, taps = _checked_steps(geometry)
    fan, margin = geometry.fan_angles, taps // 2 - 1
    first, last = angles[margin] - fan[0], angles[-1 - margin] - fan[-1]
    half_turn = int(np.ceil(np.pi / step - 1e-6))
    count = int(np.floor((last - first) / np.pi * half_turn + 1e-6)) + 1
    if count <= half_turn:
        needed = np.pi + np.ptp(fan) + (2 * margin + 1) * step
        raise ValueError(
            f"{np.ptp(angles) / (2 * np.pi):.2f} turns are too few: each slice needs 180° plus "
            f"the fan angle, {needed / (2 * np.pi):.2f} turns, and the table's travel takes more"
        )
    pitch = geometry.column_spacing / geometry.magnification
    low, high = geometry.source_to_isocenter * np.sin(fan[[0, -1]]) / pitch
    shift = geometry.column_offset - (geometry.columns - 1) / 2
    columns = np.arange(np.ceil(low - shift), np.floor(high - shift) + 1)
    positions = (columns + shift) * pitch
    radius = float(min(-positions[0], positions[-1]))
    return ParallelViews(
        first + np.arange(count) * np.pi / half_turn, half_turn, positions, radius, taps
    )


def _checked_steps(geometry: HelicalBeam) -> tuple[Array, float, int]:
    """Sorted angles, their usual step, and how many views to interpolate between."""
    angles = np.sort(geometry.angles)
    steps = np.diff(angles)
    if not len(steps) or steps.min() <= 0:
        raise ValueError("a helical scan needs several views, each at an angle of its own")
    step = float(np.median(steps))
    if steps.max() > max(4 * step, np.deg2rad(2)):
        gap = int(steps.argmax())
        raise ValueError(
            f"views are missing between {angles[gap]:.3f} and {angles[gap + 1]:.3f} rad: "
            f"{np.rad2deg(steps[gap]):.1f}° without a view, the others are "
            f"{np.rad2deg(step):.2f}° apart"
        )
    # a polynomial through many uneven views would amplify their noise
    uneven = steps.max() > 1.5 * steps.min() or len(angles) < 2 * TAPS
    return angles, step, 2 if uneven else TAPS


def pitch_limit(geometry: HelicalBeam, radius: float) -> float:
    """Largest pitch in mm a turn that leaves no gap within `radius` mm of the axis."""
    p = np.linspace(-radius, radius, 257)
    low, high = _row_edges(geometry)
    fan, along, distance = ray_distances(geometry, p)
    across = np.sqrt(np.maximum(radius**2 - p**2, 0))
    seen = (along * (high - low) - across * abs(high + low)) / distance
    return float(2 * np.pi * np.min(seen / (np.pi + 2 * np.abs(fan))))


def covered_heights(geometry: HelicalBeam, views: ParallelViews) -> tuple[float, float]:
    """Lowest and highest z in mm at which all within `views.radius` is seen over a half turn."""
    radius = views.radius
    low, high = _row_edges(geometry)
    upward = geometry.pitch >= 0
    if not upward:
        low, high = -high, -low
    rise = abs(geometry.pitch) / (2 * np.pi)
    p = np.linspace(-radius, radius, 129)[:, None]
    depth = np.linspace(-1, 1, 129) * np.sqrt(np.maximum(radius**2 - p**2, 0))
    fan, along, distance = ray_distances(geometry, p)
    near, far = (along + depth) / distance, (along - depth) / distance
    bottom = np.minimum(rise * fan + low * near, rise * (np.pi - fan) + low * far).max()
    top = np.maximum(rise * fan + high * near, -rise * (np.pi + fan) + high * far).min()
    lowest = float(rise * (views.angles[0] + np.pi) + bottom)
    highest = float(rise * (views.angles[-1] - np.pi) + top)
    return (lowest, highest) if upward else (-highest, -lowest)


def _require_no_gaps(geometry: HelicalBeam, radius: float) -> None:
    limit = pitch_limit(geometry, radius)
    if abs(geometry.pitch) > limit * (1 + 1e-6):
        height = geometry.rows * geometry.row_spacing / geometry.magnification
        raise ValueError(
            f"pitch {geometry.pitch:g} mm a turn leaves gaps: {geometry.rows} rows cover "
            f"{height:.4g} mm at the isocentre, which allows {limit:.4g} mm a turn for a volume "
            f"that reaches {radius:.4g} mm from the axis"
        )


def _row_edges(geometry: HelicalBeam) -> tuple[float, float]:
    edge = geometry.row_spacing / 2
    return float(geometry.row_positions[0] - edge), float(geometry.row_positions[-1] + edge)


def ray_distances(geometry: HelicalBeam, positions: Array) -> tuple[Array, Array, Array]:
    """Fan angle of the rays at `positions` mm from the axis, and two distances from the source.

    To the point of the ray that is nearest the axis, and to the detector, both in mm.
    """
    fan = np.arcsin(positions / geometry.source_to_isocenter)
    cosine = np.cos(fan)
    flat = geometry.detector == "flat"
    distance = geometry.source_to_detector / (cosine if flat else np.ones_like(cosine))
    return fan, geometry.source_to_isocenter * cosine, distance
