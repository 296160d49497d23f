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
from ..stored import DEFLATE_RATIO

NAME = "NumPy npy/npz"

_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others shrink beyond measure
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


def _archive(path: Path) -> dict[str, _Entry]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with format_errors(path, name):
                arrays[name] = _Entry(path, archive, entry)
    return arrays


class _Entry:
    """An array of an archive, unpacked when it is asked for."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        self._path, self._name = path, entry.filename
        if entry.compress_type not in _PACKINGS:
            raise FormatError(None, "", "is packed otherwise than NumPy packs")
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            reading = {(1, 0): np.lib.format.read_array_header_1_0}
            header = reading.get(version, np.lib.format.read_array_header_2_0)(file)
        self.shape, _, self.dtype = header
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape, dtype=object))
        declared = self.size * self.dtype.itemsize
        if declared > min(entry.file_size, DEFLATE_RATIO * entry.compress_size):
            raise FormatError(
                None, "", f"declares {self.shape} {self.dtype}, holds {entry.compress_size} bytes"
            )
        if self.dtype.hasobject:
            raise FormatError(None, "", "holds Python objects (a pickle): refused")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with (
            format_errors(self._path, self._name.removesuffix(".npy")),
            zipfile.ZipFile(self._path) as archive,
            archive.open(self._name) as file,
        ):
            array = np.lib.format.read_array(file, allow_pickle=False)
        return np.asarray(array, dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.asarray(np.asarray(self)[index])
