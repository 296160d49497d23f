"""Where source and detector stood in a DICOM-CT-PD scan, in the CT frame.

The manual's frame is left-handed: seen from the foot end of the table, x to the right, y up, z
into the gantry, angles counter-clockwise from 12 o'clock. The CT frame has y down, so that its
angles are the negative ones. Rows are counted from the far end (the largest z), columns from the
left with the detector at 6 o'clock, both from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...kernels.ct.geometry import ConeBeam, HelicalBeam
from . import ct_pd_tags as tags
from .beam_geometry import make_geometry
from .errors import FormatError

Array = NDArray[np.float64]

_SHAPES = {"CYLINDRICAL": "curved", "FLAT": "flat"}
_LARGEST_DETECTOR = 1 << 14
# Shifts of the focal spot below these, in mm at the isocentre and as a part of a cell, are none.
_REST = 0.01


@dataclass(frozen=True)
class Detector:
    """What all views of a scan share: arguments of the geometries, with both numbers of cells."""

    rows: int
    columns: int
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Orbit:
    """Where the detector's focus stood, and the spot beside it, view by view in the CT frame.

    Angles in radians and heights in mm, ``(view,)``; shifts ``(view, 3)``: angle, z, outward.
    """

    angles: Array
    heights: Array
    shifts: Array


def detector_in(dataset: Dataset) -> Detector:
    """Read the detector of a view.

    Raises
    ------
    FormatError
        Missing or impossible attributes, a spherical detector.
    """
    rows, columns = (_count(dataset, f"Detector{axis}") for axis in ("Rows", "Columns"))
    shape = tags.text(dataset, "DetectorShape")
    if shape not in _SHAPES:
        raise FormatError(
            None, "DetectorShape", f"is {shape!r}, expected {' or '.join(_SHAPES)}"
        )  # fmt: skip
    center = tags.values(dataset, "CentralElement")
    if len(center) != 2:
        raise FormatError(None, "CentralElement", f"holds {len(center)} numbers, expected 2")
    return Detector(
        rows,
        columns,
        {
            "rows": rows,
            "columns": columns,
            "row_spacing": tags.number(dataset, "AxialSpacing"),
            "column_spacing": tags.number(dataset, "TransverseSpacing"),
            "source_to_isocenter": tags.number(dataset, "RadialDistance"),
            "source_to_detector": tags.number(dataset, "ConstantRadialDistance"),
            "detector": _SHAPES[shape],
            "column_offset": (columns + 1) / 2 - float(center[0]),
            "row_offset": float(center[1]) - (rows + 1) / 2,
        },
    )


def central_element(geometry: ConeBeam) -> tuple[float, float]:
    """Column and row, counted from 1, that look at the isocentre."""
    return (
        (geometry.columns + 1) / 2 - geometry.column_offset,
        (geometry.rows + 1) / 2 + geometry.row_offset,
    )


def place_in(dataset: Dataset) -> tuple[float, ...]:
    """Angle, height, radial distance and the spot's three shifts, as the file has them."""
    return (
        tags.number(dataset, "AngularPosition"),
        tags.number(dataset, "AxialPosition"),
        tags.number(dataset, "RadialDistance"),
        tags.number(dataset, "AngularShift", 0.0),
        tags.number(dataset, "AxialShift", 0.0),
        tags.number(dataset, "RadialShift", 0.0),
    )


def orbit_of(places: Array) -> Orbit:
    """Turn places of all views, in order of time, to the CT frame."""
    radii = places[:, 2]
    if float(np.ptp(radii)) > 1e-3 * float(np.abs(radii).max()):
        raise FormatError(
            None, "RadialDistance", f"runs from {radii.min():g} to {radii.max():g} mm: the "
            "detector's focus must stay on a circle",
        )  # fmt: skip
    shifts = places[:, 3:] * (-1, 1, 1)
    return Orbit(-np.unwrap(places[:, 0]), places[:, 1], shifts)


def geometry_of(detector: Detector, orbit: Orbit) -> tuple[ConeBeam, float]:
    """Geometry of the detector's focus, and the height of its origin in mm.

    Raises
    ------
    FormatError
        A table that neither stood nor moved evenly with the turn.
    """
    arguments = {**detector.arguments, "angles": orbit.angles}
    cell = detector.arguments["row_spacing"]
    if float(np.ptp(orbit.heights)) < 0.05 * cell:
        arguments["angles"] = np.mod(orbit.angles, 2 * np.pi)
        return _made("cone", arguments), float(orbit.heights.mean())
    if len(orbit.angles) < 2 or float(np.ptp(orbit.angles)) < 1e-3:
        raise FormatError(None, "AxialPosition", "the table moves, the gantry does not turn")
    climb, start = np.polyfit(orbit.angles, orbit.heights, 1)
    beside = np.abs(start + climb * orbit.angles - orbit.heights)
    if float(beside.max()) > 0.25 * cell:
        raise FormatError(
            None, "AxialPosition", f"strays by {beside.max():.2g} mm from a table that moves "
            f"evenly with the turn (view {int(beside.argmax()) + 1}): read a part by views=",
        )  # fmt: skip
    return _made("helical", {**arguments, "pitch": 2 * np.pi * climb}), float(start)


def spot_moves(geometry: ConeBeam, shifts: Array) -> bool:
    """Whether the focal spot leaves the detector's focus by more than a hundredth of a cell."""
    cell = min(geometry.row_spacing, geometry.column_spacing) / geometry.magnification
    sizes = np.abs(shifts) * (geometry.source_to_isocenter, 1.0, 1.0)
    return bool(sizes.max() > _REST * cell)


def pitch_factor(geometry: ConeBeam) -> float | None:
    """Table travel a turn over the detector's height at the isocentre; None where it stands."""
    if not isinstance(geometry, HelicalBeam):
        return None
    return abs(geometry.pitch) / (geometry.rows * geometry.row_spacing / geometry.magnification)


def _made(kind: str, arguments: Mapping[str, Any]) -> ConeBeam:
    geometry = make_geometry(kind, arguments, "geometry")
    assert isinstance(geometry, ConeBeam)
    return geometry


def _count(dataset: Dataset, name: str) -> int:
    value = tags.number(dataset, name)
    if not 0 < value <= _LARGEST_DETECTOR:
        raise FormatError(None, name, f"is {value:g}, expected a number of cells")
    return int(value)
