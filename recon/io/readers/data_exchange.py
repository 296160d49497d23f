"""Data Exchange HDF5 of synchrotron tomography: https://dxfile.readthedocs.io.

Readings lie in ``exchange/data`` ``(theta, y, x)`` with ``data_white`` and ``data_dark``. What
Spinray writes has also a group ``spinray``, which other readers pass over:

``spinray/geometry``
    attribute ``kind`` (parallel, fan, cone, helical, modular) and the arguments of the
    geometry's class as datasets (mm, radians).
``spinray/volume``
    the arguments of the grid, where the scan has one.
``spinray/sinogram``
    line integrals, where they are not those of the readings.
``spinray/photons``
    photons a ray without object, where the scan says it, shaped as `CTScan` has them.

Its attributes are slice_spacing, stack, affine (from the CT frame to the patient's) and what
matters of the protocol: patient_position, kvp, water.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ....kernels.ct.geometry import Geometry
from ...ct.corrections import line_integrals
from ...scan import CTScan
from ..atomic import HDF5_ROOM, atomic
from ..beam_geometry import fields_of, kind_of, make_geometry, make_grid
from ..errors import FormatError
from ..hdf5 import (
    attribute,
    dataset,
    find,
    has,
    looks_like,
    number_kind,
    open_hdf5,
    read_array,
    read_text,
)
from ..projections import angles_in, length_in, with_dead_pixels
from ..raw_file import Part, RawFile

NAME = "Data Exchange HDF5"
_LINE_INTEGRALS = "line integrals"
_ONE_ROW = ("parallel", "fan")
_AXES = ("theta", "y", "x")
_TEXT = {"title": "exchange/title", "sample": "measurement/sample/name"}  # of the header
_PROTOCOL = {"patient_position": str, "kvp": float, "water": float}  # of the header


def matches(path: Path) -> bool:
    """Whether an HDF5 file has ``exchange/data``."""
    return looks_like(path, lambda file: find(file, "exchange/data") is not None)


def open_file(path: Path, angles: Any = None) -> RawFile:
    """Look at a scan; the rows of a parallel beam become slices: ``(row, view, column)``.

    Parameters
    ----------
    path
        The file.
    angles
        View angles in radians, ``(view,)``, in place of ``exchange/theta``.
    """
    with open_hdf5(path) as file:
        node, order = _frames_of(file, "exchange/data")
        views, rows, columns = (node.shape[order.index(axis)] for axis in _AXES)
        own = isinstance(find(file, "spinray/geometry"), h5py.Group)
        header = {"format": NAME, **_facts(file)}
        missing = []
        if not (own or angles is not None or has(file, "exchange/theta")):
            missing.append("view angles: exchange/theta; load(path, angles=...) takes radians")
        if not has(file, "exchange/data_white") and not _is_line_integrals(file):
            missing.append("white field: exchange/data_white")
        if not own:
            header["rotation_axis"] = "not in the file, the detector's middle assumed"
            if _pixel_size(file, "x") is None:
                header["pixel_size"] = "not in the file, 1 mm assumed"
        stacked = not own or _kind_in(file["spinray/geometry"]) in _ONE_ROW
        single = has(file, "spinray") and not attribute(file["spinray"], "stack", True)
    return RawFile(
        format=NAME,
        axes={"slice": rows} if stacked and not single else {},
        size=4 * views * rows * columns,
        facts={**header, "views": views, "detector": f"{rows} x {columns}"},
        take=lambda part: _read(path, part, header, angles),
        missing=tuple(missing),
    )


def _read(path: Path, part: Part, header: dict[str, Any], angles: Any) -> CTScan:
    with open_hdf5(path) as file:
        geometry = _geometry(file, angles)
        stacked = len(geometry.shape) == 2
        rows = part.get("slice", slice(None))
        data = _projections(file, "exchange/data", rows)
        fields: dict[str, Any] = {"geometry": geometry, "header": header}
        if _is_line_integrals(file):
            fields["sinogram"] = _rows_first(data) if stacked else data
        else:
            for name, key in (("counts", "data"), ("blank", "data_white"), ("dark", "data_dark")):
                if name == "dark" and not has(file, f"exchange/{key}"):
                    continue
                frames = data if key == "data" else _projections(file, f"exchange/{key}", rows)
                if frames.shape[1:] != data.shape[1:]:
                    raise FormatError(
                        None, f"exchange/{key}", f"has frames of {frames.shape[1:]}, "
                        f"exchange/data of {data.shape[1:]}",
                    )  # fmt: skip
                fields[name] = _rows_first(frames) if stacked else frames
            if has(file, "spinray/sinogram"):
                index = (rows,) if part else ()
                fields["sinogram"] = read_array(file, "spinray/sinogram", "f", index)
        if has(file, "spinray"):
            fields |= _own(file, fields, rows)
        else:
            fields["slice_spacing"] = _pixel_size(file, "y") or 1.0
    if stacked and not isinstance(rows, slice):
        for name in ("sinogram", "counts", "blank", "dark"):
            if name in fields and fields[name].ndim > 2:
                fields[name] = fields[name][0]
    return with_dead_pixels(CTScan(**fields))


def _is_line_integrals(file: h5py.File) -> bool:
    return bool(attribute(file["exchange/data"], "description", "") == _LINE_INTEGRALS)


def _frames_of(file: h5py.File, name: str) -> tuple[h5py.Dataset, list[str]]:
    """A dataset of frames and the order of its axes, whatever its axes attribute says."""
    node = dataset(file, name)
    if number_kind(node) not in "biuf":
        raise FormatError(None, name, f"holds {node.dtype}, expected numbers")
    if node.ndim != 3 or 0 in node.shape:
        raise FormatError(None, name, f"has shape {node.shape}, expected (theta, y, x)")
    order = [axis.split("_")[0].strip() for axis in str(attribute(node, "axes", "")).split(":")]
    return node, order if sorted(order) == sorted(_AXES) else list(_AXES)


def _projections(file: h5py.File, name: str, rows: int | slice) -> NDArray[Any]:
    """Read frames as ``(theta, y, x)``, some rows of them; a single one keeps its axis."""
    _, order = _frames_of(file, name)
    rows = rows if isinstance(rows, slice) else slice(rows, rows + 1)
    frames = read_array(file, name, index=tuple(rows if a == "y" else slice(None) for a in order))
    return frames.transpose([order.index(axis) for axis in _AXES])


def _rows_first(frames: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.swapaxes(frames, 0, 1))


def _geometry(file: h5py.File, angles: Any) -> Geometry:
    node, order = _frames_of(file, "exchange/data")
    views, columns = (node.shape[order.index(axis)] for axis in ("theta", "x"))
    own = find(file, "spinray/geometry")
    if isinstance(own, h5py.Group) and angles is None:
        return make_geometry(_kind_in(own), _values(own), "spinray/geometry")
    if angles is None:
        if not has(file, "exchange/theta"):
            raise FormatError(
                None,
                "exchange/theta",
                "missing: load(path, angles=...) takes them in radians",
            )
        angles = angles_in(file, "exchange/theta")
    if np.shape(angles) != (views,):
        raise FormatError(
            None, "exchange/theta", f"has {np.shape(angles)} angles, exchange/data {views} "
            "projections",
        )  # fmt: skip
    return make_geometry(
        "parallel",
        {
            "angles": angles,
            "columns": columns,
            "column_spacing": _pixel_size(file, "x") or 1.0,
        },
        "exchange/theta",
    )


def _kind_in(group: h5py.Group) -> str:
    return str(attribute(group, "kind", ""))


def _pixel_size(file: h5py.File, axis: str) -> float | None:
    """Pixel size in mm, where the file says it."""
    for name in (f"{axis}_actual_pixel_size", f"{axis}_pixel_size", "actual_pixel_size"):
        path = f"measurement/instrument/detector/{name}"
        if has(file, path):
            return length_in(file, path)
    return None


def _facts(file: h5py.File) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: read_text(file, place) for name, place in _TEXT.items() if has(file, place)
    }
    if has(file, "spinray"):
        for name, kind in _PROTOCOL.items():
            if (value := attribute(file["spinray"], name, None)) is not None:
                facts[name] = kind(value)
    return facts


def _values(group: h5py.Group) -> dict[str, Any]:
    return {
        name: read_text(group, name)
        if h5py.check_string_dtype(dataset(group, name).dtype)
        else read_array(group, name)
        for name in group
    }


def _own(file: h5py.File, fields: dict[str, Any], rows: int | slice) -> dict[str, Any]:
    """What the format has no place for, kept in the group ``spinray``."""
    group = file["spinray"]
    found: dict[str, Any] = {"slice_spacing": float(attribute(group, "slice_spacing", 1.0))}
    if (affine := attribute(group, "affine", None)) is not None:
        found["affine"] = affine
    if find(file, "spinray/photons") is not None:
        photons = read_array(file, "spinray/photons", "f")
        stacked = len(fields["geometry"].shape) == 2
        by_row = stacked and photons.ndim == 3 and len(photons) > 1
        found["photons"] = photons[rows] if by_row else photons
    volume = find(file, "spinray/volume")
    if isinstance(volume, h5py.Group):
        values = {name: tuple(np.ravel(value).tolist()) for name, value in _values(volume).items()}
        found["volume"] = make_grid(values, "spinray/volume")
    if not bool(attribute(group, "stack", True)):  # a single slice, without a batch axis
        for name in ("sinogram", "counts", "blank", "dark"):
            if name in fields and fields[name].ndim > 2:
                found[name] = fields[name][0]
    return found


def write(scan: CTScan, path: Path) -> None:
    """Write readings with white and dark fields, or line integrals where there are none.

    Raises
    ------
    ValueError
        More than one batch axis, or one beside a geometry with rows.
    """
    stacked = len(scan.geometry.shape) == 2
    if len(scan.batch_shape) > int(stacked):
        raise ValueError(
            f"Data Exchange holds one stack of slices or one cone-beam scan, got a batch of "
            f"{scan.batch_shape} of {scan.geometry}"
        )
    single = stacked and not scan.batch_shape
    with atomic(path, scan.memory + HDF5_ROOM) as temporary, h5py.File(temporary, "w") as file:
        file["implements"] = "exchange:spinray"
        exchange, own = file.create_group("exchange"), file.create_group("spinray")
        own.attrs["slice_spacing"], own.attrs["stack"] = scan.slice_spacing, not single
        for name, place in _TEXT.items():
            if name in scan.header:
                file[place] = str(scan.header[name])
        for name in _PROTOCOL:
            if name in scan.header:
                own.attrs[name] = scan.header[name]
        if scan.affine is not None:
            own.attrs["affine"] = scan.affine
        if scan.photons is not None:
            own["photons"] = scan.photons.detach().cpu().numpy()
        _write_group(own, "geometry", fields_of(scan.geometry)).attrs["kind"] = kind_of(
            scan.geometry
        )
        if scan.volume is not None:
            _write_group(own, "volume", fields_of(scan.volume))
        if hasattr(scan.geometry, "angles"):
            exchange["theta"] = np.rad2deg(scan.geometry.angles)
            exchange["theta"].attrs["units"] = "degrees"
        if scan.counts is None:
            _write_frames(exchange, "data", scan.sinogram, stacked, units="1")
            exchange["data"].attrs["description"] = _LINE_INTEGRALS
            return
        _write_frames(exchange, "data", scan.counts, stacked)
        shape = tuple(scan.counts.shape)
        for key, reading in (("data_white", scan.blank), ("data_dark", scan.dark)):
            if reading is not None:
                _write_frames(exchange, key, _frames(reading, shape, stacked), stacked)
        if not _is_that_of_the_readings(scan):
            own["sinogram"] = scan.sinogram.detach().cpu().numpy()


def _is_that_of_the_readings(scan: CTScan) -> bool:
    if scan.counts is None or scan.blank is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dead pixels were warned of when the scan was made
        ndim = len(scan.geometry.shape) - 1
        found = line_integrals(scan.counts, scan.blank, scan.dark, detector_ndim=ndim)
    return torch.equal(scan.sinogram, found)


def _write_group(parent: h5py.Group, name: str, values: dict[str, Any]) -> h5py.Group:
    group = parent.create_group(name)
    for key, value in values.items():
        group[key] = value
    return group


def _frames(reading: torch.Tensor, shape: tuple[int, ...], stacked: bool) -> torch.Tensor:
    """Give a reading its axis of frames and the batch of the counts, one value a pixel."""
    detector = 1 if stacked else 2
    frames = reading if reading.ndim > detector else reading.expand(shape[-detector:])[None]
    return frames.expand(*shape[: -detector - 1], *frames.shape[-detector - 1 :])


def _write_frames(
    group: h5py.Group, name: str, data: torch.Tensor, stacked: bool, units: str = "counts"
) -> None:
    array = data.detach().cpu().numpy()
    if stacked:
        array = array[:, None] if array.ndim == 2 else np.swapaxes(array, 0, 1)
    group[name] = array
    group[name].attrs["axes"], group[name].attrs["units"] = "theta:y:x", units
