"""NumPy files: a bare k-space (.npy), or arrays by name (.npz)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scan import CTScan, MRScan
from .beam_geometry import make_geometry
from .errors import FormatError, format_errors

NAME = "NumPy npy/npz"

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_MR = ("kspace", "mask", "trajectory", "noise", "image_shape", "spacing", "affine", "batch_axes",
       "readout_length")  # fmt: skip
_CT = ("sinogram", "counts", "blank", "dark", "slice_spacing")


def matches(path: Path) -> bool:
    """Whether the file is one NumPy array, or an archive with a k-space, sinogram or counts."""
    with path.open("rb") as file:
        magic = file.read(len(_NPY))
    if magic.startswith(_ZIP):
        with format_errors(path), zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
        return bool(names & {"kspace.npy", "sinogram.npy", "counts.npy"})
    return magic == _NPY


def read(
    path: Path,
    image_shape: tuple[int, ...] | None = None,
    spacing: tuple[float, ...] | None = None,
) -> MRScan | CTScan:
    """Read a scan.

    A .npy holds Cartesian k-space ``(*batch, coil, [kz,] ky, kx)`` or one coil's ``(ky, kx)``. A
    .npz holds arrays named as the arguments of `MRScan`; or sinogram (or counts, blank, dark),
    slice_spacing, and the arguments of a geometry: ``angles`` (radians), ``column_spacing``, ...,
    with ``geometry`` its kind: parallel (the default), fan, cone, helical or modular.

    Parameters
    ----------
    path
        The file. Pickled objects are refused.
    image_shape
        ``([z,] y, x)``: three sizes say that the k-space is one of volumes.
    spacing
        Voxel size in mm, ``([z,] y, x)``.
    """
    with path.open("rb") as file:
        is_archive = file.read(len(_ZIP)) == _ZIP
    arrays = _archive(path) if is_archive else {"kspace": _array(path)}
    if "kspace" not in arrays:
        return _ct(arrays)
    kspace = arrays["kspace"]
    if kspace.dtype.kind != "c":
        raise FormatError(None, "kspace", f"is {kspace.dtype}, expected complex")
    if kspace.ndim == 2 and "trajectory" not in arrays:
        arrays["kspace"] = kspace[None]
    fields: dict[str, Any] = {name: _native(arrays[name]) for name in _MR if name in arrays}
    for name, given in (("image_shape", image_shape), ("spacing", spacing)):
        fields[name] = tuple(
            given if given is not None else np.ravel(fields.get(name, ())).tolist()
        )
    fields["batch_axes"] = tuple(map(str, np.ravel(fields.get("batch_axes", ()))))
    if "readout_length" in fields:
        fields["readout_length"] = int(fields["readout_length"])
    return MRScan(**fields, header={"format": NAME})


def _ct(arrays: dict[str, NDArray[Any]]) -> CTScan:
    data = arrays["sinogram"] if "sinogram" in arrays else arrays["counts"]
    if data.ndim < 2:
        raise FormatError(None, "sinogram", f"has shape {data.shape}, expected (view, column)")
    kind = str(arrays.get("geometry", "parallel"))
    sizes = {"columns": data.shape[-1], "rows": data.shape[-2]}
    geometry = make_geometry(kind, {**sizes, **arrays}, "geometry")
    fields: dict[str, Any] = {name: _native(arrays[name]) for name in _CT if name in arrays}
    if "slice_spacing" in fields:
        fields["slice_spacing"] = float(fields["slice_spacing"])
    return CTScan(**fields, geometry=geometry, header={"format": NAME})


def _array(path: Path) -> NDArray[Any]:
    # A memory map checks the declared size against the file's before anything is allocated.
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


def _archive(path: Path) -> dict[str, NDArray[Any]]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with format_errors(path, name), archive.open(entry) as file:
                _require_declared_size(file, entry.file_size)
            with format_errors(path, name), archive.open(entry) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _require_declared_size(file: Any, size: int) -> None:
    version = np.lib.format.read_magic(file)
    reading = {(1, 0): np.lib.format.read_array_header_1_0}
    shape, _, dtype = reading.get(version, np.lib.format.read_array_header_2_0)(file)
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if declared > size:
        raise FormatError(None, "", f"declares {shape} {dtype}, but holds {size} bytes")


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
