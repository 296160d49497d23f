"""MATLAB files of version 5: arrays of numbers and structures of them, read with every length held
against the file's.

SciPy crashes on damaged structures. Text, cells, objects and sparse matrices are passed over.
MathWorks, "MAT-File Level 5 File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .sniffing import start_of
from .stored import mapped

_LARGEST_SHARE = 64  # uncompressed bytes for each byte of the file beyond which it is a bomb
_ALWAYS_ALLOWED = 1 << 24
_COMPRESSED, _MATRIX, _INT32 = 15, 14, 5
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
           13: "u8"}  # fmt: skip
# By class; numbers may be stored in fewer bytes than they have.
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
            15: "u8"}  # fmt: skip
_STRUCTURE = 2
_COMPLEX = 0x800
_DEEPEST = 8
_LARGEST_HEADER = 1 << 12

# Numbers, structures (a table of values for each item of the array), or nothing that is read.
Value: TypeAlias = "NDArray[Any] | list[dict[str, Value]] | None"


@dataclass(frozen=True)
class Variable:
    """A variable as its header tells: whether it holds numbers, or structures."""

    name: str
    shape: tuple[int, ...]
    is_numeric: bool
    is_structure: bool


@dataclass(frozen=True)
class _Element:
    kind: int
    start: int
    size: int
    next: int


def is_matlab_v5(path: Path) -> bool:
    """Whether a file has the text and the mark of byte order that version 5 starts with."""
    start = start_of(path, 128)
    return start.startswith(b"MATLAB 5.0 MAT-file") and start[126:128] in (b"IM", b"MI")


def variables(path: Path) -> list[Variable]:
    """The variables of a file, by their headers.

    Raises
    ------
    FormatError
        Elements beyond the end, compressed ones that swell more than 64 times.
    """
    require_no_bomb(path)
    content, order = _opened(path)
    heads = (_head(content, element, order) for element in _stored(content, order))
    return [head for head in heads if head is not None]


def read_variable(path: Path, name: str) -> Value:
    """The first variable of a name; arrays have MATLAB's shape.

    Raises
    ------
    FormatError
        No such variable, broken elements.
    """
    content, order = _opened(path)
    for element in _stored(content, order):
        head = _head(content, element, order)
        if head is not None and head.name == name:
            return _value(*_unpacked(content, element, order), order, 0)
    raise FormatError(None, name, "no such variable")


def _opened(path: Path) -> tuple[NDArray[np.uint8], str]:
    content = mapped(path)
    return content, "<" if content[126:128].tobytes() == b"IM" else ">"


def _stored(content: NDArray[np.uint8], order: str) -> Iterator[_Element]:
    """The elements of a file, matrices and compressed ones."""
    at = 128
    while at + 8 <= len(content):
        element = _element(content, at, order)
        if element.size and element.kind in (_MATRIX, _COMPRESSED):
            yield element
        at = element.next


def _head(content: NDArray[np.uint8], element: _Element, order: str) -> Variable | None:
    """What a stored matrix is; of a compressed one no more is inflated than that takes."""
    if element.kind == _COMPRESSED:
        content = _inflated(content, element, _LARGEST_HEADER)
        element = _element(content, 0, order, whole=False)
    return _header(content, element, order)[0] if element.kind == _MATRIX else None


def _unpacked(
    content: NDArray[np.uint8], element: _Element, order: str
) -> tuple[NDArray[np.uint8], _Element]:
    """Where a stored matrix lies, inflated if need be."""
    if element.kind == _MATRIX:
        return content, element
    inner = _inflated(content, element, max(_LARGEST_SHARE * len(content), _ALWAYS_ALLOWED))
    return inner, _element(inner, 0, order)


def _inflated(content: NDArray[np.uint8], element: _Element, room: int) -> NDArray[np.uint8]:
    """Up to `room` bytes of a compressed element."""
    packed = content[element.start : element.start + element.size].tobytes()
    return np.frombuffer(zlib.decompressobj().decompress(packed, room), np.uint8)


def _element(content: NDArray[np.uint8], at: int, order: str, *, whole: bool = True) -> _Element:
    """The element at a place; a small one has its type and size in four bytes."""
    if at < 0 or at + 8 > len(content):
        raise FormatError(None, f"byte {at}", "ends within an element")
    word, size = struct.unpack(f"{order}II", content[at : at + 8].tobytes())
    if word >> 16:
        if word >> 16 > 4:
            raise FormatError(None, f"byte {at}", f"a small element of {word >> 16} bytes")
        return _Element(word & 0xFFFF, at + 4, word >> 16, at + 8)
    end = at + 8 + size
    if whole and end > len(content):
        raise FormatError(None, f"byte {at}", f"an element of {size} bytes is cut off")
    # Only compressed elements are not padded to eight bytes.
    return _Element(word, at + 8, size, end if word == _COMPRESSED else end + -end % 8)


def _header(content: NDArray[np.uint8], element: _Element, order: str) -> tuple[Variable, int, int]:
    """What a matrix is, its class with its flags, and where its values start."""
    flags = _element(content, element.start, order)
    sizes = _element(content, flags.next, order)
    name = _element(content, sizes.next, order)
    if flags.size < 8 or sizes.kind != _INT32 or not 8 <= sizes.size <= 128 or sizes.size % 4:
        raise FormatError(None, f"byte {element.start}", "is no header of a matrix")
    (word,) = struct.unpack(f"{order}I", content[flags.start : flags.start + 4].tobytes())
    raw = content[sizes.start : sizes.start + sizes.size].tobytes()
    shape = struct.unpack(f"{order}{sizes.size // 4}i", raw)
    if min(shape) < 0:
        raise FormatError(None, f"byte {sizes.start}", f"declares sizes {shape}")
    text = content[name.start : name.start + name.size].tobytes().decode("utf-8", "replace")
    kind = word & 0xFF
    return (
        Variable(text, tuple(shape), kind in _NUMBERS, kind == _STRUCTURE),
        word & 0xFFFF,
        name.next,
    )


def _value(content: NDArray[np.uint8], element: _Element, order: str, depth: int) -> Value:
    """Value of a matrix; None of what is not read."""
    variable, word, at = _header(content, element, order)
    if variable.is_numeric:
        array = _numbers(content, at, order, variable.shape)
        dtype = np.dtype(_NUMBERS[word & 0xFF])
        if word & _COMPLEX:
            behind = _element(content, at, order).next
            imaginary = _numbers(content, behind, order, variable.shape)
            kind = np.complex64 if word & 0xFF == 7 else np.complex128
            return (array + 1j * imaginary).astype(kind)
        return array.astype(dtype, copy=False)
    if variable.is_structure and depth < _DEEPEST:
        return _structures(content, at, order, variable.shape, depth)
    return None


def _numbers(
    content: NDArray[np.uint8], at: int, order: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    element = _element(content, at, order)
    if element.kind not in _STORED:
        raise FormatError(None, f"byte {at}", f"is of type {element.kind}, expected numbers")
    dtype: np.dtype[Any] = np.dtype(order + _STORED[element.kind])
    if element.size != prod(shape) * dtype.itemsize:
        raise FormatError(
            None, f"byte {at}", f"{element.size} bytes hold no {shape} numbers of {dtype.itemsize}"
        )
    stored = content[element.start : element.start + element.size]
    return np.frombuffer(stored, dtype).reshape(shape, order="F")


def _structures(
    content: NDArray[np.uint8], at: int, order: str, shape: tuple[int, ...], depth: int
) -> list[dict[str, Value]]:
    """A table of fields for each item, in MATLAB's order."""
    length = _element(content, at, order)
    names = _element(content, length.next, order)
    if length.size != 4:
        raise FormatError(None, f"byte {at}", "is no length of field names")
    (width,) = struct.unpack(
        f"{order}i", content[length.start : length.start + 4].tobytes()
    )  # fmt: skip
    if not 0 < width <= 1024 or names.size % width:
        raise FormatError(None, f"byte {names.start}", f"{names.size} bytes of names of {width}")
    raw = content[names.start : names.start + names.size].tobytes()
    fields = [
        raw[i : i + width].split(b"\0")[0].decode("utf-8", "replace")
        for i in range(0, len(raw), width)
    ]
    if prod(shape) * len(fields) * 8 > len(content):  # each value has a header
        raise FormatError(
            None, f"byte {at}", f"declares {shape} structures of {len(fields)} fields"
        )
    at, items = names.next, []
    for _ in range(prod(shape)):
        item: dict[str, Value] = {}
        for field in fields:
            element = _element(content, at, order)
            if element.kind != _MATRIX:
                raise FormatError(None, f"byte {at}", f"field {field}: no matrix")
            item[field] = _value(content, element, order, depth + 1) if element.size else None
            at = element.next
        items.append(item)
    return items


def require_no_bomb(path: Path) -> None:
    """Look through a file's elements: their sizes must be what the file can hold.

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
            if kind == _COMPRESSED:
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
