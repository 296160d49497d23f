"""Nikon (X-Tek) cone-beam scans: an ``.xtekct`` text beside a folder of 16-bit TIFF projections.

The sample turns clockwise as seen from above; seen from it, the source turns the other way. Files
show the detector from behind: their first column lies on the right of who looks from the source.
Frames are flat-field corrected by the scanner; WhiteLevel is what air reads.
"""

from __future__ import annotations

import configparser
import glob
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ....kernels.ct.geometry import Geometry
from ...arrays import as_tensor
from ...scan import CTScan
from ..beam_geometry import make_geometry
from ..errors import FormatError
from ..frames import TiffFrames, files_like, require_name
from ..raw_file import Part, RawFile
from ..sniffing import start_of

NAME = "Nikon XTEK"
_LARGEST_FILE = 1 << 20
_LARGEST_COUNT = 1 << 20
_ROLL = 1e-6  # radians of the axis of rotation that are none


def matches(path: Path) -> bool:
    """Whether a text file has the section [XTekCT]."""
    return b"[XTekCT]" in start_of(path, 4096)


def open_file(path: Path) -> RawFile:
    """Look at the text and the first projection, in the folder it names or beside it."""
    said = _section(path)
    name = said.get("name", path.stem)
    # A folder's name is taken to lie here, whatever path leads there.
    inner = Path(said.get("inputfoldername", "").replace("\\", "/")).name
    here = path.parent
    folder = here / inner if inner not in ("", "..") and (here / inner).is_dir() else here
    count, rows, columns = (
        _count(said, key) for key in ("projections", "detectorpixelsy", "detectorpixelsx")
    )
    geometry = _geometry(said, count, rows, columns)
    header = {"format": NAME, "name": name}
    facts = {
        **header, "views": count, "frame": f"{rows} x {columns}", "geometry": repr(geometry),
        "magnification": f"{_number(said, 'srctodetector') / _number(said, 'srctoobject'):.4g}",
    }  # fmt: skip
    pattern = f"{glob.escape(name + said.get('inputseparator', '_'))}*.tif"
    require_name(folder, pattern)
    missing = () if any(folder.glob(pattern)) else (f"projections {pattern} in {folder.name}",)

    def take(part: Part) -> CTScan:
        frames = TiffFrames(files_like(folder, pattern))
        if frames.shape != (count, rows, columns):
            raise FormatError(
                path, "projections", f"are {frames.shape} (view, row, column), the text says "
                f"{(count, rows, columns)}",
            )  # fmt: skip
        counts = as_tensor(np.ascontiguousarray(frames.read()[:, ::-1, ::-1], np.float32))
        blank = torch.tensor(_number(said, "whitelevel"))
        return CTScan(counts=counts, blank=blank, geometry=geometry, header=header)

    return RawFile(NAME, {}, 4 * count * rows * columns, facts, take, missing)


def _section(path: Path) -> Mapping[str, str]:
    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        # The parser takes the square of the length of a run of spaces.
        text = re.sub(r"[^\S\n]+", " ", path.read_text("utf-8", "replace"))
        parser.read_string(text)
        return dict(parser["XTekCT"])
    except (configparser.Error, KeyError) as error:
        raise FormatError(path, "XTekCT", " ".join(str(error).split())) from error


def _number(said: Mapping[str, str], key: str, default: float | None = None) -> float:
    text = said.get(key, "")
    try:
        value = float(text) if text or default is None else default
    except ValueError:
        raise FormatError(None, key, f"is {text!r}, expected a number") from None
    if not math.isfinite(value):
        raise FormatError(None, key, f"is {text!r}, expected a finite number")
    return value


def _count(said: Mapping[str, str], key: str) -> int:
    value = _number(said, key)
    if not 0 < value <= _LARGEST_COUNT or value != int(value):
        raise FormatError(None, key, f"is {value:g}, expected a number of items")
    return int(value)


def _geometry(said: Mapping[str, str], count: int, rows: int, columns: int) -> Geometry:
    """A cone beam; a modular one where the axis of rotation is rolled against the columns.

    CentreOfRotation is where the axis meets the top and the bottom of the detector, in mm from its
    middle, to the left of who looks from the source.
    """
    isocenter, detector = _number(said, "srctoobject"), _number(said, "srctodetector")
    pitch = {axis: _number(said, f"detectorpixelsize{axis}") for axis in "xy"}
    if min(isocenter, detector, *pitch.values()) <= 0:
        raise FormatError(None, "XTekCT", f"distances {isocenter:g}, {detector:g}, pixels {pitch}")
    top, bottom = (_number(said, f"centreofrotation{end}", 0.0) for end in ("top", "bottom"))
    first, step = _number(said, "initialangle", 0.0), _number(said, "angularstep")
    angles = np.deg2rad(np.mod(first + step * np.arange(count), 360.0))
    roll, offset = math.atan2(top - bottom, rows * pitch["y"]), (top + bottom) / 2
    if abs(roll) < _ROLL:
        # A source beside the axis is a shifted detector, to the first order of the small angle.
        values = {
            "angles": angles, "rows": rows, "columns": columns, "row_spacing": pitch["y"],
            "column_spacing": pitch["x"], "source_to_isocenter": isocenter,
            "source_to_detector": detector, "column_offset": offset / pitch["x"],
        }  # fmt: skip
        return make_geometry("cone", values, "XTekCT")
    c, s, zero, one = np.cos(angles), np.sin(angles), np.zeros(count), np.ones(count)
    x, y, z = (np.stack(v, -1) for v in ((c, s, zero), (-s, c, zero), (zero, zero, one)))
    across = math.cos(roll) * x - math.sin(roll) * z  # the detector's, where z is the axis
    up = math.sin(roll) * x + math.cos(roll) * z
    beside = offset * isocenter / detector * across
    values = {
        "source": beside - isocenter * y, "detector_center": beside + (detector - isocenter) * y,
        "column_vector": pitch["x"] * across, "row_vector": pitch["y"] * up,
        "rows": rows, "columns": columns,
    }  # fmt: skip
    return make_geometry("modular", values, "XTekCT")
