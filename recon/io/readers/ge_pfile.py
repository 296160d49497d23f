"""GE P-files (P12345.7) of Cartesian scans, by the part of their header that is public.

Sizes stand near the start of the header, at places that moved once, with revision 26. Data are
integer pairs: coil by coil, slice, echo, and views of which the first is a baseline. Orientation
and field of view lie in parts that differ between releases and are not read. ScanArchives need
GE's own software: they are recognised, and named the converter.
"""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
from ismrmrd import xsd

from .. import header_parts
from ..acquisitions import ACQUISITION_HEADER, Acquisitions
from ..errors import FormatError
from ..hdf5 import looks_like
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..sniffing import start_of
from ..stored import StoredReadouts, mapped

NAME = "GE P-file"
_ARCHIVE = ("DownloadMetaData", "DownloadMetaData.xml", "ControlPackets", "OrchestraVersion")
# Header sizes of releases that do not state theirs.
_SIZES = {7.0: 39984, 8.0: 60464, 9.0: 61464}
_START = 2048


@dataclasses.dataclass(frozen=True)
class _Sizes:
    revision: float
    data: int  # first byte
    slices: int
    echoes: int
    word: int  # bytes of an integer
    samples: int
    views: int  # the baseline included
    coils: int
    order: str


def matches(path: Path) -> bool:
    """Whether a file begins as P-files do, or is a ScanArchive."""
    return _sizes(path) is not None or _is_archive(path)


def _is_archive(path: Path) -> bool:
    if path.name.startswith("ScanArchive") and path.suffix == ".h5":
        return looks_like(path, lambda file: True)
    return looks_like(path, lambda file: not set(_ARCHIVE).isdisjoint(file))


def _sizes(path: Path) -> _Sizes | None:
    """The sizes in the header; None if they make no sense."""
    start = start_of(path, _START)
    if len(start) < _START:
        return None
    for order in "<>":
        (revision,) = struct.unpack_from(f"{order}f", start)
        if not (5 <= revision < 40):  # NaN included
            continue
        moved = revision > 25.5
        base = 144 if moved else 68
        receivers = 264 if moved else 200
        slices, echoes = struct.unpack_from(f"{order}Hh", start, base)
        (word,) = struct.unpack_from(f"{order}h", start, base + 14)
        samples, views = struct.unpack_from(f"{order}HH", start, base + 34)
        first, last = struct.unpack_from(f"{order}hh", start, receivers)
        if revision < 11:
            data = _SIZES.get(revision, 0)
        else:
            (data,) = struct.unpack_from(f"{order}i", start, 4 if moved else 1468)
        sound = _START <= data < 1 << 28 and word in (2, 4) and slices >= 1 and echoes >= 1
        if sound and samples >= 2 and views >= 2 and 0 <= last - first < 1024:
            return _Sizes(
                revision, data, slices, echoes, word, samples, views, last - first + 1, order
            )
    return None


def open_file(path: Path, field_of_view: tuple[float, ...] | None = None) -> RawFile:
    """Look at the sizes in the header.

    Parameters
    ----------
    path
        The file.
    field_of_view
        In mm, ``(x, y[, slice])``: it is not read from the file.
    """
    sizes = _sizes(path)
    if sizes is None:
        raise FormatError(
            path, "", "is a GE ScanArchive, which only GE's Orchestra reads: convert it with "
            "ge_to_ismrmrd and load the result",
        )  # fmt: skip
    count = sizes.slices * sizes.echoes * (sizes.views - 1)
    point = 2 * sizes.word
    frame = sizes.samples * point
    coil = sizes.slices * sizes.echoes * sizes.views * frame
    content = mapped(path)
    if sizes.data + sizes.coils * coil > content.size:
        raise FormatError(
            None, "", f"holds {content.size} bytes, its header asks for {sizes.coils} coils of "
            f"{coil} after {sizes.data}",
        )  # fmt: skip
    place, view = np.divmod(np.arange(count, dtype=np.int64), sizes.views - 1)
    first = sizes.data + (place * sizes.views + view + 1) * frame
    kind = f"{sizes.order}i{sizes.word}"
    head = np.zeros(count, ACQUISITION_HEADER)
    head["version"] = 1
    head["scan_counter"] = np.arange(count)
    head["number_of_samples"], head["center_sample"] = sizes.samples, sizes.samples // 2
    head["available_channels"] = head["active_channels"] = sizes.coils
    head["idx"]["kspace_encode_step_1"] = view
    head["idx"]["slice"], head["idx"]["contrast"] = np.divmod(place, sizes.echoes)
    header = _header(sizes, field_of_view)
    data = StoredReadouts(
        content,
        first,
        np.full(count, sizes.coils, np.int64),
        np.full(count, sizes.samples, np.int64),
        np.dtype([("real", kind), ("imaginary", kind)]),
        strides=(coil, point),
    )
    raw = readout_file(Acquisitions.of(head, data, header, NAME))
    missing = ["orientation: not read from P-files"]
    if field_of_view is None:
        missing.append("field of view: voxels of 1 mm; field_of_view= gives it")
    facts = {**raw.facts, "header_revision": round(sizes.revision, 3)}
    return dataclasses.replace(raw, facts=facts, missing=(*missing, *raw.missing))


def _header(sizes: _Sizes, field_of_view: tuple[float, ...] | None) -> xsd.ismrmrdHeader:
    matrix = (sizes.samples, sizes.views - 1, 1)
    given = field_of_view or ()
    view = [*given, *(float(n) for n in matrix[len(given) :])]
    layout = header_parts.encoding(matrix, view, matrix, view)
    return header_parts.header("GE", sizes.coils, layout)
