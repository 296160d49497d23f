"""`load_image`: images that `save` wrote, and others of those formats."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..image import Image
from .errors import FormatError, format_errors

_FORMATS = "NIfTI, DICOM, NRRD, Spinray HDF5, npy, PNG"


def load_image(path: str | PathLike[str]) -> Image:
    """Read an image: NIfTI, DICOM, NRRD, PNG, HDF5 (of `save`) or npy, by its content.

    A folder is read as the volume of the DICOM slices in it.

    Raises
    ------
    FileNotFoundError
        Nothing at this path.
    FormatError
        A broken file, or no image.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        from .dicom_slices import read_folder

        with format_errors(path):
            return read_folder(path)
    if not path.is_file():
        raise FormatError(path, "", f"is no file, expected an image: {_FORMATS}")
    with path.open("rb") as file:
        start = file.read(512)
    with format_errors(path):
        if start[:8] == b"\x89HDF\r\n\x1a\n":
            from .image_hdf5 import read
        elif start[:6] == b"\x93NUMPY":
            from .image_npy import read
        elif start[:7] == b"NRRD000":
            from .nrrd import read
        elif start[:8] == b"\x89PNG\r\n\x1a\n":
            from .png import read
        elif start[128:132] == b"DICM":
            from .dicom_slices import read
        elif start[:2] == b"\x1f\x8b" or start[344:348] in (b"n+1\0", b"ni1\0"):
            from .nifti import read
        else:
            raise FormatError(path, "", f"is no image; formats known: {_FORMATS}")
        return read(path)
