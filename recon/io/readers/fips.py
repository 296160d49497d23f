"""Open CT data of the Finnish Inverse Problems Society: 2D fan beams in MATLAB files.

A structure such as ``CtData`` has the sinogram (line integrals, view by view) and parameters;
older files have the same as variables of their own. The frame is ASTRA's ``fanflat``, as in the
authors' HelTomo toolbox. HTC 2022, walnuts, lotus roots, gels, STEMPO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ....kernels.ct.geometry import Geometry
from ...scan import CTScan
from ..beam_geometry import make_geometry
from ..errors import FormatError
from ..hdf5 import find, looks_like, open_hdf5, read_array
from ..matlab_v5 import is_matlab_v5, read_variable, variables
from ..raw_file import Part, RawFile
from ..sniffing import start_of

NAME = "FIPS MATLAB"
# Names of the parameters, in the order in which they are asked.
_DISTANCES = {
    "source_to_isocenter": ("distanceSourceOrigin",),
    "source_to_detector": ("distanceSourceDetector",),
    "column_spacing": ("pixelSizePost", "pixelSize"),  # after binning, on the detector
}
_NUMBERS = ("angles", *(name for names in _DISTANCES.values() for name in names))
_LARGEST_SERIES = 1 << 12

# A measurement: its sinogram and parameters by name.
Measurement = Mapping[str, NDArray[Any]]


def matches(path: Path) -> bool:
    """Whether a MATLAB file has a sinogram with the source's distance."""
    if is_matlab_v5(path):
        return _v5_variable(path) is not None
    if not start_of(path, 128).startswith(b"MATLAB 7.3"):
        return False
    return looks_like(path, lambda file: _hdf5_group(file) is not None)


def open_file(path: Path) -> RawFile:
    """Look at the measurements; a series in time has an axis of them."""
    found = _v5(path) if is_matlab_v5(path) else _hdf5(path)
    geometries = [_geometry(measurement) for measurement in found]
    shape = geometries[0].shape
    series = len(found) > 1
    header = {"format": NAME}

    def take(part: Part) -> CTScan:
        items = part.get("time", slice(None) if series else 0)
        chosen = range(len(found))[items] if isinstance(items, slice) else [items]
        geometry = geometries[chosen[0]]
        if any(geometries[i] != geometry for i in chosen):
            raise FormatError(
                path, "parameters", "differ from time to time: read one by time=0, 1, ..."
            )  # fmt: skip
        stack = np.stack([_sinogram(found[i], geometry.shape) for i in chosen])
        data = stack if isinstance(items, slice) else stack[0]
        return CTScan(torch.from_numpy(data), geometry, header=header)

    facts = {**header, "views": shape[0], "geometry": repr(geometries[0])}
    axes = {"time": len(found)} if series else {}
    return RawFile(NAME, axes, 4 * len(found) * shape[0] * shape[1], facts, take)


def _geometry(measurement: Measurement) -> Geometry:
    values: dict[str, Any] = {"detector": "flat"}
    for name, known in _DISTANCES.items():
        key = next((key for key in known if key in measurement), None)
        if key is None:
            raise FormatError(None, known[0], "missing in the parameters")
        number = np.ravel(measurement[key])
        if number.size != 1:
            raise FormatError(None, key, f"holds {number.size} numbers, expected one")
        values[name] = float(number[0])
    angles = np.ravel(measurement["angles"]).astype(np.float64)
    values["angles"] = np.deg2rad(np.mod(angles, 360.0))
    shape = np.shape(measurement["sinogram"])
    if len(shape) != 2 or len(angles) not in shape:
        raise FormatError(
            None, "sinogram", f"has shape {shape} for {len(angles)} angles, expected (view, column)"
        )
    values["columns"] = shape[1] if shape[0] == len(angles) else shape[0]
    return make_geometry("fan", values, "parameters")


def _sinogram(measurement: Measurement, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``(view, column)``, whichever way it is stored; whose numbers are equal, as stored."""
    stored = np.asarray(measurement["sinogram"])
    if stored.shape != shape and stored.shape[::-1] == shape:
        stored = stored.T
    if stored.shape != shape:
        raise FormatError(None, "sinogram", f"has shape {stored.shape}, expected {shape}")
    return np.ascontiguousarray(stored, np.float32)


def _v5_variable(path: Path) -> str | None:
    """Name of the structure, "" where the values are variables, None if it is another file."""
    listed = variables(path)
    if {"sinogram", "distanceSourceOrigin"} <= {known.name for known in listed}:
        return ""
    for known in listed:
        if known.is_structure:
            items = read_variable(path, known.name)
            if isinstance(items, list) and items and {"sinogram", "parameters"} <= set(items[0]):
                return known.name
    return None


def _v5(path: Path) -> Sequence[Measurement]:
    name = _v5_variable(path)
    if name is None:
        raise FormatError(path, "", "holds no sinogram with parameters")
    if not name:
        present = {known.name for known in variables(path)}
        wanted = [key for key in ("sinogram", *_NUMBERS) if key in present]
        return [_numbers({key: read_variable(path, key) for key in wanted})]
    items = read_variable(path, name)
    if not isinstance(items, list) or not 0 < len(items) <= _LARGEST_SERIES:
        raise FormatError(path, name, "holds no measurements")
    return [_numbers(_parts(item, name)) for item in items]


def _parts(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Sinogram and those of the parameters that are used."""
    parameters = item.get("parameters")
    if not isinstance(parameters, list) or len(parameters) != 1:
        raise FormatError(None, f"{name}.parameters", "expected one structure")
    own = {key: value for key, value in parameters[0].items() if key in _NUMBERS}
    return {"sinogram": item.get("sinogram"), **own}


def _numbers(values: Mapping[str, Any]) -> Measurement:
    """The values as arrays of numbers.

    Raises
    ------
    FormatError
        Text, cells or structures in their place; angles or sinogram missing.
    """
    found = {}
    for key, value in values.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb" or not value.size:
            raise FormatError(None, key, "holds no real numbers")
        found[key] = value
    for key in ("sinogram", "angles"):
        if key not in found:
            raise FormatError(None, key, "missing")
    return found


def _hdf5_group(file: h5py.File) -> str | None:
    """Name of the structure's group, "/" where the values are variables."""
    if find(file, "sinogram") is not None and find(file, "distanceSourceOrigin") is not None:
        return "/"
    for name in list(file)[:64]:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Group):
            continue
        if find(file, f"{name}/sinogram") is not None and isinstance(
            find(file, f"{name}/parameters"), h5py.Group
        ):
            return str(name)
    return None


def _hdf5(path: Path) -> Sequence[Measurement]:
    """MATLAB's first index is the fastest: arrays come transposed."""
    with open_hdf5(path) as file:
        name = _hdf5_group(file)
        if name is None:
            raise FormatError(path, "", "holds no sinogram with parameters")
        own = name if name == "/" else f"{name}/parameters"
        found = {"sinogram": read_array(file, f"{name}/sinogram").T}
        for key in _NUMBERS:
            if find(file, f"{own}/{key}") is not None:
                found[key] = read_array(file, f"{own}/{key}")
    return [_numbers(found)]
