"""CTSimU: cone-beam projections with a scenario in JSON (https://bamresearch.github.io/ctsimu-scenarios).

The metadata file names the projections, flat and dark fields; the scenario beside it says where
source, detector and stage stand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...scan import CTScan
from ..beam_geometry import make_geometry
from ..errors import FormatError
from ..raw_file import Part, RawFile
from ..sniffing import start_of

NAME = "CTSimU"
_LARGEST_FILE = 1 << 24
_TO_MM = {"mm": 1.0, "m": 1e3, "cm": 10.0, "um": 1e-3}
_TO_RADIANS = {"deg": np.pi / 180, "rad": 1.0}
_STRAIGHT = 1e-6
_NUMBERED = re.compile(r"%(0?\d)?d")  # a place for the number of a file; wider ones are bombs


def matches(path: Path) -> bool:
    """Whether a JSON file says that it is CTSimU's metadata, or the scenario beside it."""
    start = start_of(path, 4096)
    kinds = b'"CTSimU Metadata"', b'"CTSimU Scenario"'
    return start.lstrip()[:1] == b"{" and any(kind in start for kind in kinds)


def open_file(path: Path) -> RawFile:
    """Look at the metadata and the scenario that they name."""
    metadata = _json(path)
    if _get(metadata, path, "file").get("file_type") == "CTSimU Scenario":
        raise FormatError(path, "file_type", "CTSimU Scenario: open the metadata that names it")
    said = _get(metadata, path, "output", "projections")
    scenario_name = str(_get(metadata, path, "acquisition_geometry", "path_to_CTSimU_JSON"))
    # Names are taken to lie in this folder, whatever path leads there.
    scenario = _json(path.with_name(Path(scenario_name.replace("\\", "/")).name))
    shape = tuple(int(_get(said, path, "dimensions", axis, "value")) for axis in "yx")
    count = int(_get(said, path, "number"))
    if min(*shape, count) < 1:
        raise FormatError(None, "dimensions", f"{count} projections of {shape}")
    geometry = _geometry(scenario, path, said, shape, count)
    header = {"format": NAME, "name": str(_get(metadata, path, "file").get("name", ""))}

    def take(part: Part) -> CTScan:
        fields: dict[str, Any] = {
            "counts": _frames(path, said, str(said["filename"]), count, shape)
        }
        for name, key in (("blank", "flat_field"), ("dark", "dark_field")):
            known = said.get(key) or {}
            if known.get("filename") and not known.get("projections_corrected"):
                fields[name] = _fields(path, said, known, shape)
        if "blank" not in fields:
            fields["blank"] = np.float32(said.get("max_intensity") or 1)
        return CTScan(**fields, geometry=geometry, header=header)

    facts = {**header, "views": count, "frame": f"{shape[0]} x {shape[1]}"}
    return RawFile(NAME, {}, 4 * count * shape[0] * shape[1], facts, take)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FormatError(path, "", "missing beside the metadata")
    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(path, "JSON", str(error)) from error
    if not isinstance(found, dict):
        raise FormatError(path, "JSON", "holds no table")
    return found


def _get(table: Any, path: Path, *names: str) -> Any:
    for i, name in enumerate(names):
        if not isinstance(table, dict) or table.get(name) is None:
            raise FormatError(path, "/".join(names[: i + 1]), "missing")
        table = table[name]
    return table


def _fields(
    path: Path, said: dict[str, Any], known: dict[str, Any], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Flat or dark fields: one file of all, or one each by a pattern such as ``_%04d``."""
    name, number = str(known["filename"]), int(known.get("number") or 1)
    if "%" not in name:
        return _frames(path, said, name, number, shape)
    if not 0 < number < 10000 or name.count("%") != 1 or not _NUMBERED.search(name):
        raise FormatError(path, name, f"names {number} files, expected a number such as %04d")
    parts = [_frames(path, said, name % i, 1, shape) for i in range(number)]
    return np.concatenate(parts)


def _frames(
    path: Path, said: dict[str, Any], name: str, count: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Raw binary frames, upside down as our rows run upward."""
    file = path.with_name(Path(name.replace("\\", "/")).name)
    dtype = np.dtype(str(said.get("datatype", "uint16")))
    dtype = dtype.newbyteorder("<" if said.get("byteorder", "little") == "little" else ">")
    sizes = said.get("headersize") or {}
    start, gap = int(sizes.get("file") or 0), int(sizes.get("image") or 0)
    frame = int(np.prod(shape)) * dtype.itemsize
    if dtype.kind not in "iuf" or start < 0 or gap < 0:
        raise FormatError(path, "projections", f"datatype {dtype}, headers of {start} and {gap}")
    if not file.is_file():
        raise FormatError(file, "", "missing beside the metadata")
    if file.stat().st_size < start + count * (gap + frame):
        raise FormatError(
            file, "", f"holds {file.stat().st_size} bytes, {count} frames of {shape} {dtype} take "
            f"{start + count * (gap + frame)}",
        )  # fmt: skip
    stored = np.fromfile(file, np.uint8, count * (gap + frame), offset=start)
    frames = np.ascontiguousarray(stored.reshape(count, gap + frame)[:, gap:]).view(dtype)
    return frames.reshape(count, *shape)[:, ::-1].astype(np.float32)


def _geometry(
    scenario: dict[str, Any],
    path: Path,
    said: dict[str, Any],
    shape: tuple[int, ...],
    count: int,
) -> Any:
    """A cone beam where detector and axis are square to the beam, else a modular beam.

    The stage turns the object; seen from the object, source and detector turn the other way.
    """
    places = _get(scenario, path, "geometry")
    source = _vector(places, path, "source", "center")
    detector = _vector(places, path, "detector", "center")
    stage = _vector(places, path, "stage", "center")
    u, normal = (_unit(places, path, "detector", name) for name in ("vector_u", "vector_w"))
    axis = _unit(places, path, "stage", "vector_w")
    up = -np.cross(normal, u)  # images have their first row on top
    pitch = [float(_get(said, path, "pixelsize", a, "value")) for a in "xy"]
    acquisition = _get(scenario, path, "acquisition")
    first, last = (_angle(acquisition, path, name) for name in ("start_angle", "stop_angle"))
    whole = int(_get(acquisition, path, "number_of_projections"))
    steps = whole - 1 if acquisition.get("include_final_angle") else whole
    turn = -1.0 if str(acquisition.get("direction", "CCW")).upper() == "CW" else 1.0
    angles = first + turn * (last - first) * np.arange(count) / max(steps, 1)
    to_source, to_detector = source - stage, detector - stage
    along = (to_detector - to_source) / np.linalg.norm(to_detector - to_source)
    square = (abs(along @ axis), abs(u @ axis), 1 - abs(along @ normal))
    beside = float(np.linalg.norm(np.cross(along, to_source)))
    if max(*map(float, square), beside) < _STRAIGHT:
        # In our frame the source stands at (sin t, -cos t) and columns run along (cos t, sin t).
        x = np.cross(axis, along)
        sign = float(np.sign(x @ -u)) or 1.0
        zero = np.arctan2(-along @ [1, 0, 0], along @ [0, 1, 0]) if axis[2] > 0.999 else 0.0
        columns = {"columns": shape[1], "column_spacing": pitch[0]}
        rows = {"rows": shape[0], "row_spacing": pitch[1]}
        if sign > 0:
            return make_geometry(
                "cone",
                {
                    "angles": zero - angles,
                    **rows,
                    **columns,
                    "source_to_isocenter": float(np.linalg.norm(to_source)),
                    "source_to_detector": float(np.linalg.norm(detector - source)),
                },
                "geometry",
            )
    frame = _frame(axis)
    vectors = [frame @ v for v in (to_source, to_detector, pitch[1] * up, pitch[0] * u)]
    turned = [_turned(v, -angles) for v in vectors]
    names = ("source", "detector_center", "row_vector", "column_vector")
    values = dict(zip(names, turned, strict=True))
    return make_geometry("modular", {**values, "rows": shape[0], "columns": shape[1]}, "geometry")


def _frame(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation that brings the axis of rotation to z; the identity where it is there."""
    z = axis
    x = np.array([1.0, 0, 0]) - z[0] * z
    x = x / np.linalg.norm(x) if np.linalg.norm(x) > 0.1 else np.cross([0, 1.0, 0], z)
    return np.stack([x, np.cross(z, x), z])


def _turned(vector: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    c, s = np.cos(angles), np.sin(angles)
    x, y, z = vector
    return np.stack([c * x - s * y, s * x + c * y, np.full_like(c, z)], axis=-1)


def _vector(places: Any, path: Path, part: str, name: str) -> NDArray[np.float64]:
    found = []
    for axis in "xyz":
        value = _get(places, path, part, name, axis)
        scale = _TO_MM.get(str(value.get("unit", "mm")))
        if scale is None:
            raise FormatError(path, f"{part}/{name}", f"has unit {value.get('unit')!r}")
        found.append(float(_get(value, path, "value")) * scale)
    return np.array(found)


def _unit(places: Any, path: Path, part: str, name: str) -> NDArray[np.float64]:
    vector = np.array(
        [float(_get(places, path, part, name, axis, "value")) for axis in "xyz"], np.float64
    )
    length = float(np.linalg.norm(vector))
    if not 1e-9 < length < 1e9:
        raise FormatError(path, f"{part}/{name}", f"is {vector.tolist()}, expected a direction")
    return vector / length


def _angle(acquisition: Any, path: Path, name: str) -> float:
    said = _get(acquisition, path, name)
    scale = _TO_RADIANS.get(str(said.get("unit", "deg")), _TO_RADIANS["deg"])
    return float(_get(said, path, "value")) * scale
