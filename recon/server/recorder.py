"""Raw data on disk while they arrive.

Messages are appended to a file as they came, which is an ISMRMRD stream whatever happens: a crash
or a full disk leaves all whole messages. At the end of the session it becomes ISMRMRD HDF5, whose
index a crash would leave broken.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..io.errors import FormatError
from ..io.ismrmrd_writer import Waveform, write_readouts
from ..io.mrd_messages import (
    CLOSE,
    CLOSE_MESSAGE,
    HEADER,
    WAVEFORM,
    WAVEFORM_HEADER,
    content_length,
    text_message,
)
from ..io.readers import ismrmrd_stream
from ..io.stored import mapped
from .order import STREAM

log = logging.getLogger("spinray")

_DONE = ".h5"


class Recorder:
    """Keeps the messages of a session.

    Parameters
    ----------
    path
        The file without its suffix.
    xml
        The protocol.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(self, path: Path, xml: str) -> None:
        self.path = path.with_name(path.name + STREAM)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0
        self.full = False  # whether the disk ended the recording
        try:
            _lock(self._file)  # other servers let it be
            self._append([text_message(HEADER, xml)])
        except OSError:
            os.close(self._file)
            self.path.unlink()
            raise

    def add(self, number: int, content: memoryview) -> None:
        """Append a readout or a waveform.

        Raises
        ------
        OSError
            The disk is full or broken: what was written before stays, nothing is written after.
        """
        if not self.full:
            self._append([struct.pack("<H", number), content])

    def finish(self) -> Path:
        """Close; the file in its last form: HDF5, or the stream if there is no room for that."""
        try:
            self._append([CLOSE_MESSAGE])  # for which there is mostly room where half a readout was
        except OSError as error:
            log.warning("%s: %s", self.path, error.strerror)
        os.close(self._file)
        if self.full:  # HDF5 may crash where it cannot write; the next server converts it
            return self.path
        return converted(self.path)

    def _append(self, pieces: list[bytes | memoryview]) -> None:
        wanted = sum(len(piece) for piece in pieces)
        try:
            written = os.writev(self._file, pieces)
            if written < wanted:  # the next write would say why
                rest = memoryview(b"".join(pieces))[written:]
                while len(rest):
                    rest = rest[os.write(self._file, rest) :]
        except OSError:
            self.full = True
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += wanted


def converted(path: Path) -> Path:
    """A recorded stream as HDF5 beside it, in its place.

    The stream itself, as it was, if that fails, if it is no recording, or if it is still written.
    """
    target = path.with_suffix(_DONE)
    try:
        with path.open("r+b") as file:
            # a session goes on where its server was killed, and another server may look here
            _lock(file.fileno())
            _mend(path, file)
            readouts, _ = ismrmrd_stream.read_readouts(path)
            write_readouts(readouts, target, _waveforms(mapped(path)))
    except (FormatError, OSError) as error:
        log.warning("%s is kept as it came: %s", path, error)
        return path
    path.unlink()
    return target


def _lock(descriptor: int) -> None:
    """Lock a file, where its file system can; `BlockingIOError` if somebody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        log.debug("no lock on raw data: %s", error)


def _mend(path: Path, file: BinaryIO) -> None:
    """Cut half a message from the end, and close the stream."""
    messages = _messages(mapped(path))
    if not messages or messages[0][0] != HEADER:
        raise FormatError(None, "byte 0", "no recording: it does not begin with a header")
    number, _, end = messages[-1]
    if number != CLOSE:
        file.truncate(end)
        file.seek(end)
        file.write(CLOSE_MESSAGE)
        file.flush()


def _messages(content: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Numbers of the whole messages, and where their contents begin and end."""
    found, at = [], 0

    def value(offset: int, kind: str) -> int:
        first = at + 2 + offset
        raw = content[first : first + struct.calcsize(kind)].tobytes()
        return int(struct.unpack(f"<{kind}", raw)[0])

    while at + 2 <= content.size:
        number = int(content[at]) + 256 * int(content[at + 1])
        try:
            end = at + 2 + content_length(number, value)
        except (struct.error, ValueError):
            break
        if end > content.size:
            break
        found.append((number, at + 2, end))
        at = end
    return found


def _waveforms(content: NDArray[np.uint8]) -> list[Waveform]:
    found = []
    for number, first, end in _messages(content):
        if number == WAVEFORM:
            head = np.frombuffer(content[first:end].tobytes(), WAVEFORM_HEADER, 1)[0]
            numbers = content[first + WAVEFORM_HEADER.itemsize : end].tobytes()
            found.append((head, np.frombuffer(numbers, "<u4")))
    return found
