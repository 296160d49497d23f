"""Flat panels that turn about an axis, by RTK's nine parameters a projection (IEC 61217).

RTK's frame has y along the axis of rotation, towards the gantry, and z up; the CT frame is its
(x, -z, y), in which the gantry's angle is the view angle: head first and supine both are the
patient's. https://docs.openrtk.org, "3D circular projection geometry".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...kernels.ct.geometry import Geometry
from .beam_geometry import make_geometry
from .errors import FormatError

Array = NDArray[np.float64]

_TO_CT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_STRAIGHT = 1e-6  # radians, mm
_STILL = 0.02  # of a pixel, by which a panel may sway before views have geometries of their own


@dataclass(frozen=True)
class PanelViews:
    """Where source and panel stood, a value a view: degrees and mm, as RTK names them."""

    gantry_angle: Array
    source_to_isocenter: Array
    source_to_detector: Array
    projection_offset_x: Array
    projection_offset_y: Array
    out_of_plane_angle: Array
    in_plane_angle: Array
    source_offset_x: Array
    source_offset_y: Array


@dataclass(frozen=True)
class Panel:
    """The pixels: numbers, spacing and place of the first one in mm, all as (row, column)."""

    shape: tuple[int, int]
    spacing: tuple[float, float]
    origin: tuple[float, float]

    @property
    def middle(self) -> tuple[float, float]:
        """Place of the middle of the matrix in mm, (row, column)."""
        places = zip(self.origin, self.spacing, self.shape, strict=True)
        row, column = (start + (count - 1) / 2 * step for start, step, count in places)
        return row, column


def centred_panel(shape: tuple[int, int], spacing: tuple[float, float]) -> Panel:
    """A panel whose middle is the origin of its places."""
    row, column = (-(count - 1) / 2 * step for count, step in zip(shape, spacing, strict=True))
    return Panel(shape, spacing, (row, column))


def panel_geometry(views: PanelViews, panel: Panel, curved_radius: float = 0.0) -> Geometry:
    """A cone beam where the panel is square to the beam and does not sway, else a modular beam.

    Parameters
    ----------
    views, panel
        Where all stood.
    curved_radius
        Of a cylindrical detector, in mm; 0 is flat.

    Raises
    ------
    FormatError
        Parallel rays, a cylinder that is not about the source, values that make no geometry.
    """
    if float(np.abs(views.source_to_detector).min()) < _STRAIGHT:
        raise FormatError(None, "SourceToDetectorDistance", "is 0: parallel rays are not read")
    turned = max(float(np.abs(angle).max()) for angle in (views.out_of_plane_angle,
                                                         views.in_plane_angle))  # fmt: skip
    beside = max(float(np.abs(offset).max()) for offset in (views.source_offset_x,
                                                           views.source_offset_y))  # fmt: skip
    if max(turned, beside) < _STRAIGHT and _is_still(views, panel):
        return _cone(views, panel, curved_radius)
    if curved_radius:
        raise FormatError(
            None, "RadiusCylindricalDetector", "is read where source and detector turn together "
            "without offsets or tilts",
        )  # fmt: skip
    return _modular(views, panel)


def _is_still(views: PanelViews, panel: Panel) -> bool:
    room = _STILL * min(panel.spacing)
    still = (views.projection_offset_x, views.projection_offset_y, views.source_to_isocenter,
             views.source_to_detector)  # fmt: skip
    return max(float(np.ptp(values)) for values in still) < room


def _cone(views: PanelViews, panel: Panel, curved_radius: float) -> Geometry:
    mean = {f.name: float(getattr(views, f.name).mean()) for f in dataclasses.fields(views)}
    row, column = panel.middle
    if curved_radius:
        aside = abs(mean["projection_offset_x"])
        if abs(curved_radius - mean["source_to_detector"]) > 1e-3 or aside > _STRAIGHT:
            raise FormatError(
                None, "RadiusCylindricalDetector", f"is {curved_radius:g} mm, expected the "
                f"source's distance {mean['source_to_detector']:g} mm without offset along x",
            )  # fmt: skip
    arguments = {
        "angles": np.deg2rad(np.mod(views.gantry_angle, 360.0)),
        "rows": panel.shape[0], "columns": panel.shape[1],
        "row_spacing": panel.spacing[0], "column_spacing": panel.spacing[1],
        "source_to_isocenter": mean["source_to_isocenter"],
        "source_to_detector": mean["source_to_detector"],
        "row_offset": (row + mean["projection_offset_y"]) / panel.spacing[0],
        "column_offset": (column + mean["projection_offset_x"]) / panel.spacing[1],
        "detector": "curved" if curved_radius else "flat",
    }  # fmt: skip
    return make_geometry("cone", arguments, "geometry")


def _modular(views: PanelViews, panel: Panel) -> Geometry:
    turns = rotations(views)
    zero = np.zeros(len(views.gantry_angle))
    row, column = panel.middle

    def fixed(x: Array, y: Array, z: Array) -> Array:
        """From the panel's axes to the CT frame, ``(view, 3)``."""
        return np.asarray(np.einsum("ij,vkj,vk->vi", _TO_CT, turns, np.stack([x, y, z], 1)))

    values = {
        "source": fixed(views.source_offset_x, views.source_offset_y, views.source_to_isocenter),
        "detector_center": fixed(
            column + views.projection_offset_x, row + views.projection_offset_y,
            views.source_to_isocenter - views.source_to_detector,
        ),
        "row_vector": fixed(zero, zero + panel.spacing[0], zero),
        "column_vector": fixed(zero + panel.spacing[1], zero, zero),
        "rows": panel.shape[0], "columns": panel.shape[1],
    }  # fmt: skip
    return make_geometry("modular", values, "geometry")


def rotations(views: PanelViews) -> Array:
    """Rotations ``(view, 3, 3)`` from RTK's fixed frame to the axes of the panel."""
    gantry, out, inside = (
        -np.deg2rad(angle)
        for angle in (views.gantry_angle, views.out_of_plane_angle, views.in_plane_angle)
    )
    return np.asarray(_about(2, inside) @ _about(0, out) @ _about(1, gantry))


def _about(axis: int, angle: Array) -> Array:
    """Rotations about x, y or z, right-handed."""
    turn = np.zeros((len(angle), 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, one, one] = turn[:, two, two] = np.cos(angle)
    turn[:, two, one] = np.sin(angle)
    turn[:, one, two] = -np.sin(angle)
    return turn
