"""What the kernels are told of a geometry: numbers and vectors in place of names."""

from __future__ import annotations

import numpy as np

from .base import Array, VolumeGrid
from .footprint import CURVED, FLAT, PARALLEL, PLANAR_FINE
from .geometry import (
    CircularBeam,
    ConeBeam,
    DivergentBeam,
    Geometry,
    ModularBeam,
    ParallelBeam,
)


def kind_of(geometry: Geometry) -> int:
    """Tell `PARALLEL`, `FLAT` and `CURVED` beams apart; a modular beam is flat."""
    if isinstance(geometry, ParallelBeam):
        return PARALLEL
    return CURVED if getattr(geometry, "detector", "flat") == "curved" else FLAT


def turns_of(geometry: CircularBeam) -> Array:
    """Cosine, sine and height of the source of each view, ``(view, 3)``."""
    height = geometry.source_z if isinstance(geometry, ConeBeam) else np.zeros(len(geometry))
    turns = np.stack([np.cos(geometry.angles), np.sin(geometry.angles), height], axis=1)
    return np.ascontiguousarray(turns)


def beam_of(geometry: CircularBeam, grid: VolumeGrid) -> tuple[float, ...]:
    """The numbers that `footprint.tile_view` calls ``beam``."""
    return (
        kind_of(geometry),
        float(getattr(geometry, "source_to_isocenter", 0.0)),
        float(getattr(geometry, "source_to_detector", 1.0)),
        float(geometry.column_spacing),
        (geometry.columns - 1) / 2 - float(geometry.column_offset),
        grid.spacing[-1],
        grid.spacing[-2],
        1 if isinstance(geometry, ConeBeam) else PLANAR_FINE,
    )


def axial_of(geometry: ConeBeam, grid: VolumeGrid) -> tuple[float, ...]:
    """Distance of the detector, height and lower edge of its rows, and of the voxels, in mm."""
    return (
        float(geometry.source_to_detector),
        float(geometry.row_spacing),
        float(geometry.row_positions[0] - geometry.row_spacing / 2),
        grid.spacing[0],
        float(grid.positions(0)[0] - grid.spacing[0] / 2),
    )


def curve_of(geometry: Geometry) -> tuple[float, ...]:
    """Distance, angle a column and of the middle, row step and shift of a curved detector."""
    if kind_of(geometry) != CURVED:
        return (0.0,) * 5
    assert isinstance(geometry, DivergentBeam)
    sdd, angle = geometry.source_to_detector, geometry.column_spacing / geometry.source_to_detector
    row = geometry.row_spacing if isinstance(geometry, ConeBeam) else 1.0
    shift = geometry.row_offset * row if isinstance(geometry, ConeBeam) else 0.0
    return sdd, angle, geometry.column_offset * angle, row, shift


def ray_frames(geometry: Geometry) -> Array:
    """Source or ray direction, detector centre, row step, column step per view, ``(view, 4, 3)``.

    Vectors are (x, y, z) in mm. A parallel beam holds the ray's direction in place of the source,
    a curved detector the unit vectors along the central ray, z and columns.
    """
    if isinstance(geometry, ModularBeam):
        vectors = (
            geometry.source,
            geometry.detector_center,
            geometry.row_vector,
            geometry.column_vector,
        )
        return np.stack(vectors, axis=1)
    assert isinstance(geometry, CircularBeam)
    zero, one = np.zeros(len(geometry)), np.ones(len(geometry))
    column = np.stack([np.cos(geometry.angles), np.sin(geometry.angles), zero], axis=1)
    ray = np.stack([-np.sin(geometry.angles), np.cos(geometry.angles), zero], axis=1)
    up = np.stack([zero, zero, one], axis=1)
    step = geometry.column_spacing
    shift = column * geometry.column_offset * step
    if not isinstance(geometry, DivergentBeam):
        return np.stack([ray, shift, up, column * step], axis=1)
    source, row_step, row_offset = -geometry.source_to_isocenter * ray, 1.0, 0.0
    if isinstance(geometry, ConeBeam):
        source = source + up * geometry.source_z[:, None]
        row_step, row_offset = geometry.row_spacing, geometry.row_offset
    if geometry.detector == "curved":
        return np.stack([source, ray, up, column], axis=1)
    center = source + geometry.source_to_detector * ray + shift + up * row_offset * row_step
    return np.stack([source, center, up * row_step, column * step], axis=1)
