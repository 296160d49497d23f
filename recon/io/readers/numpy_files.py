"""NumPy files: a bare k-space (.npy), or arrays by name (.npz)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..array_file import array_file
from ..errors import FormatError, format_errors
from ..raw_file import RawFile
from ..sniffing import start_of

NAME = "NumPy npy/npz"

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"


def matches(path: Path) -> bool:
    """Whether the file is one NumPy array, or an archive with a k-space, sinogram or counts."""
    magic = start_of(path, len(_NPY))
    if magic.startswith(_ZIP):
        with format_errors(path), zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
        return bool(names & {"kspace.npy", "sinogram.npy", "counts.npy"})
    return magic == _NPY


def open_file(
    path: Path,
    image_shape: tuple[int, ...] | None = None,
    spacing: tuple[float, ...] | None = None,
) -> RawFile:
    """Look at a scan.

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
    is_archive = start_of(path, len(_ZIP)) == _ZIP
    arrays = _archive(path) if is_archive else {"kspace": _array(path)}
    given = {"image_shape": image_shape, "spacing": spacing}
    return array_file(arrays, NAME, {k: v for k, v in given.items() if v is not None})


def _array(path: Path) -> NDArray[Any]:
    # A memory map checks the declared size against the file's before anything is allocated.
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


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
