"""`open_raw` and `load`: any scanner file, told apart by its content."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from functools import cache
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import Any, cast

from ...kernels.warn import warn
from ..scan import CTScan, MRScan
from .errors import FormatError, format_errors
from .option_values import check_options
from .raw_file import Part, RawFile, Reader

ENTRY_POINTS = "spinray.readers"
# Modules of `readers`, in the order in which they are asked. BART comes last: its files have no
# signature.
_MODULES = (
    "ismrmrd_hdf5", "ismrmrd_stream", "mrd2", "fastmri", "data_exchange", "nxtomo", "ctsimu",
    "nikon", "image_folder", "ct_pd", "rtk_geometry", "varian", "zeiss", "lodopab", "two_detect",
    "fips", "twix", "pulseq_seq", "bruker", "philips_list", "philips_lab", "ge_pfile", "matlab",
    "numpy_files", "zarr_store", "bart",
)  # fmt: skip
_COMPANIONS = (".hdr", ".seq", ".list", ".lab", ".sin")  # lie beside the data of a scan


@cache
def readers() -> tuple[Reader, ...]:
    """The readers of other packages (entry points `spinray.readers`), then Spinray's own."""
    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found.append(cast(Reader, point.load()))
        except Exception as error:  # another package's: it must not cost us all other formats
            warn(f"reader {point.name} ({point.value}) is left out: {error}")
    own = [importlib.import_module(f".readers.{name}", __package__) for name in _MODULES]
    return (*found, *(cast(Reader, module) for module in own))


def formats() -> tuple[str, ...]:
    """Names of the formats that `load` reads."""
    return tuple(reader.NAME for reader in readers())


def load(path: str | PathLike[str], **options: Any) -> MRScan | CTScan:
    """Read a raw scanner file; the format is found in its content, never in its name.

    Parameters
    ----------
    path
        A file, or a folder with one scan in it. BART's pairs also go by their name without suffix.
    options
        What to read of large files, by the names of `open_raw(path).axes`: ``slice=3``,
        ``repetition=slice(0, 10)``. What a format leaves open: ``encoding`` (ISMRMRD);
        ``measurement`` (twix); ``sequence`` (twix, ISMRMRD); ``trajectory``, ``image_shape``
        (twix, BART); ``image_shape``, ``spacing`` (NumPy, MATLAB, Zarr); ``variable``, ``axes``
        (MATLAB); ``field_of_view`` (GE, Philips list/data); ``angles`` (Data Exchange); ``views``
        (DICOM-CT-PD); ``blank`` (RTK, Varian, Zeiss); ``projections``, ``spacing`` (RTK);
        ``slice_number`` (2DeteCT).

    Raises
    ------
    FileNotFoundError
        Nothing at this path.
    FormatError
        A broken file, an empty folder, a file that is no scan; the message names the place.
    TypeError
        An option or axis that the file does not have, or a value that an option does not take.
    """
    raw, part = open_part(path, **options)
    return raw.read(**part)


def open_part(path: str | PathLike[str], **options: Any) -> tuple[RawFile, dict[str, int | slice]]:
    """The file by `open_raw`, and which items of it the options of `load` choose; raises as it."""
    path, reader = _found(path)
    known = _options(reader)
    given, part = _split(options, known)
    raw = _opened(path, reader, given)
    if unknown := sorted(set(part) - set(raw.axes)):
        raise TypeError(
            f"{path}: unknown option {', '.join(unknown)} for {reader.NAME}; it has "
            f"{', '.join([*known, *raw.axes]) or 'none'}"
        )
    return raw, part


def open_raw(path: str | PathLike[str], **options: Any) -> RawFile:
    """Look at a raw scanner file without reading its data.

    Parameters
    ----------
    path, options
        As for `load`, but for the choice of items.

    Returns
    -------
    RawFile
        What the file holds; its `read` reads all of it, or the slices and repetitions asked for.

    Raises
    ------
    FileNotFoundError, FormatError, TypeError
        As `load`.
    """
    path, reader = _found(path)
    known = _options(reader)
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(
            f"{path}: unknown option {', '.join(unknown)} for {reader.NAME}; it has "
            f"{', '.join(known) or 'none'}"
        )
    return _opened(path, reader, options)


def split_options(
    path: str | PathLike[str], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide options of `load` into those of the file's format and choices of items."""
    _, reader = _found(path)
    return _split(options, _options(reader))


def _split(options: dict[str, Any], known: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {name: value for name, value in options.items() if name in known}
    return given, {name: value for name, value in options.items() if name not in known}


def _opened(path: Path, reader: Reader, options: dict[str, Any]) -> RawFile:
    try:
        check_options(reader.open_file, options)
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from None
    with format_errors(path):
        raw = reader.open_file(path, **options)

    def take(part: Part) -> MRScan | CTScan:
        with format_errors(path):
            return raw.take(part)

    return dataclasses.replace(raw, take=take)


def options_of(path: str | PathLike[str]) -> tuple[str, ...]:
    """Names of the options that a file's format leaves open."""
    return tuple(_options(_found(path)[1]))


def _options(reader: Reader) -> list[str]:
    return [name for name in inspect.signature(reader.open_file).parameters if name != "path"]


def _found(path: str | PathLike[str]) -> tuple[Path, Reader]:
    """The scan at a path, or in a folder, and its reader."""
    path = Path(path)
    if not path.exists():
        header = path.with_name(f"{path.name}.hdr")
        if not (path.name and header.is_file()):
            raise FileNotFoundError(f"{path}: no such file or folder")
        path = header
    reader = _reader(path)
    if reader is None and not path.is_file():
        path = _only_scan(path)
        reader = _reader(path)
    if reader is None:
        if path.stat().st_size == 0:
            raise FormatError(path, "", "is empty")
        raise FormatError(path, "", f"is no scan; formats known: {', '.join(formats())}")
    return path, reader


def _only_scan(folder: Path) -> Path:
    """Return the one scan in a folder."""
    if not folder.is_dir():
        raise FormatError(folder, "", "is neither a file nor a folder")
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    if not files:
        raise FormatError(folder, "", "is a folder without files, expected a scan in it")
    scans = [entry for entry in files if entry.suffix not in _COMPANIONS and is_scan(entry)]
    if len(scans) != 1:
        names = ", ".join(scan.name for scan in scans[:5]) + ", ..." * (len(scans) > 5)
        found = f"holds {len(scans)} scans ({names}): name one" if scans else "holds no scan"
        raise FormatError(folder, "", f"{found}; formats known: {', '.join(formats())}")
    return scans[0]


def is_scan(path: Path) -> bool:
    """Whether some reader knows the content of a file."""
    try:
        return _reader(path) is not None
    except FormatError:  # broken: as good as none when another one is to be found
        return False


def _reader(path: Path) -> Reader | None:
    if not (path.is_file() or path.is_dir()):
        return None
    with format_errors(path):
        return next((reader for reader in readers() if reader.matches(path)), None)
