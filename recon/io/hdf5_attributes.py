"""Text in HDF5 attributes, read from the object's header.

HDF5 asks for as much memory as a string's length says before it looks whether the file holds it;
one changed byte costs gigabytes. Object headers are as in the HDF5 file format specification,
IV.A.1 and IV.A.2; attributes of objects with so many that they lie in a heap of their own are not
found.
"""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C
_LARGEST_HEADER = 1 << 20  # bytes, all its blocks together


def attribute_bytes(
    node: h5py.Dataset | h5py.Group, name: str, content: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """Bytes of an attribute as stored; None where it is not in the object's header.

    Parameters
    ----------
    node, name
        The object and its attribute.
    content
        The bytes of the file.

    Raises
    ------
    FormatError
        A header whose sizes do not add up.
    """
    base = node.file.userblock_size
    start = int(h5py.h5o.get_info(node.id).addr) + base
    for kind, body in _messages(content, start, base):
        if kind != _ATTRIBUTE or len(body) < 9:
            continue
        version, padding = int(body[0]), 8 if int(body[0]) == 1 else 1
        lengths = [int(n) for n in body[2:8].copy().view("<u2")]
        at = 9 if version == 3 else 8
        stored = body[at : at + lengths[0]].tobytes().split(b"\0")[0]
        at += sum(-(-length // padding) * padding for length in lengths)
        if stored == name.encode():
            return body[at:]
    return None


def _messages(
    content: NDArray[np.uint8], start: int, base: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Kinds and bodies of the messages in an object header of either version."""
    if content[start : start + 4].tobytes() == b"OHDR":
        flags = int(content[start + 5])
        at = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(content[at : at + width].tobytes(), "little")
        blocks, head = [(at + width, size)], 6 if flags & 4 else 4
    else:
        size = int.from_bytes(content[start + 8 : start + 12].tobytes(), "little")
        blocks, flags, head = [(start + 16, size)], -1, 8
    room = _LARGEST_HEADER
    while blocks:
        at, size = blocks.pop(0)
        room -= max(size, 16)
        if room < 0 or at + size > content.size:
            raise FormatError(None, f"byte {start}", "an object header's sizes do not add up")
        end = at + size
        while at + head <= end:
            if flags < 0:
                kind, length = (int(n) for n in content[at : at + 4].copy().view("<u2"))
            else:
                kind = int(content[at])
                length = int.from_bytes(content[at + 1 : at + 3].tobytes(), "little")
            body = content[at + head : min(at + head + length, end)]
            if kind == _CONTINUATION and len(body) >= 16:
                first, count = (int(n) for n in body[:16].copy().view("<u8"))
                # Blocks of version 2 begin with a signature and end with a checksum.
                skip = 0 if flags < 0 else 4
                blocks.append((first + base + skip, count - 2 * skip))
            else:
                yield kind, body
            at += head + length
