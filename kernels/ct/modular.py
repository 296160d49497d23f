"""Any source and flat detector, given view by view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Array, Geometry, VolumeGrid, checked_count, frozen_array, set_fields


@dataclass(frozen=True, eq=False, repr=False)
class ModularBeam(Geometry):
    """Any source and flat detector, view by view: tilted, laminography, flying focal spot.

    Parameters
    ----------
    source, detector_center
        Positions ``(view, 3)`` as (x, y, z) in mm; the centre is the middle of the matrix.
    row_vector, column_vector
        Steps from one row and one column to the next, ``(view, 3)`` as (x, y, z) in mm.
    rows, columns
        Detector matrix.
    """

    source: Array
    detector_center: Array
    row_vector: Array
    column_vector: Array
    rows: int
    columns: int

    _per_view: ClassVar[tuple[str, ...]] = (
        "source",
        "detector_center",
        "row_vector",
        "column_vector",
    )

    def __post_init__(self) -> None:
        for name in self._per_view:
            value = frozen_array(name, getattr(self, name))
            if value.ndim != 2 or value.shape[1] != 3 or not len(value):
                raise ValueError(f"{name} must be (view, 3) in mm, got shape {value.shape}")
            set_fields(self, **{name: value})
        lengths = {name: len(getattr(self, name)) for name in self._per_view}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the vectors must have one row a view, got {lengths}")
        set_fields(
            self,
            rows=checked_count("rows", self.rows),
            columns=checked_count("columns", self.columns),
        )
        area = np.linalg.norm(np.cross(self.column_vector, self.row_vector), axis=1)
        if not np.all(area > 0):
            raise ValueError(f"row_vector and column_vector of view {area.argmin()} are parallel")
        if np.any(np.abs(self._distances(self.source)) <= 0):
            raise ValueError("a source lies in the plane of its detector")

    def _distances(self, point: Array) -> Array:
        """Signed distance in mm of a point to each detector plane, ``(view,)``."""
        normal = np.cross(self.column_vector, self.row_vector)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return np.asarray(np.sum((point - self.detector_center) * normal, axis=1))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(view, row, column)``."""
        return len(self.source), self.rows, self.columns

    @property
    def angles(self) -> Array:
        """Azimuth of the source in radians in the sense of the circular geometries, ``(view,)``."""
        return np.unwrap(np.arctan2(self.source[:, 0], -self.source[:, 1]))

    @property
    def isocenter(self) -> Array:
        """The point nearest to all central rays in mm, (x, y, z)."""
        ray = self.detector_center - self.source
        ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
        across = np.eye(3) - ray[:, :, None] * ray[:, None, :]
        pulled = np.einsum("vij,vj->i", across, self.source)
        return np.asarray(np.linalg.lstsq(across.sum(0), pulled, rcond=1e-6)[0])

    def default_volume(self) -> VolumeGrid:
        """Return a grid about the isocentre as large as the detector's shadow there."""
        full = np.abs(self._distances(self.source))
        scale = float(np.mean(1 - np.abs(self._distances(self.isocenter)) / full))
        pitch = float(np.linalg.norm(self.column_vector, axis=1).mean()) * scale
        z_pitch = float(np.linalg.norm(self.row_vector, axis=1).mean()) * scale
        x, y, z = (round(float(v), 6) for v in self.isocenter)
        shape = (self.rows, self.columns, self.columns)
        return VolumeGrid(shape, (z_pitch, pitch, pitch), (z, y, x))

    def __repr__(self) -> str:
        return f"ModularBeam({len(self)} views, {self.rows} rows x {self.columns} columns)"
