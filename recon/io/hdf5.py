"""HDF5 files from strangers: every dataset is checked before its bytes are trusted."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import FormatError, format_errors
from .hdf5_attributes import attribute_bytes
from .hdf5_lists import list_places, stored_elements
from .stored import DEFLATE_RATIO, mapped

_HEAP = b"GCOL\x01\0\0\0"  # signature, version, reserved
_LARGEST_NUMBER = 65535  # of an object in a heap
_MOST_LINKS = 40  # soft ones on the way to an object

Index = tuple[int | slice | EllipsisType, ...]
_CONTENTS: dict[str, NDArray[np.uint8]] = {}  # bytes of the open files, by h5py's name for them


class _GuardedFile(io.FileIO):
    """A file whose heaps are checked when HDF5 reads them: it trusts their sizes and crashes."""

    def __repr__(self) -> str:  # h5py's name for the file
        return f"guarded file {id(self)}"

    def readinto(self, buffer: Any) -> int:
        at = self.tell()
        count = super().readinto(buffer) or 0
        if count >= 16 and bytes(memoryview(buffer)[:8]) == _HEAP and not self._is_sound(at):
            raise OSError(f"byte {at}: a heap's sizes do not add up")
        return count

    def _is_sound(self, start: int) -> bool:
        """Whether a heap and the sizes of its objects stay within their bounds."""
        file_end = os.fstat(self.fileno()).st_size
        end = start + int(struct.unpack("<Q", os.pread(self.fileno(), 8, start + 8))[0])
        if end > file_end:
            return False
        at = start + 16
        for _ in range(_LARGEST_NUMBER):
            if at + 16 > end:
                return True
            index, size = struct.unpack("<H6xQ", os.pread(self.fileno(), 16, at))
            if index == 0:  # the free space at the end, its own header included
                return bool(at + size <= end)
            at += 16 + (size + 7) // 8 * 8
            if at > end:
                return False
        return False


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; what HDF5 finds wrong with it becomes a `FormatError`."""
    with (
        format_errors(path, "HDF5"),
        _GuardedFile(path) as guarded,
        h5py.File(guarded, "r") as file,
    ):
        _CONTENTS[file.filename] = mapped(path)
        try:
            yield file
        finally:
            del _CONTENTS[file.filename]


def _content_of(node: h5py.Dataset | h5py.Group) -> NDArray[np.uint8]:
    return _CONTENTS[node.file.filename]


def looks_like(path: Path, test: Callable[[h5py.File], bool]) -> bool:
    """Whether a file has HDF5's signature and passes a test of its names; no data are read.

    Raises
    ------
    FormatError
        An HDF5 file that cannot be opened.
    """
    if not (path.is_file() and h5py.is_hdf5(path)):
        return False
    with open_hdf5(path) as file:
        return test(file)


def has(file: h5py.File, *names: str) -> bool:
    """Whether all these datasets or groups exist and can be opened."""
    try:
        return all(find(file, name) is not None for name in names)
    except FormatError:
        return False


def find(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """Return the object at a path, or None; links that leave the file are refused.

    Raises
    ------
    FormatError
        A link to another file, more than 40 soft links on the way: a circle.
    """
    root = group.file["/"]
    node: Any = root if name.startswith("/") else group
    left, links = name.split("/")[::-1], 0  # parts of the path, the next one last
    while left:
        part = left.pop()
        if not part:
            continue
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise FormatError(None, name, f"links to another file, {link.filename!r}: refused")
        if not isinstance(link, h5py.SoftLink):
            node = node[part]
            continue
        links += 1
        if links > _MOST_LINKS:
            raise FormatError(None, name, "soft links go round in a circle")
        left += link.path.split("/")[::-1]
        node = root if link.path.startswith("/") else node
    return node


def dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset whose bytes are in this file and may be as many as it declares.

    Raises
    ------
    FormatError
        Missing, not a dataset, kept in another file, or larger than what is stored can hold.
    """
    node = find(group, name)
    place = f"{group.name}/{name}".strip("/")
    if node is None:
        present = ", ".join(sorted(group)) or "nothing"
        raise FormatError(None, place, f"missing; {group.name} holds {present}")
    if not isinstance(node, h5py.Dataset):
        raise FormatError(None, place, "is a group, expected a dataset")
    if node.external or node.is_virtual:
        raise FormatError(None, place, "keeps its data in another file: refused")
    if node.shape is None:
        raise FormatError(None, place, "is empty")
    stored = node.id.get_storage_size()
    properties = node.id.get_create_plist()
    ratio = DEFLATE_RATIO if properties.get_nfilters() else 1
    size = node.dtype.itemsize
    chunk = size * int(np.prod(node.chunks or (0,), dtype=object))
    if max(node.size * size, chunk) > stored * ratio:
        raise FormatError(
            None, place, f"declares {node.shape} of {size} bytes each, of which the file stores "
            f"{stored}",
        )  # fmt: skip
    return node


def read_array(
    group: h5py.Group, name: str, kinds: str = "biuf", index: Index = ()
) -> NDArray[Any]:
    """Read a numeric dataset, or the part of it at `index`, in native byte order.

    `kinds` are the NumPy kinds expected (``"c"`` for complex). Complex numbers may be stored as
    HDF5 compounds of a real and an imaginary part under any names.
    """
    node = dataset(group, name)
    place = str(node.name).strip("/")
    if number_kind(node) not in kinds:
        expected = "complex numbers" if kinds == "c" else "numbers"
        raise FormatError(None, place, f"holds {node.dtype}, expected {expected}")
    with format_errors(None, place):
        array = np.asarray(node[index])
    if array.dtype.names:
        return _complex_from_pairs(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def number_kind(node: h5py.Dataset) -> str:
    """NumPy's kind of the numbers in a dataset; pairs of floats count as complex."""
    dtype = node.dtype
    is_pair = (
        dtype.names is not None
        and [dtype[part].kind for part in dtype.names] == ["f", "f"]
        and dtype[0] == dtype[1]
    )
    return "c" if is_pair else str(dtype.kind)


def _complex_from_pairs(array: NDArray[Any]) -> NDArray[Any]:
    first, second = array.dtype.names or ("", "")
    result = np.empty(array.shape, np.result_type(array.dtype[first], np.complex64))
    result.real, result.imag = array[first], array[second]
    return result


def read_text(group: h5py.Group, name: str) -> str:
    """Read a string, scalar or the first of an array; stray bytes are replaced."""
    node = dataset(group, name)
    place = str(node.name).strip("/")
    if not h5py.check_string_dtype(node.dtype) or not node.size:
        raise FormatError(None, place, f"holds {node.shape} {node.dtype}, expected text")
    if h5py.check_string_dtype(node.dtype).length is not None:
        with format_errors(None, place):
            return as_text(np.asarray(node[()]).reshape(-1)[0])
    content = _content_of(node)
    return _string(stored_elements(node, content)[:1], content, place)


def attribute(node: h5py.Dataset | h5py.Group, name: str, default: Any) -> Any:
    """Read an attribute that is text, a number or a few of them; others count as missing.

    Types are looked at first: HDF5 crashes on some that it cannot convert.
    """
    if name not in node.attrs:
        return default
    found = node.attrs.get_id(name)
    text = h5py.check_string_dtype(found.dtype)
    if text and text.length is None:
        content = _content_of(node)
        stored = attribute_bytes(node, name, content)
        if stored is None or len(stored) < 16:
            return default
        return _string(stored[None, :16], content, f"attribute {name}")
    if text:
        return as_text(node.attrs[name])
    return node.attrs[name] if found.dtype.kind in "biuf" else default


def _string(reference: NDArray[np.uint8], content: NDArray[np.uint8], place: str) -> str:
    """The text that the first reference to a variable-length string means."""
    first, length = list_places(reference, 0, content, 1, place)
    return as_text(content[int(first[0]) : int(first[0] + length[0])].tobytes())


def as_text(value: object) -> str:
    """Text of a string, whichever way it was stored."""
    if isinstance(value, np.ndarray) and value.size:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
