"""Variable-length lists in HDF5 files, read where they lie.

HDF5 hands lists out one by one, copied three times; here a dataset of them becomes byte offsets
into the file. A list is kept as its length, the address of a global heap and its number in there
(HDF5 file format specification, III.E and VIII). Nothing is believed that the file's size denies.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .stored import gather

_DEFLATE, _SHUFFLE = 1, 2
_HEAP = int.from_bytes(b"GCOL\x01\0\0\0", "little")  # signature, version, reserved
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_OBJECT = np.dtype([("index", "<u2"), ("uses", "<u2"), ("zero", "<u4"), ("size", "<u8")])


def stored_elements(node: h5py.Dataset, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes of the elements of a list or a scalar as stored, ``(element, byte)``.

    Raises
    ------
    FormatError
        Elements beyond the end of the file, a filter other than deflate and shuffle.
    """
    width = _REFERENCE.itemsize if node.dtype.kind == "O" else node.dtype.itemsize
    place = str(node.name).strip("/")
    properties = node.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if not set(filters) <= {_DEFLATE, _SHUFFLE}:
        raise FormatError(None, place, f"is packed by HDF5 filters {filters}, known: deflate")
    if node.chunks is None:
        offset = node.id.get_offset()
        if offset is None or offset + node.size * width > content.size:
            raise FormatError(None, place, f"stores fewer than its {node.size} elements")
        return content[offset : offset + node.size * width].reshape(-1, width)
    chunks: list[h5py.h5d.StoreInfo] = []
    node.id.chunk_iter(chunks.append)
    chunks.sort(key=lambda chunk: chunk.chunk_offset)
    first = np.array([chunk.chunk_offset[0] for chunk in chunks], np.int64)
    if not np.array_equal(first, np.arange(len(chunks)) * node.chunks[0]):
        raise FormatError(None, place, "lacks some of its chunks")
    offsets = np.array([chunk.byte_offset for chunk in chunks], np.int64)
    if filters:
        parts = [
            _unpacked(content[o : o + chunk.size].tobytes(), filters, node.chunks[0], width)
            for o, chunk in zip(offsets.tolist(), chunks, strict=True)
        ]
        rows = np.concatenate([np.frombuffer(part, np.uint8) for part in parts])
    else:
        rows = gather(content, offsets, node.chunks[0] * width, place).reshape(-1)
    if rows.size < node.size * width:
        raise FormatError(None, place, f"stores fewer than its {node.size} elements")
    return rows[: node.size * width].reshape(-1, width)


def _unpacked(data: bytes, filters: list[int], rows: int, width: int) -> bytes:
    for number in reversed(filters):
        if number == _DEFLATE:
            data = zlib.decompressobj().decompress(data, rows * width)
        else:
            shuffled = np.frombuffer(data, np.uint8)
            data = shuffled[: len(data) // width * width].reshape(width, -1).T.tobytes()
    return data


def list_places(
    elements: NDArray[np.uint8], offset: int, content: NDArray[np.uint8], item: int, place: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the lists of a dataset's elements lie in the file.

    Parameters
    ----------
    elements
        Of `stored_elements`, ``(element, byte)``.
    offset
        Where in an element the reference to its list stands.
    content
        The bytes of the file.
    item
        Bytes of a list's item.
    place
        Name of the dataset, for messages.

    Returns
    -------
    tuple
        First byte and number of items of each list.

    Raises
    ------
    FormatError
        References to what is no heap, lists longer than what the heap or the file stores.
    """
    width = _REFERENCE.itemsize
    references = np.ascontiguousarray(elements[:, offset : offset + width]).view(_REFERENCE)[:, 0]
    length = references["length"].astype(np.int64)
    first = np.zeros(len(length), np.int64)
    filled = np.flatnonzero(length)
    if not len(filled):
        return first, length
    address = references["address"][filled]
    if int(address.max()) > content.size - 32:
        raise FormatError(None, place, "refers to lists beyond the end of the file")
    at = address.astype(np.int64)
    heads = gather(content, at, 16, place).view("<u8")
    sound = (heads[:, 0] == _HEAP) & (heads[:, 1] <= (content.size - at).astype(np.uint64))
    if not sound.all():
        row = int(filled[np.argmin(sound)])
        raise FormatError(None, f"{place}[{row}]", "refers to a heap that is none")
    end = at + heads[:, 1].astype(np.int64)
    found = _objects(at + 16, end, references["index"][filled], content, place)
    short = found["size"] < (length[filled] * item).astype(np.uint64)
    if short.any():
        row = int(filled[np.argmax(short)])
        raise FormatError(None, f"{place}[{row}]", f"declares {length[row]} items, stores fewer")
    first[filled] = found["first"]
    return first, length


def _objects(
    at: NDArray[np.int64],
    end: NDArray[np.int64],
    wanted: NDArray[np.uint32],
    content: NDArray[np.uint8],
    place: str,
) -> NDArray[np.void]:
    """Find numbered objects, each in its heap, by stepping from object to object."""
    found = np.zeros(len(at), [("first", "<i8"), ("size", "<u8")])
    pending, steps = np.arange(len(at)), 0
    while len(pending):
        steps += len(pending)
        if bool((at[pending] + 16 > end[pending]).any()) or steps > content.size:
            raise FormatError(None, place, "refers to a list that its heap does not have")
        here = gather(content, at[pending], 16, place).view(_OBJECT)[:, 0]
        room = (end[pending] - at[pending] - 16).astype(np.uint64)
        is_it = here["index"] == wanted[pending]
        if bool((here["size"] > room).any()) or bool((here["index"] == 0).any()):
            raise FormatError(None, place, "refers to a heap whose sizes do not add up")
        found["first"][pending[is_it]] = at[pending[is_it]] + 16
        found["size"][pending[is_it]] = here["size"][is_it]
        at[pending] += 16 + (here["size"].astype(np.int64) + 7) // 8 * 8
        pending = pending[~is_it]
    return found


def field_offsets(node: h5py.Dataset, names: Sequence[str]) -> list[int]:
    """Where the fields of a compound stand in its elements as stored."""
    fields: Any = node.dtype.fields or {}
    return [int(fields[name][1]) for name in names]
