"""MRD version 2 (https://ismrmrd.github.io/mrd): binary streams, decoded by `mrd-python`."""

from __future__ import annotations

import dataclasses
import enum
import typing
from pathlib import Path
from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from ...extras import extra_library
from ..acquisitions import ACQUISITION_HEADER, Acquisitions
from ..errors import FormatError
from ..protocol import parse_header
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..sniffing import start_of
from ..stored import mapped

NAME = "MRD 2"
_MAGIC = b"yardl\x01\0\0\0"
_LARGEST_NUMBER = 10  # bytes of a variable-length integer
_LARGEST_AXES = 8


def matches(path: Path) -> bool:
    """Whether a file begins as streams of the MRD 2 protocol do."""
    start = start_of(path, 256)
    return start.startswith(_MAGIC) and b'"name":"Mrd"' in start


def open_file(path: Path, encoding: int | None = None) -> RawFile:
    """Look at the headers of all readouts; their samples stay in the file.

    Parameters
    ----------
    path
        The file.
    encoding
        Which encoding space. Default: the first that has readouts.
    """
    mrd = extra_library("mrd", "vendors", "mrd-python")
    extra_library("mrd.binary", "vendors", "mrd-python")
    reader = _reader(mrd, mapped(path))
    header = reader.read_header()
    if header is None:
        raise FormatError(None, "header", "missing")
    heads: list[NDArray[np.void]] = []
    data: list[NDArray[Any]] = []
    trajectory: list[NDArray[Any]] = []
    for item in reader.read_data():
        if not isinstance(item, mrd.StreamItem.Acquisition):
            continue
        acquisition = item.value
        heads.append(readout_header(acquisition, len(heads)))
        data.append(acquisition.data)
        trajectory.append(acquisition.trajectory.T)
    if not heads:
        raise FormatError(None, "data", "holds no readouts")
    made = parse_header(ismrmrd_header(header).toXML())  # checked as one from a file
    acquisitions = Acquisitions.of(np.concatenate(heads), data, made, NAME, trajectory)
    return readout_file(acquisitions, encoding)


def _reader(mrd: Any, content: NDArray[np.uint8]) -> Any:
    """The library's reader over bytes that stay where they are.

    Its own streams allocate whatever a length in the file says; this one looks at the file's size
    first, and hands out views instead of copies.
    """
    coded: Any = mrd._binary.CodedInputStream

    class Stream(coded):  # type: ignore[misc]
        def __init__(self) -> None:
            self._content, self._at = memoryview(content.data).toreadonly(), 0

        def close(self) -> None:
            pass

        def read_view(self, count: int) -> memoryview:
            if not 0 <= count <= len(self._content) - self._at:
                raise FormatError(
                    None, f"byte {self._at}", f"{count} bytes are declared, "
                    f"{len(self._content) - self._at} are left: truncated",
                )  # fmt: skip
            self._at += count
            return self._content[self._at - count : self._at]

        def read_bytearray(self, count: int) -> memoryview:
            return self.read_view(count)

        def read(self, formatter: Any) -> Any:
            return formatter.unpack(self.read_view(formatter.size))

        def read_byte(self) -> int:
            return self.read_view(1)[0]

        def read_unsigned_varint(self) -> int:
            result = 0
            for place in range(_LARGEST_NUMBER):
                byte = self.read_byte()
                result |= (byte & 0x7F) << 7 * place
                if byte < 0x80:
                    return result
            raise FormatError(None, f"byte {self._at}", "a number has more than 64 bits")

    class Reader(mrd.BinaryMrdReader):  # type: ignore[misc]
        def __init__(self) -> None:
            mrd.protocols.MrdReaderBase.__init__(self)
            self._stream = Stream()
            self._stream.read_view(len(_MAGIC))
            self._schema = bytes(self._stream.read_view(self._stream.read_unsigned_varint()))
            if self._schema.decode("utf-8", "replace") != self.schema:
                raise FormatError(
                    None, "schema", "is of another version of MRD 2 than the installed mrd-python"
                )

    return Reader()


def readout_header(acquisition: Any, number: int) -> NDArray[np.void]:
    """A header in ISMRMRD's layout."""
    theirs, head = acquisition.head, np.zeros(1, ACQUISITION_HEADER)
    data, k = acquisition.data, acquisition.trajectory
    if data.ndim != 2 or k.ndim != 2 or (k.size and k.shape[1] != data.shape[1]):
        raise FormatError(
            None, f"readout {number}", f"has data {data.shape} and a trajectory {k.shape}"
        )
    values: dict[str, Any] = {
        "version": 1,
        "flags": int(theirs.flags),
        "measurement_uid": theirs.measurement_uid,
        "scan_counter": theirs.scan_counter or 0,
        "acquisition_time_stamp": theirs.acquisition_time_stamp or 0,
        "number_of_samples": data.shape[1],
        "available_channels": data.shape[0],
        "active_channels": data.shape[0],
        "trajectory_dimensions": k.shape[0] if k.size else 0,
        "discard_pre": theirs.discard_pre or 0,
        "discard_post": theirs.discard_post or 0,
        "encoding_space_ref": theirs.encoding_space_ref or 0,
        "sample_time_us": theirs.sample_time_us or 0,
    }
    middle = theirs.center_sample
    values["center_sample"] = data.shape[1] // 2 if middle is None else middle
    for name, value in values.items():
        field = ACQUISITION_HEADER[name]
        if field.kind == "u" and not 0 <= value <= np.iinfo(field).max:
            raise FormatError(None, f"readout {number}", f"{name} is {value}")
        head[name] = value
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
        head[name] = getattr(theirs, name)
    for name in ACQUISITION_HEADER["idx"].names or ():
        if name != "user":
            count = getattr(theirs.idx, name) or 0
            if count > 65535:
                raise FormatError(None, f"readout {number}", f"{name} is {count}")
            head["idx"][name] = count
    return head


def ismrmrd_header(theirs: Any) -> xsd.ismrmrdHeader:
    """ISMRMRD's header with the elements that both have."""
    made = _element(xsd.ismrmrdHeader, theirs)
    assert isinstance(made, xsd.ismrmrdHeader)
    return made


def _element(kind: Any, theirs: Any) -> Any:
    """An element of ISMRMRD's schema, filled from the fields of the same name.

    MRD 2 writes names with underscores, ISMRMRD with capitals.
    """
    hints = typing.get_type_hints(kind)
    own = {_plain_name(field.name): field.name for field in dataclasses.fields(kind)}
    values = {}
    for name, value in vars(theirs).items():
        ours = own.get(_plain_name(name))
        if ours is not None and value is not None:
            converted = _converted(_alternatives(hints[ours]), value)
            if converted is not None:
                values[ours] = converted
    return kind(**values)


def _plain_name(name: str) -> str:
    return name.replace("_", "").lower()


def _alternatives(hint: Any) -> list[Any]:
    """The types that a field may have, alone or in a list."""
    arguments = typing.get_args(hint)
    return [a for argument in arguments for a in _alternatives(argument)] if arguments else [hint]


def _converted(wanted: list[Any], value: Any) -> Any:
    """A value as ISMRMRD has it; None where it has none like it (dates)."""
    if isinstance(value, list):
        return [v for v in (_converted(wanted, item) for item in value) if v is not None]
    for kind in wanted:
        if dataclasses.is_dataclass(kind):
            return _element(kind, value) if hasattr(value, "__dict__") else None
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            name = _plain_name(str(getattr(value, "name", value)))
            return next((m for m in kind if _plain_name(str(m.value)) == name), None)
    return value if isinstance(value, str | int | float) else None
