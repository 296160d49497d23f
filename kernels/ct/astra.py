"""Geometries to and from the dictionaries of the ASTRA toolbox, circular ones and vectors.

ASTRA draws its 2D images with y upward: its first image row is Spinray's last. Its 3D sinograms
are (row, view, column), Spinray's (view, row, column). ASTRA's lengths are in units of its pixel;
here they are mm, so ASTRA's volume needs a window in mm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Geometry
from .beams import ray_frames
from .geometry import ConeBeam, DivergentBeam, FanBeam, ParallelBeam
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

    ``parallel``, ``fanflat``, ``cone`` and their ``_vec`` forms; vectors of a plane must turn on a
    circle about the origin, those of ``cone_vec`` may lie anyhow (`ModularBeam`). ASTRA's first
    image row lies at the largest y: its images are ours turned over, ``image[::-1]``.

    Raises
    ------
    ValueError
        Another type, missing entries, or vectors of a plane that are not on a circle.
    """
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
        if kind in ("parallel_vec", "fanflat_vec"):
            vectors = _checked(geometry["Vectors"], 6)
            return _circular(kind, vectors, geometry["DetectorCount"])
        if kind == "cone_vec":
            vectors = _checked(geometry["Vectors"], 12)
            source, center, column, row = np.split(vectors, 4, axis=1)
            rows, columns = geometry["DetectorRowCount"], geometry["DetectorColCount"]
            return ModularBeam(source, center, row, column, rows, columns)
    except KeyError as error:
        raise ValueError(f"ASTRA geometry of type {kind!r} lacks {error.args[0]!r}") from None
    raise ValueError(
        f"ASTRA geometry of type {kind!r}: expected parallel, fanflat, cone, parallel_vec, "
        "fanflat_vec or cone_vec"
    )


def _checked(vectors: Any, length: int) -> Array:
    array = np.asarray(vectors, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != length:
        raise ValueError(f"Vectors have shape {array.shape}, expected (view, {length})")
    return array


def _circular(kind: str, vectors: Array, columns: int) -> Geometry:
    first, center, step = np.split(vectors, 3, axis=1)
    spacing = np.linalg.norm(step, axis=1)
    pitch = _one("the column step", spacing, float(spacing.mean()))
    across = step / spacing[:, None]
    angles = np.unwrap(np.arctan2(across[:, 1], across[:, 0]))
    along = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    ray = center - first if kind == "fanflat_vec" else first
    side = float(np.sign((ray * along).sum(1)[0]))
    if side < 0:  # the column axis points the other way: ours turns left of the ray
        if kind == "fanflat_vec":
            raise ValueError("fanflat_vec counts columns clockwise: reverse u and the sinogram")
        along = -along  # parallel rays have no sense
    offset = _one("the detector's offset", (center * across).sum(1), pitch) / pitch
    if kind == "parallel_vec":
        _one("the ray", np.abs((ray * across).sum(1)) / np.linalg.norm(ray, axis=1), 1.0, 0.0)
        return ParallelBeam(angles, columns, pitch, offset)
    sid = _one("the source's distance", -(first * along).sum(1), abs(float(first.max())))
    _one("the source beside the central ray", (first * across).sum(1), sid, 0.0)
    sdd = _one("the detector's distance", (ray * along).sum(1), sid)
    return FanBeam(angles, columns, pitch, sid, sdd, column_offset=offset)


def _one(name: str, values: Array, scale: float, expected: float | None = None) -> float:
    """The value that all views share; raise a `ValueError` if they do not."""
    value = float(np.mean(values)) if expected is None else expected
    if not np.allclose(values, value, rtol=0, atol=CLOSE * max(scale, 1e-30)):
        raise ValueError(
            f"{name} runs from {values.min():g} to {values.max():g}: in a plane only circular "
            "orbits about the origin are taken; give cone_vec for others"
        )
    return value
