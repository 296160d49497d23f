"""Variable-length lists of HDF5 files, checked before the library follows them.

HDF5 allocates what the lengths and sizes in the file say and compares later: one changed byte
makes it ask for gigabytes. A list is kept as its length, the address of a global heap and its
place in there (HDF5 file format specification, III.E and VIII).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

_DESCRIPTOR = np.dtype([("length", "<u4"), ("heap", "<u8"), ("place", "<u4")])


def require_sound_lists(node: h5py.Dataset, lists: Mapping[int, int]) -> None:
    """Check the lists of a dataset's elements.

    `lists` says where the lists stand in an element, and the bytes of one of their items. Elements
    that are behind a filter are not looked at.

    Raises
    ------
    FormatError
        Lists longer than the file, heaps whose sizes do not add up.
    """
    raw = _raw_elements(node)
    if raw is None:
        return
    place = str(node.name).strip("/")
    path = Path(node.file.filename)
    available = path.stat().st_size
    heaps: set[int] = set()
    total = 0
    for offset, size in lists.items():
        bytes_of_lists = np.ascontiguousarray(raw[:, offset : offset + _DESCRIPTOR.itemsize])
        found = bytes_of_lists.view(_DESCRIPTOR)[:, 0]
        total += int(found["length"].sum(dtype=np.uint64)) * size
        heaps.update(found["heap"][found["length"] > 0].tolist())
    if total > available:
        raise FormatError(None, place, f"declares lists of {total} bytes, the file has {available}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for heap in sorted(heaps):
            if not _sound_heap(content, heap + node.file.userblock_size):
                raise FormatError(None, place, f"the heap at byte {heap} is broken")


def _sound_heap(content: mmap.mmap, start: int) -> bool:
    """Whether a global heap and the sizes of its objects stay within their bounds."""
    if start + 16 > len(content) or content[start : start + 4] != b"GCOL":
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


def _raw_elements(node: h5py.Dataset) -> NDArray[np.uint8] | None:
    """Bytes of the elements ``(element, byte)`` as stored; None where they are filtered."""
    width = node.id.get_type().get_size()  # NumPy counts a list as a pointer
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
