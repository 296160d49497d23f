"""Geometries to and from the dictionaries of the ASTRA toolbox, circular ones and vectors.

ASTRA draws its 2D images with y upward: its first image row is Spinray's last. Its 3D sinograms
are (row, view, column), Spinray's (view, row, column). ASTRA's lengths are in units of its pixel;
here they are mm, so ASTRA's volume needs a window in mm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Geometry, frozen_array
from .beams import ray_frames
from .geometry import ConeBeam, DivergentBeam, FanBeam, HelicalBeam, ParallelBeam
from .modular import ModularBeam

CLOSE = 1e-6  # relative to the detector's pitch or distance: ASTRA's users compute in double


def to_astra(geometry: Geometry) -> dict[str, Any]:
    """Return ASTRA's projection geometry by vectors: what ``astra.data2d.create`` takes.

    Returns
    -------
    dict
        ``type`` ``parallel_vec`` with Vectors (view, 6) as ray, detector centre, column step;
        ``fanflat_vec`` (view, 6) as source, centre, column step; ``cone_vec`` (view, 12) as source,
        centre, column step, row step.

    Raises
    ------
    ValueError
        A curved detector, which ASTRA does not have.
    """
    if isinstance(geometry, DivergentBeam) and geometry.detector == "curved":
        raise ValueError("ASTRA has flat detectors only, this one is curved")
    first, center, row, column = ray_frames(geometry).transpose(1, 0, 2)
    if isinstance(geometry, ConeBeam | ModularBeam):
        return {
            "type": "cone_vec",
            "DetectorRowCount": geometry.rows,
            "DetectorColCount": geometry.columns,
            "Vectors": np.concatenate([first, center, column, row], axis=1),
        }
    if not isinstance(geometry, ParallelBeam | FanBeam):
        raise TypeError(f"ASTRA has no counterpart of {type(geometry).__name__}")
    return {
        "type": "parallel_vec" if isinstance(geometry, ParallelBeam) else "fanflat_vec",
        "DetectorCount": geometry.columns,
        "Vectors": np.concatenate([v[:, :2] for v in (first, center, column)], axis=1),
    }


def from_astra(geometry: dict[str, Any]) -> Geometry:
    """Return the geometry of a dictionary of ``astra.create_proj_geom``.

    ``parallel``, ``fanflat``, ``cone`` and their ``_vec`` forms. Vectors that turn on a circle
    about the origin (or, of a cone, a helix about the z axis) give `ParallelBeam`, `FanBeam`,
    `ConeBeam` or `HelicalBeam`, which are fast and have analytic methods; all others of a point
    source give a `ModularBeam`, of ``fanflat_vec`` with a single row, for grids ``(1, ny, nx)``.
    ASTRA's first image row lies at the largest y: its images are ours turned over,
    ``image[::-1]``. Its 3D sinograms are (row, view, column): ours are ``sinogram.swapaxes(0, 1)``.

    Raises
    ------
    TypeError
        No dictionary.
    ValueError
        Another type, missing entries, vectors of parallel beams that are not on a circle.
    """
    if not isinstance(geometry, dict):
        raise TypeError(f"expected a dictionary of astra.create_proj_geom, got {geometry!r:.100}")
    kind = geometry.get("type")
    try:
        if kind == "parallel":
            return ParallelBeam(
                np.asarray(geometry["ProjectionAngles"]),
                geometry["DetectorCount"],
                geometry["DetectorWidth"],
            )
        if kind == "fanflat":
            return FanBeam(
                np.asarray(geometry["ProjectionAngles"]),
                geometry["DetectorCount"],
                geometry["DetectorWidth"],
                geometry["DistanceOriginSource"],
                geometry["DistanceOriginSource"] + geometry["DistanceOriginDetector"],
            )
        if kind == "cone":
            return ConeBeam(
                np.asarray(geometry["ProjectionAngles"]),
                geometry["DetectorRowCount"],
                geometry["DetectorColCount"],
                geometry["DetectorSpacingY"],
                geometry["DetectorSpacingX"],
                geometry["DistanceOriginSource"],
                geometry["DistanceOriginSource"] + geometry["DistanceOriginDetector"],
            )
        if kind == "parallel_vec":
            return _parallel(_checked(geometry["Vectors"], 6), geometry["DetectorCount"])
        if kind == "fanflat_vec":
            return _fan(_checked(geometry["Vectors"], 6), geometry["DetectorCount"])
        if kind == "cone_vec":
            matrix = geometry["DetectorRowCount"], geometry["DetectorColCount"]
            return _cone(_checked(geometry["Vectors"], 12), *matrix)
    except KeyError as error:
        raise ValueError(f"ASTRA geometry of type {kind!r} lacks {error.args[0]!r}") from None
    raise ValueError(
        f"ASTRA geometry of type {kind!r}: expected parallel, fanflat, cone, parallel_vec, "
        "fanflat_vec or cone_vec (parallel3d is a stack of slices: a parallel beam with its rows "
        "as batch)"
    )


class _OrbitError(ValueError):
    """Vectors that do not turn on a circle about the origin."""


def _checked(vectors: Any, length: int) -> Array:
    array = frozen_array("Vectors", vectors)
    if array.ndim != 2 or array.shape[1] != length or not len(array):
        raise ValueError(f"Vectors have shape {array.shape}, expected (view, {length})")
    return array


def _parallel(vectors: Array, columns: int) -> ParallelBeam:
    ray, center, step = np.split(vectors, 3, axis=1)
    angles, pitch, across, _ = _turning(step)
    _require("the ray", (ray * across).sum(1) / np.linalg.norm(ray, axis=1), 0.0, 1.0)
    offset = _shared("the detector's offset", (center * across).sum(1), pitch) / pitch
    return ParallelBeam(_few_turns(angles), columns, pitch, offset)


def _fan(vectors: Array, columns: int) -> FanBeam | ModularBeam:
    source, center, step = np.split(vectors, 3, axis=1)
    try:
        angles, pitch, sid, sdd, offset = _circle(source, center, step)
        return FanBeam(_few_turns(angles), columns, pitch, sid, sdd, column_offset=offset)
    except _OrbitError:
        source, center, step = (np.pad(v, ((0, 0), (0, 1))) for v in (source, center, step))
        up = np.array([0.0, 0.0, 1.0]) * np.linalg.norm(step, axis=1, keepdims=True)
        return ModularBeam(source, center, up, step, 1, columns)


def _cone(vectors: Array, rows: int, columns: int) -> ConeBeam | ModularBeam:
    source, center, column, row = np.split(vectors, 4, axis=1)
    try:
        angles, pitch, sid, sdd, offset = _circle(source[:, :2], center[:, :2], column[:, :2])
        height = _shared("the row step", row[:, 2], pitch)
        for vector in (column[:, 2], row[:, 0], row[:, 1]):
            _require("the detector's tilt", vector, 0.0, pitch)
        if height <= 0:
            raise _OrbitError("rows run downward")
        shift = _shared("the detector's height", center[:, 2] - source[:, 2], height) / height
        climb = _climb(angles, source[:, 2], height)
    except _OrbitError:
        return ModularBeam(source, center, row, column, rows, columns)
    beam = rows, columns, height, pitch, sid, sdd
    if climb is None:
        angles = _few_turns(angles)
        return ConeBeam(angles, *beam, row_offset=shift, column_offset=offset)
    angles, travel = climb
    return HelicalBeam(angles, *beam, row_offset=shift, column_offset=offset, pitch=travel)


def _climb(angles: Array, z: Array, height: float) -> tuple[Array, float] | None:
    """Angles and travel a turn of a helix that passes z = 0 at angle 0; None on a circle there."""
    if np.allclose(z, 0, rtol=0, atol=CLOSE * height):
        return None
    if len(angles) < 3 or np.ptp(angles) < CLOSE:
        raise _OrbitError("too few views tell a helix")
    slope, start = np.polyfit(angles, z, 1)
    _require("the source's height", z - slope * angles - start, 0.0, height)
    pitch = 2 * np.pi * slope
    if abs(pitch) < CLOSE * height:
        raise _OrbitError("the orbit lies off the plane z = 0")
    turns = round(start / pitch)
    _require("the height at angle 0", np.array([start - turns * pitch]), 0.0, height)
    return angles + 2 * np.pi * turns, float(pitch)


def _circle(source: Array, center: Array, step: Array) -> tuple[Array, float, float, float, float]:
    """View angles, column spacing, distances of isocentre and detector, offset in columns."""
    angles, pitch, across, along = _turning(step)
    sid = _shared("the source's distance", -(source * along).sum(1), float(np.abs(source).max()))
    if sid <= 0:
        raise _OrbitError("columns run clockwise")
    _require("the source beside the central ray", (source * across).sum(1), 0.0, sid)
    sdd = _shared("the detector's distance", ((center - source) * along).sum(1), sid)
    offset = _shared("the detector's offset", (center * across).sum(1), pitch) / pitch
    return angles, pitch, sid, sdd, offset


def _turning(step: Array) -> tuple[Array, float, Array, Array]:
    """View angles, column spacing, and unit vectors along the columns and the central ray."""
    spacing = np.linalg.norm(step, axis=1)
    pitch = _shared("the column step", spacing, float(spacing.mean()))
    if not pitch > 0:
        raise _OrbitError("the column step is zero")
    across = step / spacing[:, None]
    angles = np.unwrap(np.arctan2(across[:, 1], across[:, 0]))
    return angles, pitch, across, np.stack([-across[:, 1], across[:, 0]], axis=1)


def _few_turns(angles: Array) -> Array:
    """Angles on one circle, where many turns look alike."""
    return np.mod(angles, 2 * np.pi) if np.abs(angles).max() > 4 * np.pi else angles


def _shared(name: str, values: Array, scale: float) -> float:
    """The value that all views share; raise `_OrbitError` if they do not."""
    return _require(name, values, float(np.mean(values)), scale)


def _require(name: str, values: Array, expected: float, scale: float) -> float:
    if not np.allclose(values, expected, rtol=0, atol=CLOSE * max(scale, 1e-30)):
        raise _OrbitError(
            f"{name} runs from {values.min():g} to {values.max():g}: parallel beams are taken that "
            "turn about the origin"
        )
    return expected
