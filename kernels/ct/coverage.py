"""Whether the detector sees all of a grid: what it misses is truncated in the line integrals."""

from __future__ import annotations

import math
import warnings

import numpy as np

from .geometry import (
    CircularBeam,
    ConeBeam,
    DivergentBeam,
    Geometry,
    ModularBeam,
    VolumeGrid,
)


def warn_of_unseen(geometry: Geometry, volume: VolumeGrid) -> None:
    """Warn if the ellipse that a grid encloses reaches beyond the rays, by more than a voxel.

    The corners of a square grid are not asked for: no round field of view reaches them. Of a
    `ModularBeam`, which has no axis of rotation, all corners must be seen in all views.
    """
    if isinstance(geometry, ModularBeam):
        _warn_of_corners(geometry, volume)
    if not isinstance(geometry, CircularBeam):
        return
    (half_y, half_x), (y, x) = (np.array(volume.extent[-2:]) / 2, volume.center[-2:])
    turn = np.linspace(0, 2 * np.pi, 181)
    reach = float(np.hypot(x + half_x * np.cos(turn), y + half_y * np.sin(turn)).max())
    seen = geometry.field_radius
    if reach > seen + max(volume.spacing[-2:]):
        _warn(
            f"the detector sees {seen:.1f} mm about the axis of rotation, the volume reaches "
            f"{reach:.1f} mm: line integrals of what lies beyond are missing"
        )
    first, last = geometry.column_positions[[0, -1]]
    blind = _distance(geometry, min(abs(first), abs(last))) if first * last > 0 else 0.0
    if blind > max(volume.spacing[-2:]):
        _warn(
            f"the detector lies beside the central ray and sees only from {blind:.1f} to "
            f"{seen:.1f} mm about the axis of rotation: check column_offset, which is in columns"
        )
    if isinstance(geometry, ConeBeam):
        _warn_along_z(geometry, volume)


def _warn_of_corners(geometry: ModularBeam, volume: VolumeGrid) -> None:
    ends = [
        c + np.array([-0.5, 0.5]) * e for c, e in zip(volume.center, volume.extent, strict=True)
    ]
    corners = np.array([(x, y, z) for z in ends[0] for y in ends[1] for x in ends[2]])
    across, down = geometry.column_vector, geometry.row_vector
    rays = corners - geometry.source[:, None]
    frames = np.stack([across, down, geometry.source - geometry.detector_center], axis=-1)
    # source + s ray = centre + column across + row down
    solved = np.linalg.solve(frames[:, None], rays[..., None])[..., 0]
    places = solved[..., :2] / -solved[..., 2:]
    beyond = np.abs(places) - np.array([geometry.columns, geometry.rows]) / 2
    worst = int(beyond.max((1, 2)).argmax())
    if beyond.max() > 1:
        columns, rows = (beyond[worst].max(0)).clip(0)
        _warn(
            f"the volume reaches {columns:.1f} columns and {rows:.1f} rows beyond the detector in "
            f"view {worst}: line integrals of what lies there are missing"
        )


def _distance(geometry: CircularBeam, position: float) -> float:
    """Distance in mm from the axis of rotation of the ray to a position on the detector."""
    if not isinstance(geometry, DivergentBeam):
        return position
    angle = position / geometry.source_to_detector
    angle = angle if geometry.detector == "curved" else math.atan(angle)
    return geometry.source_to_isocenter * math.sin(angle)


def _warn_along_z(geometry: ConeBeam, volume: VolumeGrid) -> None:
    edges = geometry.row_positions[[0, -1]] + np.array([-0.5, 0.5]) * geometry.row_spacing
    low = float(geometry.source_z.min() + edges[0] / geometry.magnification)
    high = float(geometry.source_z.max() + edges[1] / geometry.magnification)
    bottom, top = volume.center[0] + np.array([-0.5, 0.5]) * volume.extent[0]
    if bottom < low - volume.spacing[0] or top > high + volume.spacing[0]:
        _warn(
            f"the {geometry.rows} rows see z from {low:.1f} to {high:.1f} mm at the axis of "
            f"rotation, the volume reaches from {bottom:.1f} to {top:.1f} mm: what lies beyond is "
            "truncated"
        )


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
