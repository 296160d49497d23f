"""Where source and detector stood in each view, and the grid of the image.

Lengths in mm, angles in radians. At view angle t the detector's column axis is
``(cos t, sin t, 0)``, the central ray runs along ``(-sin t, cos t, 0)``, rows run along z, and the
source of a fan or cone stands at ``source_to_isocenter * (sin t, -cos t, 0)``. Column c lies at
``(c - (columns - 1) / 2 + column_offset) * column_spacing``; rows alike. Spacings are measured on
the detector, along the arc where it is curved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .base import (
    Array,
    Geometry,
    VolumeGrid,
    checked_count,
    checked_length,
    checked_number,
    frozen_array,
    set_fields,
)
from .modular import ModularBeam

__all__ = [
    "CircularBeam",
    "ConeBeam",
    "DivergentBeam",
    "FanBeam",
    "Geometry",
    "HelicalBeam",
    "ModularBeam",
    "ParallelBeam",
    "VolumeGrid",
]

Detector = Literal["flat", "curved"]


class CircularBeam(Geometry):
    """What parallel, fan and cone beams share: a row of columns that turns about the z axis."""

    angles: Array
    columns: int
    column_spacing: float
    column_offset: float

    @property
    def column_positions(self) -> Array:
        """Position of each column on the detector in mm, ``(column,)``."""
        return _positions(self.columns, self.column_spacing, self.column_offset)

    @property
    def field_radius(self) -> float:
        """Radius in mm of the circle about the axis of rotation that the outermost ray touches."""
        return self.distance_at((self.columns / 2 + abs(self.column_offset)) * self.column_spacing)

    def distance_at(self, position: float) -> float:
        """Distance in mm from the axis of rotation of the ray to a position on the detector."""
        return position


class DivergentBeam(CircularBeam):
    """What fan and cone beams share: a source, and a detector that is flat or curved about it."""

    source_to_isocenter: float
    source_to_detector: float
    detector: Detector

    @property
    def fan_angles(self) -> Array:
        """Angle of each column's ray to the central ray in radians, ``(column,)``."""
        u = self.column_positions / self.source_to_detector
        return u if self.detector == "curved" else np.arctan(u)

    def distance_at(self, position: float) -> float:
        """Distance in mm from the axis of rotation of the ray to a position on the detector."""
        angle = position / self.source_to_detector
        angle = angle if self.detector == "curved" else float(np.arctan(angle))
        return float(self.source_to_isocenter * np.sin(min(angle, np.pi / 2)))

    @property
    def magnification(self) -> float:
        """source_to_detector / source_to_isocenter."""
        return self.source_to_detector / self.source_to_isocenter


@dataclass(frozen=True, eq=False, repr=False)
class ParallelBeam(CircularBeam):
    """Parallel rays in a plane: line integrals at ``x cos t + y sin t`` = column position.

    Parameters
    ----------
    angles
        View angles in radians, ``(view,)``.
    columns, column_spacing
        Number of detector columns and their spacing in mm.
    column_offset
        Shift of the detector along its column axis, in columns.
    """

    angles: Array
    columns: int
    column_spacing: float = 1.0
    column_offset: float = 0.0

    def __post_init__(self) -> None:
        set_fields(self, angles=_checked_angles(self.angles))
        _check_detector(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(view, column)``."""
        return len(self.angles), self.columns

    def default_volume(self) -> VolumeGrid:
        """Return a square grid over all that some ray sees, pixels as wide as the columns."""
        n = _cells(2 * self.field_radius, self.column_spacing)
        return VolumeGrid((n, n), (self.column_spacing,) * 2)

    def __repr__(self) -> str:
        return f"ParallelBeam({_views_text(self.angles)}, {_columns_text(self)})"


@dataclass(frozen=True, eq=False, repr=False)
class FanBeam(DivergentBeam):
    """A point source and a detector row turning in a plane; ``curved`` is equiangular.

    Parameters
    ----------
    angles
        View angles in radians, ``(view,)``.
    columns, column_spacing
        Number of detector columns and their spacing in mm (arc length where curved).
    source_to_isocenter, source_to_detector
        Distances in mm.
    detector
        ``"flat"``, or ``"curved"``: an arc about the source.
    column_offset
        Shift of the detector along its column axis, in columns (0.25: quarter-detector shift).
    """

    angles: Array
    columns: int
    column_spacing: float
    source_to_isocenter: float
    source_to_detector: float
    detector: Detector = "flat"
    column_offset: float = 0.0

    def __post_init__(self) -> None:
        set_fields(self, angles=_checked_angles(self.angles))
        _check_detector(self)
        _check_source(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(view, column)``."""
        return len(self.angles), self.columns

    def default_volume(self) -> VolumeGrid:
        """Return a square grid over all that some ray sees, at the column pitch at isocentre."""
        pitch = self.column_spacing / self.magnification
        n = _cells(2 * self.field_radius, pitch)
        return VolumeGrid((n, n), (pitch, pitch))

    def __repr__(self) -> str:
        return (
            f"FanBeam({_views_text(self.angles)}, {self.detector} {_columns_text(self)}, "
            f"{_source_text(self)})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class ConeBeam(DivergentBeam):
    """A point source and a multi-row detector on a circle about the z axis.

    Parameters
    ----------
    angles
        View angles in radians, ``(view,)``.
    rows, columns, row_spacing, column_spacing
        Detector matrix and spacings in mm (columns along the arc where curved).
    source_to_isocenter, source_to_detector
        Distances in mm.
    detector
        ``"flat"``, or ``"curved"``: a cylinder about the line through the source along z.
    row_offset, column_offset
        Shift of the detector along z and along its column axis, in rows and columns.
    """

    angles: Array
    rows: int
    columns: int
    row_spacing: float
    column_spacing: float
    source_to_isocenter: float
    source_to_detector: float
    detector: Detector = "flat"
    row_offset: float = 0.0
    column_offset: float = 0.0

    def __post_init__(self) -> None:
        set_fields(self, angles=_checked_angles(self.angles, helical=isinstance(self, HelicalBeam)))
        set_fields(
            self,
            rows=checked_count("rows", self.rows),
            row_spacing=checked_length("row_spacing", self.row_spacing),
            row_offset=checked_number("row_offset", self.row_offset),
        )
        _check_detector(self)
        _check_source(self)

    @property
    def slopes(self) -> Array:
        """Length of each ray over its projection on the plane of the orbit, ``(row, column)``."""
        sdd, u = self.source_to_detector, self.column_positions
        across = np.full_like(u, sdd) if self.detector == "curved" else np.hypot(sdd, u)
        return np.asarray(np.hypot(1.0, self.row_positions[:, None] / across))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(view, row, column)``."""
        return len(self.angles), self.rows, self.columns

    @property
    def row_positions(self) -> Array:
        """Height of each row above the source's plane in mm, ``(row,)``."""
        return _positions(self.rows, self.row_spacing, self.row_offset)

    @property
    def source_z(self) -> Array:
        """Height of the source in each view in mm, ``(view,)``."""
        return np.zeros(len(self.angles))

    def default_volume(self) -> VolumeGrid:
        """Return a grid over all that rays at the isocentre see, at the detector's pitch there."""
        pitch = self.column_spacing / self.magnification
        n = _cells(2 * self.field_radius, pitch)
        z_pitch = self.row_spacing / self.magnification
        low, high = float(self.source_z.min()), float(self.source_z.max())
        nz = self.rows + _cells(high - low, z_pitch)
        center = (low + high) / 2 + self.row_offset * z_pitch
        return VolumeGrid((nz, n, n), (z_pitch, pitch, pitch), (center, 0.0, 0.0))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({_views_text(self.angles)}, {self.detector} "
            f"{_number_of(self.rows, 'row')} x {self.row_spacing:g} mm, {_columns_text(self)}, "
            f"{_source_text(self)})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class HelicalBeam(ConeBeam):
    """A cone beam on a helix: the source stands at ``z = pitch * angle / (2 pi)``.

    Parameters
    ----------
    pitch
        Table travel in mm a turn; negative runs downward. The others as in `ConeBeam`; the angles
        grow through all turns.
    """

    pitch: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(self, pitch=checked_number("pitch", self.pitch))

    @property
    def source_z(self) -> Array:
        """Height of the source in each view in mm, ``(view,)``."""
        return self.pitch * self.angles / (2 * np.pi)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, pitch {self.pitch:g} mm a turn)"


def _checked_angles(angles: ArrayLike, *, helical: bool = False) -> Array:
    array = frozen_array("angles", angles)
    if array.ndim != 1 or not array.size:
        hint = ": a number of views is no angle" if array.ndim == 0 else ""
        raise ValueError(f"angles must be (view,) in radians, got shape {array.shape}{hint}")
    if helical:  # many turns are usual, but not fewer than 16 views in each, nor 100 in each of 50
        span = float(np.ptp(array))
        step = span / max(array.size - 1, 1)
        degrees = (array.size > 32 and step > 0.4) or (step > 0.063 and span > 100 * np.pi)
    else:
        degrees = float(np.abs(array).max()) > 4 * np.pi + 1e-6
    if degrees:
        raise ValueError(
            f"angles run from {array.min():g} to {array.max():g}, expected radians: use "
            "numpy.deg2rad for degrees, modulo 2 pi for many turns on one circle"
        )
    return array


def _check_detector(geometry: CircularBeam) -> None:
    set_fields(
        geometry,
        columns=checked_count("columns", geometry.columns),
        column_spacing=checked_length("column_spacing", geometry.column_spacing),
        column_offset=checked_number("column_offset", geometry.column_offset),
    )


def _check_source(geometry: DivergentBeam) -> None:
    sid = checked_length("source_to_isocenter", geometry.source_to_isocenter)
    sdd = checked_length("source_to_detector", geometry.source_to_detector)
    set_fields(geometry, source_to_isocenter=sid, source_to_detector=sdd)
    if sdd <= sid:
        raise ValueError(
            f"source_to_detector {sdd:g} mm must exceed source_to_isocenter {sid:g} mm: both count "
            "from the source"
        )
    if geometry.detector not in ("flat", "curved"):
        raise ValueError(f'detector must be "flat" or "curved", got {geometry.detector!r}')
    if float(np.abs(geometry.fan_angles).max()) >= np.pi / 2:
        raise ValueError(
            f"the detector reaches {np.rad2deg(np.abs(geometry.fan_angles).max()):.0f}° from the "
            "central ray, expected below 90°: are columns, column_spacing and offset in mm?"
        )


def _positions(n: int, spacing: float, offset: float) -> Array:
    return np.asarray((np.arange(n) - (n - 1) / 2 + offset) * spacing)


def _cells(length: float, size: float) -> int:
    """Cells that cover a length to within a quarter of a cell at each end."""
    return max(int(np.ceil(length / size - 0.5 - 1e-6)), 0)


def _views_text(angles: Array) -> str:
    step = float(np.ptp(angles)) / max(len(angles) - 1, 1)
    return f"{_number_of(len(angles), 'view')} over {np.rad2deg(np.ptp(angles) + step):.4g}°"


def _columns_text(geometry: CircularBeam) -> str:
    offset = f" offset {geometry.column_offset:g}" if geometry.column_offset else ""
    return f"{_number_of(geometry.columns, 'column')} x {geometry.column_spacing:g} mm{offset}"


def _number_of(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def _source_text(geometry: DivergentBeam) -> str:
    return f"source at {geometry.source_to_isocenter:g} of {geometry.source_to_detector:g} mm"
