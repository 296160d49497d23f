"""Variable-length lists and strings of HDF5 files, checked before the library follows them.

HDF5 allocates what the lengths and sizes in the file say and compares later: one changed byte
makes it ask for gigabytes, or read beyond its memory. A list is kept as its length, the address
of a global heap and its place in there (HDF5 file format specification, III.E and VIII).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

_HEAP = b"GCOL\x01\0\0\0"  # signature, version, reserved


def require_sound_heaps(path: Path) -> None:
    """Check the sizes in all global heaps of a file.

    Raises
    ------
    FormatError
        An object of a heap that reaches beyond it, a heap beyond the file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_HEAP)
        while start >= 0:
            if not _is_sound(content, start):
                raise FormatError(path, f"byte {start}", "a heap's sizes do not add up")
            start = content.find(_HEAP, start + len(_HEAP))


def _is_sound(content: mmap.mmap, start: int) -> bool:
    """Whether a heap and the sizes of its objects stay within their bounds."""
    if start + 16 > len(content):
        return False
    end = start + int(struct.unpack_from("<Q", content, start + 8)[0])
    if end > len(content):
        return False
    at = start + 16
    while at + 16 <= end:
        index, _, _, size = struct.unpack_from("<HHIQ", content, at)
        if index == 0:  # the free space at the end, its own header included
            return bool(at + size <= end)
        at += 16 + (size + 7) // 8 * 8
        if at > end:
            return False
    return True


def require_sound_lists(node: h5py.Dataset, offsets: Sequence[int]) -> None:
    """Check that the lists of 4-byte numbers in a dataset's elements fit into the file.

    `offsets` says where the lists stand in an element. Elements behind a filter are not looked at.

    Raises
    ------
    FormatError
        Lists longer than the file.
    """
    raw = _raw_elements(node)
    if raw is None:
        return
    lengths = [np.ascontiguousarray(raw[:, at : at + 4]).view("<u4") for at in offsets]
    total = 4 * sum(int(part.sum(dtype=np.uint64)) for part in lengths)
    available = Path(node.file.filename).stat().st_size
    if total > available:
        place = str(node.name).strip("/")
        raise FormatError(None, place, f"declares lists of {total} bytes, the file has {available}")


def _raw_elements(node: h5py.Dataset) -> NDArray[np.uint8] | None:
    """Bytes of the elements ``(element, byte)`` as stored; None where they are filtered."""
    width = node.dtype.itemsize
    if node.id.get_create_plist().get_nfilters() or node.ndim > 1:
        return None
    if node.chunks is None:
        offset = node.id.get_offset()
        if offset is None:
            return None
        data = np.fromfile(node.file.filename, np.uint8, node.size * width, offset=offset)
        return data[: len(data) // width * width].reshape(-1, width)
    parts = []
    for number in range(node.id.get_num_chunks()):
        _, chunk = node.id.read_direct_chunk(node.id.get_chunk_info(number).chunk_offset)
        parts.append(np.frombuffer(chunk, np.uint8))
    data = np.concatenate(parts)
    return data[: len(data) // width * width].reshape(-1, width)
