"""Messages of MRD version 1 (https://ismrmrd.readthedocs.io): their numbers and lengths."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from ismrmrd import hdf5 as layouts

ACQUISITION_HEADER: np.dtype[np.void] = layouts.acquisition_header_dtype
IMAGE_HEADER: np.dtype[np.void] = layouts.image_header_dtype
WAVEFORM_HEADER: np.dtype[np.void] = layouts.waveform_header_dtype

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT = 1, 2, 3, 4, 5
ACQUISITION, IMAGE, WAVEFORM, ARRAY = 1008, 1022, 1026, 1030
CONFIG_FILE_BYTES = 1024  # padded with zeros

# Pixels by ISMRMRD's type number: 16 and 32 bit integers, floats, complex.
PIXELS: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u2"), 2: np.dtype("<i2"), 3: np.dtype("<u4"), 4: np.dtype("<i4"),
    5: np.dtype("<f4"), 6: np.dtype("<f8"), 7: np.dtype("<c8"), 8: np.dtype("<c16"),
}  # fmt: skip
PIXEL_KINDS = ("float", "complex", "uint16")  # that images are sent in
_LARGEST_ARRAY = 1 << 48

Value = Callable[[int, str], int]


def content_length(number: int, value: Value) -> int:
    """Bytes of a message after its number.

    Parameters
    ----------
    number
        What kind of message it is.
    value
        ``value(offset, kind)``: the number of a `struct` kind at an offset of the content. Only
        what the length depends on is asked for, from the front.

    Raises
    ------
    ValueError
        The number is none of the messages'.
    """
    if number == CLOSE:
        return 0
    if number == CONFIG_FILE:
        return CONFIG_FILE_BYTES
    if number in (CONFIG_TEXT, HEADER, TEXT):
        return 4 + value(0, "I")
    if number == ACQUISITION:
        samples, coils, axes = (
            value(offset_of(ACQUISITION_HEADER, name), "H")
            for name in ("number_of_samples", "active_channels", "trajectory_dimensions")
        )
        return ACQUISITION_HEADER.itemsize + 4 * samples * (axes + 2 * coils)
    if number == IMAGE:
        return _image_length(value)
    if number == WAVEFORM:
        samples, channels = (
            value(offset_of(WAVEFORM_HEADER, name), "H")
            for name in ("number_of_samples", "channels")
        )
        return WAVEFORM_HEADER.itemsize + 4 * samples * channels
    if number == ARRAY:
        item, count = _item_bytes(value(0, "H")), value(4, "H")
        sizes = [value(6 + 8 * i, "Q") for i in range(min(count, 32))]
        return min(6 + 8 * len(sizes) + item * int(np.prod(sizes, dtype=object)), _LARGEST_ARRAY)
    raise ValueError(f"message {number} is none of ISMRMRD's")


def offset_of(layout: np.dtype[np.void], name: str) -> int:
    """The byte of a header where a field begins."""
    assert layout.fields is not None
    return int(layout.fields[name][1])


def text_message(number: int, text: str) -> bytes:
    """A message of text: configuration, XML header or remark."""
    content = text.encode()
    return struct.pack("<HI", number, len(content)) + content


def config_file_message(name: str) -> bytes:
    """A message that names a configuration.

    Raises
    ------
    ValueError
        The name has 1024 bytes or more.
    """
    content = name.encode()
    if len(content) >= CONFIG_FILE_BYTES:
        raise ValueError(f"a configuration's name has 1023 bytes at most, got {len(content)}")
    return struct.pack("<H", CONFIG_FILE) + content.ljust(CONFIG_FILE_BYTES, b"\0")


def acquisition_message(head: Any, trajectory: Any, data: Any) -> bytes:
    """A readout: its header, ``(sample, dimension)`` and complex ``(coil, sample)``."""
    return b"".join((
        struct.pack("<H", ACQUISITION), head.tobytes(),
        np.ascontiguousarray(trajectory, "<f4").tobytes(),
        np.ascontiguousarray(data, "<c8").tobytes(),
    ))  # fmt: skip


CLOSE_MESSAGE = struct.pack("<H", CLOSE)


def text_of(content: Any) -> str:
    """The text of a message of text, or the name of a configuration file."""
    return bytes(content).rstrip(b"\0").decode("utf-8", "replace")


def _image_length(value: Value) -> int:
    first, width = offset_of(IMAGE_HEADER, "matrix_size"), IMAGE_HEADER.itemsize
    shape = [value(first + 2 * i, "H") for i in range(3)]
    item = _item_bytes(value(offset_of(IMAGE_HEADER, "data_type"), "H"))
    pixels = shape[0] * shape[1] * shape[2] * value(offset_of(IMAGE_HEADER, "channels"), "H")
    return min(width + 8 + value(width, "Q") + item * pixels, _LARGEST_ARRAY)


def _item_bytes(kind: int) -> int:
    return PIXELS[kind].itemsize if kind in PIXELS else 0
