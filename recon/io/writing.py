"""`save`: images and scans to files, whole or not at all."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from ..image import Image
from ..scan import CTScan, MRScan
from .atomic import require_writable

# Suffix -> module of this package whose `write` makes the file. Modules load on use: a PNG
# needs neither pydicom nor nibabel.
_WRITERS: dict[type, dict[str, str]] = {
    Image: {
        ".nii": "nifti", ".nii.gz": "nifti", ".dcm": "dicom", ".h5": "image_hdf5",
        ".hdf5": "image_hdf5", ".png": "png", ".npy": "image_npy",
    },
    MRScan: {".h5": "ismrmrd_writer", ".hdf5": "ismrmrd_writer", ".mrd": "ismrmrd_writer",
             ".cfl": "readers.bart"},
    CTScan: {".h5": "readers.data_exchange", ".hdf5": "readers.data_exchange",
             ".dcm": "ct_pd_writer"},
}  # fmt: skip


def save(thing: Image | MRScan | CTScan, path: str | PathLike[str], **options: Any) -> Path:
    """Write an image or a scan; the suffix says the format.

    Images: ``.nii``, ``.nii.gz`` (NIfTI), ``.dcm`` (DICOM, a file for each slice), ``.h5``,
    ``.png`` (a montage of the magnitude), ``.npy`` (the bare array). MR scans: ``.h5``, ``.mrd``
    (ISMRMRD), ``.cfl`` (BART). CT scans: ``.h5`` (Data Exchange), ``.dcm`` (DICOM-CT-PD, a file for
    each view).

    Parameters
    ----------
    thing
        What to write.
    path
        Where; an existing file is replaced once the new one is complete.
    options
        ``window`` (low, high) for PNG and DICOM; ``water``, attenuation of water in 1/mm, for the
        Hounsfield units of a CT image in DICOM; ``multiframe=True`` for one DICOM file of all
        slices.

    Returns
    -------
    Path
        The file, or the first of them.

    Raises
    ------
    OSError
        A missing folder, a folder in place of the file, no right to write.
    TypeError
        A thing that is no image or scan, an option that the format does not have.
    ValueError
        A suffix that names no format of this kind, content that the format cannot hold.
    """
    path = Path(path)
    write = _writer(path, type(thing), options)
    check_writable(path, type(thing))
    written = write(thing, path, **options)
    return written if isinstance(written, Path) else path


def check_writable(path: str | PathLike[str], kind: type = Image) -> None:
    """Find out before a long reconstruction whether its result can be saved.

    Raises
    ------
    OSError
        A missing folder, a folder in place of the file, no right to write.
    ValueError
        A suffix that names no format for this kind (`Image`, `MRScan` or `CTScan`).
    """
    path = Path(path)
    _suffix(path, kind)
    require_writable(path)


def _suffix(path: Path, kind: type) -> str:
    if kind not in _WRITERS:
        raise TypeError(f"expected an Image, an MRScan or a CTScan, got {kind.__name__}")
    known = _WRITERS[kind]
    name = path.name.lower()
    for suffix in sorted(known, key=len, reverse=True):
        if name.endswith(suffix) and name != suffix:
            return suffix
    raise ValueError(f"{path}: the suffix of {kind.__name__} files is one of {', '.join(known)}")


def _writer(path: Path, kind: type, options: dict[str, Any]) -> Callable[..., Path | None]:
    suffix = _suffix(path, kind)
    module = importlib.import_module(f".{_WRITERS[kind][suffix]}", __package__)
    write: Callable[..., Path | None] = module.write
    known = list(inspect.signature(write).parameters)[2:]
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(
            f"{path}: unknown option {', '.join(unknown)} for {suffix}; it has "
            f"{', '.join(known) or 'none'}"
        )
    return write
