"""A client: raw files to a server, images back; to Spinray's or another that speaks MRD 1."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.warn import warn
from ..image import Image
from ..io.acquisitions import Acquisitions
from ..io.mrd_images import image_of_message
from ..io.mrd_messages import (
    CLOSE,
    CLOSE_MESSAGE,
    CONFIG_TEXT,
    HEADER,
    IMAGE,
    TEXT,
    acquisition_message,
    config_file_message,
    text_message,
    text_of,
)
from ..io.reading import open_raw
from .server import PORT
from .tls import Carrier
from .wire import HungUpError, Limits, MessageReader, MessageWriter

Progress = Callable[[int, int, int], None]

_ERROR = "error: "
_AT_ONCE = 64  # readouts between calls of progress
_FOREVER = Limits(idle=float("inf"), stall=600.0, message=1 << 34)


class ServerError(RuntimeError):
    """What a server said went wrong."""


def send(
    source: str | PathLike[str] | Acquisitions,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    method: str = "auto",
    pixels: str = "float",
    save: bool = False,
    token: str = "",
    config_file: str = "",
    tls: bool | ssl.SSLContext = False,
    timeout: float = 10.0,
    progress: Progress | None = None,
    **options: Any,
) -> list[Image]:
    """Send raw data to a server and wait for its images.

    Parameters
    ----------
    source
        A raw file of any format that consists of readouts, or the readouts.
    host, port
        The server.
    method, options
        What is to be done, as for `spinray.reconstruct`.
    pixels
        ``"float"``, ``"uint16"`` or ``"complex"``.
    save
        Whether the server is to keep the raw data.
    token
        What the server asks for.
    config_file
        The name of a configuration of another server, in place of all of the above.
    tls
        Whether to encrypt, by the system's certificates or by those of a context.
    timeout
        Seconds to connect.
    progress
        Called with the numbers of readouts sent, readouts in all, and images so far.

    Returns
    -------
    list of Image
        ``([z,] y, x)`` each, in order of repetition, set, phase, contrast and slice;
        ``metadata["remarks"]`` are the server's.

    Raises
    ------
    ServerError
        The server says what is wrong.
    OSError
        No connection, or one that broke.
    ValueError
        A file that has no readouts, or is damaged.
    TypeError
        An option that cannot be sent.
    """
    readouts = source if isinstance(source, Acquisitions) else _readouts(Path(source))
    wish = {"method": method, "options": options, "pixels": pixels, "save": save, "token": token}
    opening = text_message(CONFIG_TEXT, json.dumps(wish, default=_plain))
    if config_file:
        opening = config_file_message(config_file)
    if tls:
        context = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()
        connection = Carrier().connect(host, port, context, timeout)
    else:
        connection = socket.create_connection((host, port), timeout)
    with connection:
        return _Exchange(connection, progress).run(opening, readouts)


class _Exchange:
    """Sends in a thread and receives in another: either side may be the slower one."""

    def __init__(self, connection: socket.socket, progress: Progress | None) -> None:
        self._reader = MessageReader(connection, _FOREVER)
        self._writer = MessageWriter(connection, patience=float("inf"))
        self._connection, self._progress = connection, progress
        self._failure: Exception | None = None  # of the sender
        self._images: list[tuple[tuple[int, ...], Image]] = []
        self._remarks: list[str] = []

    def run(self, opening: bytes, readouts: Acquisitions) -> list[Image]:
        """Everything from the configuration to the server's closing message."""
        sender = threading.Thread(target=self._send, args=(opening, readouts), daemon=True)
        sender.start()
        try:
            closed = self._receive(len(readouts))
        except HungUpError as broken:
            raise ConnectionError(str(broken)) from broken
        if self._failure is not None:
            raise self._failure
        error = next((r.removeprefix(_ERROR) for r in self._remarks if r.startswith(_ERROR)), "")
        if error:
            raise ServerError(error)
        if not closed:
            raise ConnectionError(
                "the server left without a closing message"
                if self._images or self._remarks
                else "the server left without a word: does it expect TLS (tls=True), or is it "
                "another kind of server?"
            )
        sender.join()
        ordered = sorted(self._images, key=lambda item: item[0])
        return [image for _, image in ordered]

    def _send(self, opening: bytes, readouts: Acquisitions) -> None:
        try:
            self._send_all(opening, readouts)
        except Exception as error:  # of the file, or of the caller's progress: `run` raises it
            self._failure = error
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def _send_all(self, opening: bytes, readouts: Acquisitions) -> None:
        self._writer.send(opening + text_message(HEADER, readouts.xml))
        for i, head in enumerate(readouts.head):
            message = acquisition_message(head, readouts.trajectory[i], readouts.data[i])
            if not self._writer.send(message):
                return  # the server says why
            if self._progress is not None and (i + 1) % _AT_ONCE == 0:
                self._progress(i + 1, len(readouts), len(self._images))
        self._writer.send(CLOSE_MESSAGE)

    def _receive(self, total: int) -> bool:
        """All messages; whether the closing one came."""
        while (message := self._reader.message()) is not None:
            number, content = message
            if number == CLOSE:
                return True
            if number == TEXT:
                self._remarks.append(text_of(content[4:]))
            elif number == IMAGE:
                image, head = image_of_message(content)
                image.metadata["remarks"] = self._remarks  # type: ignore[index]
                place = ("repetition", "set", "phase", "contrast", "slice", "image_index")
                self._images.append((tuple(int(head[name]) for name in place), image))
                if self._progress is not None:
                    self._progress(total, total, len(self._images))
            else:
                warn(f"the server sent message {number}, which is passed over")
        return False


def _plain(value: Any) -> Any:
    """An option as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"options that are sent are numbers, words and lists, got {value!r:.100}")


def _readouts(path: Path) -> Acquisitions:
    readouts = open_raw(path).readouts
    if readouts is None:
        raise ValueError(f"{path}: this format has no readouts to send; spinray convert may help")
    return readouts
