"""Varian's projections: .hnd (OBI) and .xim (TrueBeam, Halcyon), plain or compressed.

Both keep second differences of the pixels in one, two or four bytes; two bits a pixel say how
many. The first row and one pixel more stand as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError, format_errors
from .sniffing import start_of

_HND = b"VARIAN_VA_INTERNAL_HND"
_XIM = b"VMS.XI"
_HND_HEADER = 1024
_LARGEST_SIDE = 1 << 14
_LARGEST_FILE = 1 << 28
_WIDTHS = np.array([1, 2, 4, 0])  # bytes of a difference, by its two bits; 3 means nothing
# Doubles of an .hnd header from byte 168, by their place.
_HND_NUMBERS = {
    "GantryRtn": 0, "SourceToAxis": 1, "SourceToFilm": 2, "PixelWidth": 23, "PixelHeight": 24,
    "KiloVolts": 29, "MilliAmperes": 30, "Angle": 33, "NormChamber": 34,
}  # fmt: skip


@dataclass(frozen=True)
class Projection:
    """A view: readings ``(row, column)``, and what its header says by name."""

    readings: NDArray[np.uint32]
    numbers: Mapping[str, float]


def is_projection(path: Path) -> bool:
    """Whether a file starts as either format does."""
    return start_of(path, len(_HND)).startswith((_HND, _XIM))


def read_projection(path: Path, *, pixels: bool = True) -> Projection:
    """Read a file; without pixels, readings are ``(rows, columns)`` of nothing in memory.

    Raises
    ------
    FormatError
        A broken file.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    with format_errors(path):
        content = path.read_bytes()
        if content.startswith(_XIM):
            return _read_xim(content, pixels)
        if content.startswith(_HND):
            return _read_hnd(content, pixels)
        raise FormatError(None, "", "is neither .hnd nor .xim")


def _read_hnd(content: bytes, pixels: bool) -> Projection:
    if len(content) < _HND_HEADER:
        raise FormatError(None, "header", f"has {len(content)} of {_HND_HEADER} bytes")
    columns, rows = struct.unpack_from("<II", content, 120)
    doubles = struct.unpack_from("<36d", content, 168)
    numbers = {name: doubles[place] for name, place in _HND_NUMBERS.items()}
    _check_size(rows, columns)
    if not pixels:
        return Projection(_hollow(rows, columns), numbers)
    table = (rows - 1) * columns // 4
    start = _HND_HEADER + table
    packed = np.frombuffer(content, np.uint8)
    return Projection(
        _inflated(packed[_HND_HEADER:start], packed[start:], rows, columns), numbers
    )  # fmt: skip


def _read_xim(content: bytes, pixels: bool) -> Projection:
    columns, rows, _, width, compressed = struct.unpack_from("<5i", content, 12)
    at = 32
    if rows * columns:
        _check_size(rows, columns)
    packed = np.frombuffer(content, np.uint8)
    if compressed:
        table, at = _block(content, at)
        body, at = _block(content, at)
        at += 4  # size of what comes out
        if not (pixels and rows):
            image = _hollow(rows, columns)
        else:
            image = _inflated(
                packed[table[0] : table[1]], packed[body[0] : body[1]], rows, columns
            )  # fmt: skip
    else:
        body, at = _block(content, at)
        image = _hollow(rows, columns)
        if pixels and rows:
            if width not in (1, 2, 4) or body[1] - body[0] != rows * columns * width:
                raise FormatError(
                    None, "pixels", f"take {body[1] - body[0]} bytes, expected {rows} x {columns} "
                    f"of {width}",
                )  # fmt: skip
            image = packed[body[0] : body[1]].view(f"<u{width}").reshape(rows, columns)
    (bins,) = struct.unpack_from("<i", content, at)
    if bins < 0:
        raise FormatError(None, "histogram", f"has {bins} bins")
    return Projection(image.astype(np.uint32, copy=False), _properties(content, at + 4 + 4 * bins))


def _block(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    """First and last byte of a block behind its size, and where the next one starts."""
    (size,) = struct.unpack_from("<i", content, at)
    if not 0 <= size <= len(content) - at - 4:
        raise FormatError(None, f"byte {at}", f"a block of {size} bytes is cut off")
    return (at + 4, at + 4 + size), at + 4 + size


def _properties(content: bytes, at: int) -> dict[str, float]:
    """Properties that are one number; others are passed over."""
    (count,) = struct.unpack_from("<i", content, at)
    at += 4
    found: dict[str, float] = {}
    for _ in range(max(count, 0)):
        name, at = _block(content, at)
        (kind,) = struct.unpack_from("<i", content, at)
        at += 4
        key = content[name[0] : name[1]].decode("utf-8", "replace")
        if kind == 0:
            found[key] = float(struct.unpack_from("<i", content, at)[0])
            at += 4
        elif kind == 1:
            found[key] = float(struct.unpack_from("<d", content, at)[0])
            at += 8
        elif kind in (2, 4, 5):
            _, at = _block(content, at)
        else:
            raise FormatError(None, key[:40], f"is of kind {kind}, expected 0, 1, 2, 4 or 5")
    return found


def _inflated(
    table: NDArray[np.uint8], body: NDArray[np.uint8], rows: int, columns: int
) -> NDArray[np.uint32]:
    """Pixels from their second differences: along the row, of what changed since the row before."""
    whole = 4 * (columns + 1)
    if body.size < whole or rows < 2:
        raise FormatError(None, "pixels", f"first row takes {whole} bytes, there are {body.size}")
    first = body[:whole].view("<i4").astype(np.int64)
    count = rows * columns - columns - 1
    bits = (table[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    widths = _WIDTHS[bits.ravel()[:count]]
    if widths.size < count or not widths.all():
        raise FormatError(
            None, "lookup table", f"tells {np.count_nonzero(widths)} of {count} widths"
        )
    starts = np.concatenate([[0], np.cumsum(widths)])
    data = body[whole:]
    if starts[-1] > data.size:
        raise FormatError(None, "pixels", f"take {starts[-1]} bytes, there are {data.size}")
    steps = np.empty(count, np.int64)
    for width in (1, 2, 4):
        chosen = widths == width
        places = starts[:-1][chosen, None] + np.arange(width)
        steps[chosen] = data[places].view(f"<i{width}").ravel()
    changes = np.empty(rows * columns, np.int64)  # of a pixel against the one before it
    changes[0] = first[0]
    changes[1 : columns + 1] = np.diff(first)
    changes[columns] -= changes[0]  # the sum over rows below gives it back
    changes[columns + 1 :] = steps
    changes = np.cumsum(changes.reshape(rows, columns), axis=0).ravel()
    image = np.cumsum(changes) & 0xFFFFFFFF
    return image.astype(np.uint32).reshape(rows, columns)


def _check_size(rows: int, columns: int) -> None:
    if not (0 < rows <= _LARGEST_SIDE and 0 < columns <= _LARGEST_SIDE):
        raise FormatError(None, "size", f"is {rows} x {columns} pixels")


def _hollow(rows: int, columns: int) -> NDArray[np.uint32]:
    """An image of a size that takes no memory."""
    return np.broadcast_to(np.uint32(0), (max(rows, 0), max(columns, 0)))
