"""EDF (ESRF data format): text headers of 512 bytes or a multiple, each with an image behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .sniffing import start_of
from .stored import mapped

_TYPES = {
    "signedbyte": "i1", "unsignedbyte": "u1", "signedshort": "i2", "unsignedshort": "u2",
    "signedinteger": "i4", "unsignedinteger": "u4", "signedlong": "i4", "unsignedlong": "u4",
    "signed64": "i8", "unsigned64": "u8", "float": "f4", "floatvalue": "f4", "real": "f4",
    "double": "f8", "doublevalue": "f8",
}  # fmt: skip
_USUAL_HEADER, _LARGEST_HEADER = 1 << 10, 1 << 16
_LARGEST_COUNT = 1 << 20


@dataclass(frozen=True)
class _Stored:
    """Where an image lies."""

    file: Path
    start: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]


def is_edf(path: Path) -> bool:
    """Whether a file starts with EDF's brace and keys."""
    start = start_of(path, 512)
    return start.lstrip()[:1] == b"{" and re.search(rb"Dim_1|HeaderID", start) is not None


class EdfFrames:
    """Frames ``(frame, row, column)`` of EDF files, read when they are asked for.

    Raises
    ------
    FormatError
        Broken headers, frames of several sizes, sizes that a file cannot hold.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._images = [image for file in files for image in _images(file)]
        first = self._images[0]
        for image in self._images:
            if (image.shape, image.dtype) != (first.shape, first.dtype):
                raise FormatError(
                    image.file, f"byte {image.start}", f"holds {image.shape} {image.dtype}, the "
                    f"first {first.shape} {first.dtype}",
                )  # fmt: skip
        self.shape = (len(self._images), *first.shape)
        self.dtype = first.dtype.newbyteorder("=")

    def read(self, rows: int | slice = slice(None)) -> NDArray[Any]:
        """All frames, or some rows of each; a single row keeps its axis."""
        rows = rows if isinstance(rows, slice) else slice(rows, rows + 1)
        count = len(range(self.shape[1])[rows])
        frames = np.empty((self.shape[0], count, self.shape[2]), self.dtype)
        for number, image in enumerate(self._images):
            size = image.shape[0] * image.shape[1] * image.dtype.itemsize
            stored = mapped(image.file)[image.start : image.start + size]
            frames[number] = np.frombuffer(stored, image.dtype).reshape(image.shape)[rows]
        return frames


def _images(file: Path) -> list[_Stored]:
    """All images of a file, one behind the other."""
    content = mapped(file)
    at = 0
    found: list[_Stored] = []
    while at < len(content) and len(found) < _LARGEST_COUNT:
        head = content[at : at + _USUAL_HEADER].tobytes()
        if b"}" not in head:
            head = content[at : at + _LARGEST_HEADER].tobytes()
        if not head.strip(b"\0\r\n "):
            break  # padding at the end
        end = head.find(b"}")
        if head.lstrip()[:1] != b"{" or end < 0:
            raise FormatError(file, f"byte {at}", "is no EDF header in braces")
        said = _values(head[: end + 1].decode("latin-1"))
        start = at + _behind(head, end)
        columns, rows = (_count(file, said, f"dim_{axis}") for axis in (1, 2))
        kind = said.get("datatype", "").lower()
        if kind not in _TYPES:
            raise FormatError(file, "DataType", f"is {kind!r:.40}")
        if said.get("compression", "none").lower() not in ("none", "nocompression", ""):
            raise FormatError(file, "Compression", f"is {said['compression']!r:.40}, expected none")
        order = ">" if said.get("byteorder", "").lower().startswith("high") else "<"
        dtype: np.dtype[Any] = np.dtype(order + _TYPES[kind])
        size = rows * columns * dtype.itemsize
        if start + size > len(content):
            raise FormatError(
                file, f"byte {start}", f"an image of {size} bytes is cut off after "
                f"{len(content) - start}",
            )  # fmt: skip
        found.append(_Stored(file, start, (rows, columns), dtype))
        at = start + size
    if not found:
        raise FormatError(file, "", "holds no EDF image")
    return found


def _behind(head: bytes, brace: int) -> int:
    """Where the image starts: after the brace and its line's end."""
    end = brace + 1
    for _ in range(2):
        if head[end : end + 1] in (b"\n", b"\r"):
            end += 1
    return end


def _values(text: str) -> dict[str, str]:
    """Keys in small letters and values of ``key = value ;``."""
    pairs = (entry.partition("=") for entry in text.strip("{} \r\n\t").split(";"))
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _count(file: Path, said: dict[str, str], name: str) -> int:
    text = said.get(name, "1" if name == "dim_2" else "")
    if not text.isdigit() or not 0 < int(text) <= _LARGEST_COUNT:
        raise FormatError(file, name, f"is {text!r:.40}, expected a number of pixels")
    return int(text)
