"""ISMRMRD streams (MRD version 1 messages one after another), as newer converters write them."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..acquisitions import ACQUISITION_HEADER, Acquisitions
from ..errors import FormatError
from ..mrd_messages import (
    ACQUISITION,
    CLOSE,
    CONFIG_FILE,
    CONFIG_FILE_BYTES,
    CONFIG_TEXT,
    HEADER,
    TEXT,
    WAVEFORM,
    content_length,
)
from ..protocol import parse_header
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..sniffing import start_of
from ..stored import StoredReadouts, mapped

NAME = "ISMRMRD stream"
_SNIFFED = 1 << 16
_LARGEST_HEADER = 64 << 20


def matches(path: Path) -> bool:
    """Whether a file begins with messages of which one is an XML header."""
    start = start_of(path, _SNIFFED)
    at = 0
    for _ in range(4):
        if at + 6 > len(start):
            return False
        number, length = struct.unpack_from("<HI", start, at)
        if number == HEADER:
            return start[at + 6 : at + 7] == b"<" and length < _LARGEST_HEADER
        if number == CONFIG_FILE:
            at += 2 + CONFIG_FILE_BYTES
        elif number in (CONFIG_TEXT, TEXT):
            at += 6 + length
        else:
            return False
    return False


def open_file(
    path: Path, encoding: int | None = None, sequence: str | PathLike[str] | None = None
) -> RawFile:
    """Look at the headers of all readouts; their samples are read where they lie.

    Parameters
    ----------
    path
        The file.
    encoding
        Which encoding space. Default: the first that has readouts.
    sequence
        The Pulseq .seq that was played, for places in k-space and labels.
    """
    acquisitions, waveforms = read_readouts(path)
    raw = readout_file(acquisitions, encoding, sequence)
    found = {"waveforms": waveforms} if waveforms else {}
    return dataclasses.replace(raw, facts={**raw.facts, **found})


def read_readouts(path: Path) -> tuple[Acquisitions, int]:
    """All readouts, be any of an image or not, and the number of waveforms."""
    content = mapped(path)
    xml, places, waveforms = None, [], 0
    for number, at in _messages(content):
        if number == HEADER:
            (length,) = struct.unpack("<I", content[at : at + 4].tobytes())
            xml = content[at + 4 : at + 4 + length].tobytes().decode("utf-8", "replace")
        elif number == ACQUISITION:
            places.append(at)
        elif number == WAVEFORM:
            waveforms += 1
    if xml is None or not places:
        raise FormatError(None, "", f"has {'no' if xml is None else 'a'} header and "
                          f"{len(places)} readouts")  # fmt: skip
    first = np.array(places, np.int64)
    width = ACQUISITION_HEADER.itemsize
    windows = np.lib.stride_tricks.sliding_window_view(content, width)
    head = np.ascontiguousarray(windows[first]).view(ACQUISITION_HEADER)[:, 0]
    samples = head["number_of_samples"].astype(np.int64)
    axes = head["trajectory_dimensions"].astype(np.int64)
    return Acquisitions(
        head=head,
        trajectory=StoredReadouts(content, first + width, samples, axes, np.dtype("<f4")),
        data=StoredReadouts(
            content, first + width + 4 * samples * axes, head["active_channels"].astype(np.int64),
            samples,
        ),
        header=parse_header(xml),
        xml=xml,
        source=NAME,
    ), waveforms  # fmt: skip


def _messages(content: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Numbers of the messages and the bytes where their contents begin, up to the closing one."""
    at, size = 0, content.size
    while True:
        if at + 2 > size:
            raise FormatError(None, f"byte {at}", "ends without its closing message: truncated")
        number = int(content[at]) + 256 * int(content[at + 1])
        if number == CLOSE:
            return
        length = _length(content, number, at + 2)
        if at + 2 + length > size:
            raise FormatError(
                None, f"byte {at}", f"a message of {length} bytes, {size - at - 2} are left: "
                "truncated",
            )  # fmt: skip
        yield number, at + 2
        at += 2 + length


def _length(content: NDArray[np.uint8], number: int, at: int) -> int:
    """Bytes of a message's content."""

    def value(offset: int, kind: str) -> int:
        raw = content[at + offset : at + offset + struct.calcsize(kind)].tobytes()
        if len(raw) < struct.calcsize(kind):
            raise FormatError(None, f"byte {at}", "a message is cut off: truncated")
        return int(struct.unpack(f"<{kind}", raw)[0])

    try:
        return content_length(number, value)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(None, f"byte {at - 2}", str(error)) from error
