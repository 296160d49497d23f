"""`load`: any scanner file, told apart by its content."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from ..scan import CTScan, MRScan
from . import bart, data_exchange, fastmri, ismrmrd_hdf5, numpy_files
from .errors import FormatError, format_errors


class Reader(Protocol):
    """A module that reads one format.

    `matches` looks at the content of a file (or folder) and is quick; it may raise a
    `FormatError` if the file is broken in a way that no other reader could mend. `read` takes
    the format's options as keywords.
    """

    NAME: str

    def matches(self, path: Path) -> bool:
        """Whether the content looks like this format."""

    @property
    def read(self) -> Callable[..., MRScan | CTScan]:
        """``read(path, **options)``."""


# BART comes last: its files have no signature.
READERS: tuple[Reader, ...] = (ismrmrd_hdf5, fastmri, data_exchange, numpy_files, bart)


def formats() -> tuple[str, ...]:
    """Names of the formats that `load` reads."""
    return tuple(reader.NAME for reader in READERS)


def load(path: str | PathLike[str], **options: Any) -> MRScan | CTScan:
    """Read a raw scanner file; the format is found in its content, never in its name.

    Parameters
    ----------
    path
        A file, or a folder with one scan in it. BART's pairs also go by their name without suffix.
    options
        What a format leaves open: ``encoding`` (ISMRMRD); ``trajectory``, ``image_shape`` (BART);
        ``image_shape``, ``spacing`` (NumPy); ``angles`` (Data Exchange).

    Raises
    ------
    FileNotFoundError
        Nothing at this path.
    FormatError
        A broken file, an empty folder, a file that is no scan; the message names the place.
    TypeError
        An option that the file's format does not have.
    """
    path = _existing(Path(path))
    reader = _reader(path)
    if reader is None:
        raise FormatError(path, "", f"is no scan; formats known: {', '.join(formats())}")
    known = _options(reader)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(
            f"{path}: unknown option {', '.join(unknown)} for {reader.NAME}; it has "
            f"{', '.join(known) or 'none'}"
        )
    with format_errors(path):
        return reader.read(path, **options)


def options_of(path: str | PathLike[str]) -> tuple[str, ...]:
    """Names of the options that a file's format leaves open; none for what is no scan."""
    reader = _reader(_existing(Path(path)))
    return () if reader is None else _options(reader)


def _options(reader: Reader) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(reader.read).parameters if name != "path")


def _existing(path: Path) -> Path:
    if not path.exists():
        header = path.with_name(f"{path.name}.hdr")
        if path.name and header.is_file():
            return header
        raise FileNotFoundError(f"{path}: no such file or folder")
    return path if path.is_file() else _only_scan(path)


def _only_scan(folder: Path) -> Path:
    """Return the one scan in a folder."""
    if not folder.is_dir():
        raise FormatError(folder, "", "is neither a file nor a folder")
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    if not files:
        raise FormatError(folder, "", "is a folder without files, expected a scan in it")
    scans = [entry for entry in files if entry.suffix != ".hdr" and _is_scan(entry)]
    if len(scans) != 1:
        names = ", ".join(scan.name for scan in scans[:5]) + ", ..." * (len(scans) > 5)
        found = f"holds {len(scans)} scans ({names}): name one" if scans else "holds no scan"
        raise FormatError(folder, "", f"{found}; formats known: {', '.join(formats())}")
    return scans[0]


def _is_scan(path: Path) -> bool:
    try:
        return _reader(path) is not None
    except FormatError:  # broken: as good as none when another one is to be found
        return False


def _reader(path: Path) -> Reader | None:
    with format_errors(path):
        return next((reader for reader in READERS if reader.matches(path)), None)
