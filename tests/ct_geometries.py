"""Small scans of every geometry, off centre in all that may be off centre."""

from __future__ import annotations

import numpy as np

from spinray.kernels.ct.geometry import (
    ConeBeam,
    FanBeam,
    HelicalBeam,
    ModularBeam,
    ParallelBeam,
    VolumeGrid,
)


def turn(views, span=2 * np.pi):
    return np.arange(views) * span / views + 0.1


def modular(views=9, rows=12, columns=30, tilt=0.3):
    """A laminography-like orbit: source above, detector tilted."""
    t = turn(views)
    ray = np.stack([-np.sin(t), np.cos(t), np.full(views, -tilt)], 1)
    column = np.stack([np.cos(t), np.sin(t), 0 * t], 1)
    row = np.cross(column, ray) / np.linalg.norm(ray, axis=1, keepdims=True)
    return ModularBeam(-120 * ray, 90 * ray, 2.1 * row, 2.3 * column, rows, columns)


FAN = {"columns": 90, "column_spacing": 2.1, "source_to_isocenter": 120.0}
FAN |= {"source_to_detector": 210.0}
CONE = {"rows": 14, "columns": 40, "row_spacing": 3.1, "column_spacing": 4.3}
CONE |= {"source_to_isocenter": 120.0, "source_to_detector": 210.0}
PLANE = VolumeGrid((45, 70), (1.3, 0.9), (3.0, -4.0))
BOX = VolumeGrid((19, 37, 33), (2.1, 1.6, 1.9), (1.5, 3.0, -2.0))
GEOMETRIES = {
    "parallel": (ParallelBeam(turn(21, np.pi), 81, 1.1, 2.3), PLANE),
    "fan flat": (FanBeam(turn(21), **FAN, column_offset=0.25), PLANE),
    "fan curved": (FanBeam(turn(21), **FAN, detector="curved", column_offset=-1.25), PLANE),
    "cone flat": (ConeBeam(turn(9), **CONE, row_offset=0.7, column_offset=0.25), BOX),
    "cone curved": (ConeBeam(turn(9), **CONE, detector="curved", row_offset=-0.5), BOX),
    "helical": (HelicalBeam(turn(20, 4 * np.pi), **CONE, detector="curved", pitch=9.0), BOX),
    "modular": (modular(), BOX),
}
