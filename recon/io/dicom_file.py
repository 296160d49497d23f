"""DICOM files from strangers: nothing is inflated, nothing is decoded that was not asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from .errors import FormatError, format_errors
from .frames import natural_order
from .sniffing import start_of

# Suffixes of image files, and none at all; a folder's LICENSE has none either.
_SUFFIXES = (".dcm", ".ima", ".dicom")


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's signature."""
    return start_of(path, 132)[128:] == b"DICM"


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder by the numbers in their names; those without suffix if no others.

    Contents are not looked at: a series may have tens of thousands.
    """
    root = folder.resolve()
    named, plain = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_file():
                continue
            path = folder / entry.name
            suffix = path.suffix.lower()
            if suffix in _SUFFIXES:
                if entry.is_symlink() and not path.resolve().is_relative_to(root):
                    raise FormatError(path, "", "leads out of its folder: refused")
                named.append(path)
            elif not suffix and not entry.is_symlink():
                plain.append(path)
    found = named or [path for path in plain if is_dicom(path)]
    return sorted(found, key=natural_order)


def some_dicom_file(folder: Path) -> Path | None:
    """Any DICOM file of a folder: its kind is told by one of thousands."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            named = path.suffix.lower() in _SUFFIXES or not path.suffix
            if named and entry.is_file(follow_symlinks=False) and is_dicom(path):
                return path
    return None


def read_dicom(
    path: Path, tags: Sequence[Any] | None = None, *, pixels: bool = False
) -> FileDataset:
    """Read a file's attributes, of which only some may be wanted, with its pixels or without.

    Raises
    ------
    FormatError
        A broken file; one that is deflated as a whole, which may swell beyond any measure.
    """
    with format_errors(path, "DICOM"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            meta = pydicom.filereader.read_file_meta_info(path)
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise FormatError(path, "DICOM", "is deflated as a whole: refused")
            wanted = None if tags is None else list(tags)
            dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted)
            for _ in dataset.iterall():  # what is wrong with an element shows when it is looked at
                pass
        except InvalidDicomError as error:
            raise FormatError(path, "DICOM", "is no DICOM file") from error
        except BytesLengthException as error:
            raise FormatError(path, "DICOM", f"an element's length: {error}"[:200]) from error
        return dataset
