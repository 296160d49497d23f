"""Messages from and to a socket, from peers that may be slow, broken or hostile."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..io.mrd_messages import (
    ACQUISITION,
    ACQUISITION_HEADER,
    CLOSE_MESSAGE,
    CONFIG_TEXT,
    HEADER,
    TEXT,
    content_length,
    offset_of,
    text_message,
)

Content = memoryview
_BACKLOG = 128
_LINGER = 2.0  # s for a peer to read what was said last
_TICK = 0.5  # s between looks at the clock
_HEAD = ACQUISITION_HEADER.itemsize
_SIZES = struct.Struct("<HHH")  # of samples, available and active channels
_AT_SIZES = offset_of(ACQUISITION_HEADER, "number_of_samples")
_AT_AXES = offset_of(ACQUISITION_HEADER, "trajectory_dimensions")


class WireError(ValueError):
    """What came is no MRD stream, or came too slowly."""


class HungUpError(WireError):
    """The peer ended in the middle."""


@dataclass(frozen=True)
class Limits:
    """What a peer may do.

    Parameters
    ----------
    idle
        Seconds between messages.
    stall
        Seconds that a message may take, beside its share of `rate`.
    rate
        Bytes a second that a large message has to reach.
    message, text
        Largest message, and largest text or header, in bytes.
    """

    idle: float = 600.0
    stall: float = 30.0
    rate: float = 1e6
    message: int = 256 << 20
    text: int = 16 << 20


class MessageReader:
    """Messages from a socket one by one.

    Parameters
    ----------
    connection
        The socket; its timeout is set.
    limits
        What the peer may do.
    ahead
        Bytes to read beyond what a message needs: none where somebody else goes on reading.
    """

    def __init__(self, connection: socket.socket, limits: Limits, ahead: int = 1 << 18) -> None:
        connection.settimeout(_TICK)
        self._connection, self._limits, self._ahead = connection, limits, ahead
        self._buffer = memoryview(bytearray(max(ahead, 1 << 12)))
        self._start = self._end = 0
        self._deadline = 0.0
        self.received = 0  # bytes

    def message(self) -> tuple[int, Content] | None:
        """Number and content of the next message; None where the peer ended between two.

        Raises
        ------
        WireError
            No such message, a size beyond the limits, a message that does not come.
        """
        self._deadline = time.monotonic() + self._limits.idle
        try:
            self._need(1)
        except HungUpError:
            return None
        self._deadline = time.monotonic() + self._limits.stall
        (number,) = struct.unpack("<H", self._peek(0, 2))
        self._start += 2
        length = self._acquisition_length() if number == ACQUISITION else self._length(number)
        self._deadline += length / self._limits.rate
        content = self._content(length)
        return number, content

    def _acquisition_length(self) -> int:
        head = self._peek(0, _HEAD)
        samples, _, coils = _SIZES.unpack_from(head, _AT_SIZES)
        axes = int.from_bytes(head[_AT_AXES : _AT_AXES + 2], "little")
        return self._allowed(ACQUISITION, _HEAD + 4 * samples * (axes + 2 * coils))

    def _length(self, number: int) -> int:
        def value(offset: int, kind: str) -> int:
            size = struct.calcsize(kind)
            return int(struct.unpack(f"<{kind}", self._peek(offset, size))[0])

        try:
            return self._allowed(number, content_length(number, value))
        except WireError:
            raise
        except ValueError as error:
            raise WireError(str(error)) from None

    def _allowed(self, number: int, length: int) -> int:
        texts = (CONFIG_TEXT, HEADER, TEXT)
        largest = self._limits.text if number in texts else self._limits.message
        if length > largest:
            raise WireError(
                f"message {number} declares {length} bytes, at most {largest} are taken"
            )
        return length

    def _content(self, length: int) -> Content:
        """So many bytes; data of readouts are aligned to 8 bytes behind their header."""
        store = np.empty(length + 4, np.uint8)
        content = memoryview(store.data)[4:]
        have = min(self._end - self._start, length)
        content[:have] = self._buffer[self._start : self._start + have]
        self._start += have
        while have < length:
            if length - have <= self._ahead // 4:
                self._need(length - have)
                content[have:] = self._buffer[self._start : self._start + length - have]
                self._start += length - have
                break
            have += self._receive(content[have:])
        return content

    def _peek(self, offset: int, count: int) -> Content:
        self._need(offset + count)
        first = self._start + offset
        return self._buffer[first : first + count]

    def _need(self, count: int) -> None:
        """Have so many bytes in the buffer."""
        have = self._end - self._start
        if have >= count:
            return
        if count > len(self._buffer):
            raise WireError(f"a message begins with {count} bytes of sizes")
        if self._start + count > len(self._buffer) or not have:
            self._buffer[:have] = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, have
        while self._end - self._start < count:
            last = len(self._buffer) if self._ahead else self._start + count
            self._end += self._receive(self._buffer[self._end : last])

    def _receive(self, target: memoryview) -> int:
        while True:
            try:
                count = self._connection.recv_into(target)
            except TimeoutError:
                count = -1
            except OSError as error:
                raise HungUpError(f"the connection broke: {error.strerror or error}") from None
            if count == 0:
                raise HungUpError("the connection ended in the middle of a message")
            if count > 0:
                self.received += count
                return count
            if time.monotonic() > self._deadline:
                raise WireError("nothing or too little came for too long")


class MessageWriter:
    """Messages to a socket, from several threads; a peer that left is not written to."""

    def __init__(self, connection: socket.socket, patience: float = 60.0) -> None:
        self._connection, self._patience = connection, patience
        self._lock = threading.Lock()
        self.broken = False

    def send(self, message: bytes) -> bool:
        """Send a message whole; whether the peer takes it."""
        rest = memoryview(message)
        deadline = time.monotonic() + self._patience
        with self._lock:
            while len(rest) and not self.broken:
                try:
                    sent = self._connection.send(rest)
                    rest = rest[sent:]
                    deadline = time.monotonic() + self._patience
                except TimeoutError:
                    self.broken = time.monotonic() > deadline
                except OSError:
                    self.broken = True
        return not self.broken

    def text(self, text: str) -> bool:
        """Send a remark."""
        return self.send(text_message(TEXT, text))

    def close(self) -> None:
        """Say that nothing follows."""
        self.send(CLOSE_MESSAGE)


Readout = tuple[NDArray[np.void], NDArray[np.complex64], NDArray[np.float32]]


def readout_of(content: Content) -> Readout:
    """Header, data ``(coil, sample)`` and trajectory ``(sample, dimension)``; views of content."""
    head = np.frombuffer(content, ACQUISITION_HEADER, 1)[0]
    samples, coils = int(head["number_of_samples"]), int(head["active_channels"])
    axes = int(head["trajectory_dimensions"])
    trajectory = np.frombuffer(content, "<f4", samples * axes, _HEAD).reshape(samples, axes)
    data = np.frombuffer(content, "<c8", samples * coils, _HEAD + 4 * samples * axes)
    return head, data.reshape(coils, samples), trajectory


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, by IPv6 where the host is written so; port 0 takes a free one.

    Raises
    ------
    OSError
        The port is taken, or there is no such host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason, *_ = str(error.strerror).split(" (while")  # Python adds the address as a tuple
        raise OSError(f"cannot listen on port {port} of {host}: {reason}") from None


def has_left(connection: socket.socket) -> bool:
    """Whether a peer has closed its end and nothing that it sent is left to read."""
    look = select.poll()
    try:
        look.register(connection, select.POLLIN)
        return bool(look.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def part(connection: socket.socket) -> None:
    """Close so that what was sent last arrives: not before the peer has closed or gone silent."""
    deadline = time.monotonic() + _LINGER
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_LINGER)
        while time.monotonic() < deadline and connection.recv(1 << 16):
            pass
    except OSError:
        pass
