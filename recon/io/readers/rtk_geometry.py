"""RTK: projections with their 3D circular geometry in XML (https://www.openrtk.org).

Stacks of real numbers are line integrals, as RTK's own tools write them; whole numbers are
readings, which need `blank`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...scan import CTScan
from ..errors import FormatError
from ..frames import TiffFrames, files_like
from ..metaimage import MetaImage, is_metaimage, open_metaimage
from ..panel_geometry import Panel, PanelViews, centred_panel, panel_geometry
from ..raw_file import Part, RawFile
from ..sniffing import start_of
from ..xml_values import local_name, number_in, read_xml

NAME = "RTK geometry"
_ROOT = "RTKThreeDCircularGeometry"
# Elements of the file by the names of `PanelViews`; all but the first may be missing.
_ELEMENTS = {
    "gantry_angle": "GantryAngle", "source_to_isocenter": "SourceToIsocenterDistance",
    "source_to_detector": "SourceToDetectorDistance", "projection_offset_x": "ProjectionOffsetX",
    "projection_offset_y": "ProjectionOffsetY", "out_of_plane_angle": "OutOfPlaneAngle",
    "in_plane_angle": "InPlaneAngle", "source_offset_x": "SourceOffsetX",
    "source_offset_y": "SourceOffsetY",
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether an XML file names RTK's geometry near its start."""
    return _ROOT.encode() in start_of(path, 4096)


def open_file(
    path: Path,
    projections: str | None = None,
    spacing: tuple[float, float] | float | None = None,
    blank: float | None = None,
) -> RawFile:
    """Look at the geometry and the projections beside it.

    Parameters
    ----------
    path
        The geometry's file.
    projections
        Name or pattern of the projections in its folder. Default: the one .mha or .mhd file, else
        all .tif files by the numbers in their names.
    spacing
        Pixel size in mm, (row, column), of projections that do not say it; their middle is then
        the origin.
    blank
        What the detector reads without object, for readings.
    """
    views, radius = read_geometry(path)
    count = len(views.gantry_angle)
    frames = _frames(path, projections)
    header = {"format": NAME}
    facts: dict[str, Any] = {**header, "views": count}
    if frames is None:
        name = projections or "*.mha, *.mhd or *.tif"
        missing = (f"projections {name}",)
        return RawFile(NAME, {}, 0, facts, lambda part: _refuse(path, name), missing)
    shape = frames.shape if isinstance(frames, TiffFrames) else _stack_shape(frames)
    if shape[0] != count:
        raise FormatError(path, _ROOT, f"has {count} projections, the images {shape[0]}")
    panel = _panel(frames, spacing)
    lacks = []
    if panel is None:
        lacks.append("pixel size: spacing=, in mm")
    else:
        facts["geometry"] = repr(panel_geometry(views, panel, radius))
    readings = frames.dtype.kind in "iu"
    if readings and blank is None:
        lacks.append("what the detector reads without object: blank=")

    def take(part: Part) -> CTScan:
        if lacks or panel is None:
            raise FormatError(path, "", f"lacks {'; '.join(lacks)}")
        data = np.array(frames.read(), np.float32).reshape(shape)
        geometry = panel_geometry(views, panel, radius)
        if readings:
            return CTScan(
                counts=torch.from_numpy(data), blank=torch.tensor(float(blank or 0)),
                geometry=geometry, header=header,
            )  # fmt: skip
        return CTScan(torch.from_numpy(data), geometry, header=header)

    facts |= {
        "frame": f"{shape[1]} x {shape[2]}",
        "projections": "readings" if readings else "line integrals",
    }
    return RawFile(NAME, {}, 4 * int(np.prod(shape, dtype=object)), facts, take, tuple(lacks))


def read_geometry(path: Path) -> tuple[PanelViews, float]:
    """Parameters of all projections, and the radius of a cylindrical detector (0: flat).

    Raises
    ------
    FormatError
        Another or a broken file, no projections, missing distances.
    """
    root = read_xml(path)
    if local_name(root) != _ROOT:
        raise FormatError(path, "XML", f"has the root {local_name(root)}, expected {_ROOT}")
    shared = {local_name(e): (e.text or "").strip() for e in root if not len(e)}
    own = [
        {local_name(e): (e.text or "").strip() for e in projection}
        for projection in root
        if local_name(projection) == "Projection"
    ]
    if not own:
        raise FormatError(path, "Projection", "missing: no views")
    columns = {}
    for name, element in _ELEMENTS.items():
        # Zero is the default of all but distances and angles of the gantry.
        needed = name in ("gantry_angle", "source_to_isocenter", "source_to_detector")
        columns[name] = np.array(
            [number_in({**shared, **view}, element, None if needed else 0.0) for view in own]
        )
    return PanelViews(**columns), number_in(shared, "RadiusCylindricalDetector", 0.0)


def _frames(path: Path, pattern: str | None) -> TiffFrames | MetaImage | None:
    """The projections; None where there are none."""
    if pattern is None:
        stacks = [p for p in path.parent.iterdir() if p.suffix.lower() in (".mha", ".mhd")]
        if len(stacks) > 1:
            names = ", ".join(sorted(p.name for p in stacks)[:4])
            raise FormatError(path, "", f"lies beside {names}: projections= names the right one")
        if stacks:
            return open_metaimage(stacks[0])
        pattern = "*.tif"
        if not any(path.parent.glob(pattern)):
            return None
    files = files_like(path.parent, pattern)
    if len(files) == 1 and is_metaimage(files[0]):
        return open_metaimage(files[0])
    return TiffFrames(files)


def _stack_shape(stack: MetaImage) -> tuple[int, int, int]:
    shape = stack.shape if len(stack.shape) == 3 else (1, *stack.shape)
    if len(shape) != 3:
        raise FormatError(stack.file, "DimSize", f"is {shape}, expected (view, row, column)")
    return shape


def _panel(frames: TiffFrames | MetaImage, spacing: Any) -> Panel | None:
    if isinstance(frames, MetaImage):
        rows, columns = frames.shape[-2:]
        row, column = frames.spacing[-2:]
        if min(row, column) <= 0:
            raise FormatError(frames.file, "ElementSpacing", f"is {frames.spacing}")
        return Panel((rows, columns), (row, column), (frames.origin[-2], frames.origin[-1]))
    if spacing is None:
        return None
    pair = np.broadcast_to(np.asarray(spacing, float), (2,))
    if not (np.isfinite(pair).all() and pair.min() > 0):
        raise ValueError(f"spacing must be positive mm, (row, column), got {spacing}")
    return centred_panel((frames.shape[1], frames.shape[2]), (float(pair[0]), float(pair[1])))


def _refuse(path: Path, name: str) -> CTScan:
    raise FormatError(path, "", f"has no projections beside it ({name})")
