"""NeXus tomography (NXtomo, and the files of beamlines that write its parts): parallel beam.

https://manual.nexusformat.org/classes/applications/NXtomo.html: frames by image_key (0 projection,
1 flat, 2 dark, 3 invalid) and an angle each. Data often lie in other files, linked from this one:
those in its folder are read, no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...scan import CTScan
from ..beam_geometry import make_geometry
from ..errors import FormatError
from ..hdf5 import dataset, looks_like, open_hdf5, read_array
from ..projections import angles_in, length_in, with_dead_pixels
from ..raw_file import Part, RawFile

NAME = "NeXus tomography"
_DEPTH = 6
_LARGEST_LISTING = 10000
_ANGLE_NAMES = ("rotation_angle", "rotation", "theta")
_PROJECTION, _FLAT, _DARK = 0, 1, 2


@dataclass(frozen=True)
class _Place:
    """A dataset, in this file or in one beside it."""

    path: Path
    name: str


def matches(path: Path) -> bool:
    """Whether some group of an HDF5 file has an image_key."""
    return looks_like(path, lambda file: bool(_keyed(file)))


def open_file(path: Path) -> RawFile:
    """Look at a scan; the rows of the detector become slices: ``(row, view, column)``."""
    with open_hdf5(path) as file:
        keyed = _keyed(file)
        if not keyed:
            raise FormatError(None, "", "has no group with an image_key")
        present = [group for group in keyed if _resolve(path, file, f"{group}/data") is not None]
        if not present:
            raise FormatError(None, keyed[0], "its data are missing, or in a file that is not here")
        detector = present[0]
        frames = _resolve(path, file, f"{detector}/data")
        assert frames is not None
        keys = read_array(file, f"{detector}/image_key", "iu").ravel()
        sizes = [_pixel_size(file, detector, axis) for axis in "xy"]
        angle = _angles(path, file, detector, len(keys))
    with open_hdf5(frames.path) as file:
        node = dataset(file, frames.name)
        if node.ndim != 3 or node.shape[0] != len(keys) or 0 in node.shape:
            raise FormatError(
                None, frames.name, f"has shape {node.shape}, expected ({len(keys)} keys, y, x)"
            )
        shape = node.shape
    header: dict[str, Any] = {"format": NAME, "detector": detector}
    header["rotation_axis"] = "not in the file, the detector's middle assumed"
    if sizes[0] is None:
        header["pixel_size"] = "not in the file, 1 mm assumed"
    missing = []
    counts = {name: int((keys == key).sum()) for name, key in
              (("projections", _PROJECTION), ("flats", _FLAT), ("darks", _DARK))}  # fmt: skip
    if angle is None:
        missing.append("rotation angles: no dataset named rotation_angle or theta beside the data")
    if not counts["flats"]:
        missing.append("flat fields: no frame has image_key 1")

    def take(part: Part) -> CTScan:
        if angle is None or not counts["flats"] or not counts["projections"]:
            raise FormatError(None, detector, "; ".join(missing) or "holds no projections")
        return _read(frames, keys, angle, part, sizes, header)

    return RawFile(
        format=NAME,
        axes={"slice": shape[1]},
        size=4 * counts["projections"] * shape[1] * shape[2],
        facts={**header, **counts, "frame": f"{shape[1]} x {shape[2]}"},
        take=take,
        missing=tuple(missing),
    )


def _read(
    frames: _Place,
    keys: NDArray[np.int64],
    angle: _Place,
    part: Part,
    sizes: list[float | None],
    header: dict[str, Any],
) -> CTScan:
    items = part.get("slice", slice(None))
    rows = items if isinstance(items, slice) else slice(items, items + 1)
    with open_hdf5(angle.path) as file:
        angles = angles_in(file, angle.name)
    with open_hdf5(frames.path) as file:
        data = read_array(file, frames.name, index=(slice(None), rows))
    fields = {}
    for name, key in (("counts", _PROJECTION), ("blank", _FLAT), ("dark", _DARK)):
        if (keys == key).any():
            chosen = np.swapaxes(data[keys == key], 0, 1).astype(np.float32)
            fields[name] = chosen if isinstance(items, slice) else chosen[0]
    geometry = make_geometry(
        "parallel",
        {
            "angles": angles[keys == _PROJECTION],
            "columns": data.shape[-1],
            "column_spacing": sizes[0] or 1.0,
        },
        angle.name,
    )
    return with_dead_pixels(
        CTScan(**fields, geometry=geometry, slice_spacing=sizes[1] or 1.0, header=header)
    )


def _keyed(file: h5py.File) -> list[str]:
    """Groups that have an image_key of their own, not through a link."""
    found: list[str] = []
    pending, room = [("", file["/"], 0)], _LARGEST_LISTING
    while pending:
        prefix, group, depth = pending.pop()
        for name in group:
            room -= 1
            if room < 0:
                return sorted(found)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            if name == "image_key":
                found.append(prefix)
            elif group.get(name, getclass=True) is h5py.Group and depth < _DEPTH:
                pending.append((f"{prefix}/{name}".strip("/"), group[name], depth + 1))
    return sorted(found)


def _resolve(path: Path, file: h5py.File, name: str) -> _Place | None:
    """Where a dataset is: here, or behind one link in a file of this one's folder."""
    parent, _, last = name.rpartition("/")
    group = file.get(parent or "/", getlink=False) if _is_here(file, parent) else None
    if not isinstance(group, h5py.Group):
        return None
    link = group.get(last, getlink=True)
    if isinstance(link, h5py.HardLink):
        return _Place(path, name)
    if isinstance(link, h5py.SoftLink):
        target = link.path if link.path.startswith("/") else f"{parent}/{link.path}"
        return _Place(path, target.strip("/")) if _is_here(file, target) else None
    if not isinstance(link, h5py.ExternalLink):
        return None
    beside = (path.parent / link.filename).resolve()
    if not beside.is_relative_to(path.parent.resolve()):
        raise FormatError(None, name, f"links to {link.filename!r}, out of the folder: refused")
    if not beside.is_file():
        return None
    return _Place(beside, link.path.strip("/"))


def _is_here(file: h5py.File, name: str) -> bool:
    """Whether a path leads through hard links only."""
    group: Any = file["/"]
    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group):
            return False
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return False
        group = group[part]
    return True


def _angles(path: Path, file: h5py.File, detector: str, count: int) -> _Place | None:
    """The dataset of as many angles as there are frames."""
    entry, last = detector.split("/")[0], detector.split("/")[-1]
    groups = [
        f"{entry}/sample",
        detector,
        f"{entry}/{last}",
        f"{entry}/data",
        f"{entry}/tomo_entry",
    ]
    for group in groups:
        if not _is_here(file, group) or not isinstance(file.get(group), h5py.Group):
            continue
        for wanted in _ANGLE_NAMES:
            for name in file[group]:
                if wanted in name.lower():
                    place = _resolve(path, file, f"{group}/{name}")
                    if place is not None and _has_length(place, count):
                        return place
    return None


def _has_length(place: _Place, count: int) -> bool:
    with open_hdf5(place.path) as file:
        node = file.get(place.name) if _is_here(file, place.name) else None
        return isinstance(node, h5py.Dataset) and node.size == count


def _pixel_size(file: h5py.File, detector: str, axis: str) -> float | None:
    """Pixel size in mm, where the file says it."""
    name = f"{detector}/{axis}_pixel_size"
    if not _is_here(file, name) or not isinstance(file.get(name), h5py.Dataset):
        return None
    return length_in(file, name)
