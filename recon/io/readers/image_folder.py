"""Folders of TIFF or EDF projections with a geometry in YAML.

A file such as ``scan.yaml`` beside the images::

    geometry:
      kind: cone                      # parallel, fan, cone, helical: the classes' arguments follow
      angles_deg: {first: 0, last: 360, count: 720}        # last excluded; or a list
      source_to_isocenter: 300.0      # mm
      source_to_detector: 1000.0
      column_spacing: 0.2
      row_spacing: 0.2
    projections: proj_*.tif           # or .edf; a view each by the numbers, or all in one
    blank: flat_*.tif                 # or a number
    dark: dark_*.tif                  # may be left out
    first_row: top                    # or bottom
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....kernels.ct.geometry import Geometry
from ...scan import CTScan
from ..beam_geometry import arguments_of, make_geometry
from ..edf import EdfFrames, is_edf
from ..errors import FormatError
from ..frames import TiffFrames, files_like
from ..raw_file import Part, RawFile
from ..sniffing import start_of

NAME = "TIFF projections with YAML"
_LARGEST_FILE = 1 << 22
_LARGEST_COUNT = 1 << 20
_KEYS = {"geometry", "projections", "blank", "dark", "first_row"}


def matches(path: Path) -> bool:
    """Whether a text file has a geometry and projections as its keys."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return False
    lines = start_of(path, 1 << 16).decode("utf-8", "replace").splitlines()
    keys = {line.split(":")[0] for line in lines if line[:1].isalpha()}
    return {"geometry", "projections"} <= keys


def open_file(path: Path) -> RawFile:
    """Look at the geometry and the first projection."""
    said = _yaml(path)
    projections = _frames(path.parent, str(said["projections"]))
    count, rows, columns = projections.shape
    on_top = said.get("first_row", "top") == "top"
    geometry = _geometry(said["geometry"], count, rows, columns)
    stacked = len(geometry.shape) == 2
    header = {"format": NAME}

    def take(part: Part) -> CTScan:
        items = part.get("slice", slice(None))
        chosen = _rows(items, rows, on_top)
        fields: dict[str, Any] = {"counts": projections.read(chosen)}
        for name in ("blank", "dark"):
            value = said.get(name)
            if isinstance(value, str):
                fields[name] = _frames(path.parent, value).read(chosen)
            elif value is not None:
                fields[name] = np.float32(value)
        for name, frames in fields.items():
            if np.ndim(frames) == 3:
                fields[name] = _arranged(frames, on_top, stacked, isinstance(items, slice))
        return CTScan(**fields, geometry=geometry, header=header)

    missing = () if "blank" in said else ("readings without object: blank, files or a number",)
    return RawFile(
        format=NAME,
        axes={"slice": rows} if stacked else {},
        size=4 * count * rows * columns,
        facts={**header, "geometry": repr(geometry), "frame": f"{rows} x {columns}"},
        take=take,
        missing=missing,
    )


def _frames(folder: Path, pattern: str) -> TiffFrames | EdfFrames:
    files = files_like(folder, pattern)
    return EdfFrames(files) if is_edf(files[0]) else TiffFrames(files)


def _yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    text = path.read_text("utf-8", "replace")
    try:
        found = yaml.load(text, Loader=_plain_loader())
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FormatError(path, "YAML", str(error)) from error
    if not isinstance(found, dict) or not {"geometry", "projections"} <= set(found):
        raise FormatError(path, "YAML", "needs geometry and projections")
    if unknown := set(map(str, found)) - _KEYS:
        raise FormatError(path, "YAML", f"unknown {', '.join(sorted(unknown))}; known: "
                          f"{', '.join(sorted(_KEYS))}")  # fmt: skip
    if not isinstance(found["geometry"], dict):
        raise FormatError(path, "geometry", "is no table")
    return found


def _plain_loader() -> Any:
    """YAML's safe loader without aliases, by which a few lines stand for millions of values.

    Whole numbers are Python's: YAML's of base 60 (1:30:00) take the square of their length.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not taken here")
            return super().compose_node(parent, index)

    Loader.add_constructor(
        "tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node), 0)
    )
    return Loader


def _geometry(said: Mapping[str, Any], count: int, rows: int, columns: int) -> Geometry:
    values = {**said, "rows": rows, "columns": columns}
    angles = values.pop("angles_deg", None)
    if isinstance(angles, dict):
        try:
            first, last, views = (float(angles[name]) for name in ("first", "last", "count"))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(None, "angles_deg", f"needs first, last and count: {error}") from None
        if not 0 < views < _LARGEST_COUNT:
            raise FormatError(None, "angles_deg", f"count is {views:g}")
        angles = first + (last - first) * np.arange(int(views)) / int(views)
    if angles is not None:
        values["angles"] = np.deg2rad(np.asarray(angles, np.float64))
    kind = str(values.pop("kind", "parallel"))
    known = arguments_of(kind)
    # Every geometry has rows or none: both sizes are the files' own.
    if known and (unknown := set(map(str, values)) - {*known, "rows", "columns"}):
        raise FormatError(
            None, "geometry", f"{kind} has no {', '.join(sorted(unknown))}; it has angles_deg, "
            f"{', '.join(known)}",
        )  # fmt: skip
    geometry = make_geometry(kind, values, "geometry")
    if geometry.shape[0] != count:
        raise FormatError(None, "geometry", f"has {geometry.shape[0]} views, there are {count}")
    return geometry


def _rows(items: int | slice, rows: int, on_top: bool) -> slice:
    """Rows of the files for rows counted from the bottom of the detector upward."""
    chosen = range(rows)[items] if isinstance(items, slice) else range(items, items + 1)
    if not on_top:
        return slice(chosen.start, chosen[-1] + 1, chosen.step)
    return slice(rows - 1 - chosen[-1], rows - chosen.start, chosen.step)


def _arranged(
    frames: NDArray[Any], on_top: bool, stacked: bool, keep_axis: bool
) -> NDArray[np.float32]:
    """Rows upward; of parallel and fan beams ``(row, view, column)``."""
    frames = frames[:, ::-1] if on_top else frames
    if stacked:
        frames = np.swapaxes(frames, 0, 1)
        frames = frames if keep_axis else frames[0]
    return np.ascontiguousarray(frames, np.float32)
