"""MATLAB files of version 5, before SciPy takes them: no element may swell or be cut off."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from .errors import FormatError
from .sniffing import start_of

_LARGEST_SHARE = 64  # uncompressed bytes for each byte of the file beyond which it is a bomb
_ALWAYS_ALLOWED = 1 << 24


def is_matlab_v5(path: Path) -> bool:
    """Whether a file has the text and the mark of byte order that version 5 starts with."""
    start = start_of(path, 128)
    return start.startswith(b"MATLAB 5.0 MAT-file") and start[126:128] in (b"IM", b"MI")


def require_no_bomb(path: Path) -> None:
    """Look through a version 5 file's elements: their sizes must be what the file can hold.

    Raises
    ------
    FormatError
        Elements beyond the end, compressed ones that swell more than 64 times.
    """
    size = path.stat().st_size
    room = max(_LARGEST_SHARE * size, _ALWAYS_ALLOWED)
    with path.open("rb") as file:
        start = file.read(128)
        order = "<" if start[126:128] == b"IM" else ">"
        at = 128
        while at + 8 <= size:
            file.seek(at)
            kind, length = struct.unpack(f"{order}II", file.read(8))
            if kind >> 16:  # a small element: type and length share four bytes
                length = 0
            if at + 8 + length > size:
                raise FormatError(None, f"byte {at}", f"an element of {length} bytes is cut off")
            if kind == 15:
                room -= _swelled(file.read(length), room, at)
            at += 8 + length
        if at != size:
            raise FormatError(None, f"byte {at}", "ends within an element")


def _swelled(data: bytes, room: int, at: int) -> int:
    """Bytes of a compressed element, of which no more are made at a time than a megabyte."""
    stream, total = zlib.decompressobj(), 0
    while data and not stream.eof:
        total += len(stream.decompress(data, 1 << 20))
        data = stream.unconsumed_tail
        if total > room:
            raise FormatError(None, f"byte {at}", "a compressed element swells beyond measure")
    if not stream.eof:
        raise FormatError(None, f"byte {at}", "a compressed element is cut off")
    return total
