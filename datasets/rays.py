"""The rays of a CT geometry as lines in space, straight from the convention of the CT frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels.ct.geometry import ConeBeam, FanBeam, Geometry, ModularBeam, ParallelBeam

Array = NDArray[np.float64]


def rays(geometry: Geometry) -> tuple[Array, Array]:
    """Return a point (the source, if there is one) and the unit direction of every ray.

    Parameters
    ----------
    geometry
        Any of the CT geometries.

    Returns
    -------
    point, direction
        ``(view, [row,] column, ndim)`` in mm, ordered as the image axes ([z,] y, x); both
        broadcast to that shape.
    """
    if isinstance(geometry, ParallelBeam):
        point, direction = _parallel(geometry)
    elif isinstance(geometry, FanBeam):
        point, direction = _fan(geometry)
    elif isinstance(geometry, ConeBeam):
        point, direction = _cone(geometry)
    elif isinstance(geometry, ModularBeam):
        point, direction = _modular(geometry)
    else:
        raise TypeError(f"no rays for a {type(geometry).__name__}")
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    shape = (*geometry.shape, geometry.ndim)
    return np.broadcast_to(point, shape)[..., ::-1], np.broadcast_to(direction, shape)[..., ::-1]


def _axes(angles: Array) -> tuple[Array, Array]:
    """Column axis and central ray of each view, ``(view, 1, 2)`` as (x, y)."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([cos, sin], -1)[:, None], np.stack([-sin, cos], -1)[:, None]


def _parallel(geometry: ParallelBeam) -> tuple[Array, Array]:
    column_axis, central = _axes(geometry.angles)
    return geometry.column_positions[:, None] * column_axis, central


def _fan(geometry: FanBeam | ConeBeam) -> tuple[Array, Array]:
    """Source and the vector from it to each column's place on the detector."""
    column_axis, central = _axes(geometry.angles)
    u, distance = geometry.column_positions[:, None], geometry.source_to_detector
    if geometry.detector == "curved":
        across, along = distance * np.sin(u / distance), distance * np.cos(u / distance)
    else:
        across, along = u, np.full_like(u, distance)
    return -geometry.source_to_isocenter * central, across * column_axis + along * central


def _cone(geometry: ConeBeam) -> tuple[Array, Array]:
    source, to_column = _fan(geometry)
    views, rows, columns = geometry.shape
    point = np.empty((views, 1, 1, 3))
    point[..., :2] = source[:, None]
    point[..., 2] = geometry.source_z[:, None, None]
    direction = np.empty((views, rows, columns, 3))
    direction[..., :2] = to_column[:, None]
    direction[..., 2] = geometry.row_positions[:, None]
    return point, direction


def _modular(geometry: ModularBeam) -> tuple[Array, Array]:
    rows = (np.arange(geometry.rows) - (geometry.rows - 1) / 2)[:, None, None]
    columns = (np.arange(geometry.columns) - (geometry.columns - 1) / 2)[:, None]
    source, center, row, column = (
        vector[:, None, None]
        for vector in (
            geometry.source,
            geometry.detector_center,
            geometry.row_vector,
            geometry.column_vector,
        )
    )
    return source, center + rows * row + columns * column - source
