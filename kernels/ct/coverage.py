"""Whether source and detector suit a grid.

The source must stand outside; what the detector misses is truncated in the line integrals.
"""

from __future__ import annotations

import numpy as np

from ..warn import warn
from .base import Array
from .geometry import (
    CircularBeam,
    ConeBeam,
    DivergentBeam,
    Geometry,
    ModularBeam,
    VolumeGrid,
)


def require_source_outside(geometry: Geometry, volume: VolumeGrid) -> None:
    """Raise unless all of a grid lies on the detector's side of the source in every view."""
    if isinstance(geometry, DivergentBeam):
        _require_in_front_of_orbit(geometry, volume)
    elif isinstance(geometry, ModularBeam):
        _require_in_front(geometry, volume)


def _require_in_front_of_orbit(geometry: DivergentBeam, volume: VolumeGrid) -> None:
    half_y, half_x = (e / 2 for e in volume.extent[-2:])
    y, x = volume.center[-2:]
    cosine, sine = np.cos(geometry.angles), np.sin(geometry.angles)
    near = -x * sine + y * cosine - half_x * np.abs(sine) - half_y * np.abs(cosine)
    if float(near.min()) + geometry.source_to_isocenter <= 0:
        raise ValueError(
            f"the source, {geometry.source_to_isocenter:g} mm from the isocentre, lies inside or "
            f"beside the volume in view {int(near.argmin())}: {volume} reaches {-near.min():g} mm "
            "towards it"
        )


def _require_in_front(geometry: ModularBeam, volume: VolumeGrid) -> None:
    corners = _corners(volume)
    normal = np.cross(geometry.column_vector, geometry.row_vector)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    normal *= np.sign(((geometry.detector_center - geometry.source) * normal).sum(1))[:, None]
    near = ((corners - geometry.source[:, None]) * normal[:, None]).sum(-1).min(1)
    if near.min() <= 0:
        raise ValueError(
            f"the source lies inside or beside the volume in view {int(near.argmin())}: {volume} "
            f"reaches {-near.min():g} mm behind it"
        )


def _corners(volume: VolumeGrid) -> Array:
    """The eight corners of a grid in mm, ``(corner, 3)`` as (x, y, z)."""
    ends = [
        c + np.array([-0.5, 0.5]) * e for c, e in zip(volume.center, volume.extent, strict=True)
    ]
    return np.array([(x, y, z) for z in ends[0] for y in ends[1] for x in ends[2]])


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
        warn(
            f"the detector sees {seen:.1f} mm about the axis of rotation, the volume reaches "
            f"{reach:.1f} mm: line integrals of what lies beyond are missing"
        )
    first, last = geometry.column_positions[[0, -1]]
    blind = geometry.distance_at(min(abs(first), abs(last))) if first * last > 0 else 0.0
    if blind > max(volume.spacing[-2:]):
        warn(
            f"the detector lies beside the central ray and sees only from {blind:.1f} to "
            f"{seen:.1f} mm about the axis of rotation: check column_offset, which is in columns"
        )
    if isinstance(geometry, ConeBeam):
        _warn_along_z(geometry, volume)


def _warn_of_corners(geometry: ModularBeam, volume: VolumeGrid) -> None:
    corners = _corners(volume)
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
        warn(
            f"the volume reaches {columns:.1f} columns and {rows:.1f} rows beyond the detector in "
            f"view {worst}: line integrals of what lies there are missing"
        )


def _warn_along_z(geometry: ConeBeam, volume: VolumeGrid) -> None:
    edges = geometry.row_positions[[0, -1]] + np.array([-0.5, 0.5]) * geometry.row_spacing
    low = float(geometry.source_z.min() + edges[0] / geometry.magnification)
    high = float(geometry.source_z.max() + edges[1] / geometry.magnification)
    bottom, top = volume.center[0] + np.array([-0.5, 0.5]) * volume.extent[0]
    if bottom < low - volume.spacing[0] or top > high + volume.spacing[0]:
        warn(
            f"the {geometry.rows} rows see z from {low:.1f} to {high:.1f} mm at the axis of "
            f"rotation, the volume reaches from {bottom:.1f} to {top:.1f} mm: what lies beyond is "
            "truncated"
        )
