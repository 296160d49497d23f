"""One session: readouts from a client, images back to it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image as Picture

from ..io.mrd_images import image_message
from ..io.mrd_messages import ACQUISITION, CLOSE, IMAGE, TEXT, WAVEFORM, text_of
from .configuration import configuration
from .live import Result
from .memory import memory_of
from .order import Order
from .recorder import Recorder
from .stream import Stream
from .wire import HungUpError, MessageReader, MessageWriter, WireError, has_left, readout_of

log = logging.getLogger("spinray")

Report = Callable[[dict[str, Any]], None]
_EVERY = 0.25  # s between reports
_LISTENS = 2.0  # s between looks whether the client still waits for images
_THUMBNAIL = 192  # pixels
_LOOKS = 64  # readouts between looks at the memory


class Session:
    """Runs an order over a connection.

    `report` hears a few times a second how far it is: counts, bytes, the newest image as PNG.
    """

    def __init__(self, connection: socket.socket, order: Order, report: Report) -> None:
        self._reader = MessageReader(connection, order.limits)
        self._writer = MessageWriter(connection)
        self._connection, self._order, self._report = connection, order, report
        self._wish = order.configuration
        self._recorder: Recorder | None = None
        self._stream: Stream | None = None
        self._sender: threading.Thread | None = None
        self._begun = False
        self._counts = {"acquisitions": 0, "waveforms": 0, "images": 0}
        self._telling, self._over = threading.Lock(), threading.Event()
        self._last = 0.0  # when the last readout came
        self._latency = 0.0
        self._problem = ""

    def run(self) -> dict[str, Any]:
        """Serve the client to the end; what became of it."""
        complete = False
        watcher = threading.Thread(target=self._watch, name="figures", daemon=True)
        watcher.start()
        try:
            complete = self._take() and self._finish()
        except (WireError, OSError) as error:
            self._fail(str(error))
        finally:
            if self._stream is not None:
                self._stream.close(wait=complete)
            self._over.set()
            watcher.join()
        if self._recorder is not None:
            kept = self._recorder.finish()
            log.info("raw data: %s", kept)
            self._writer.text(f"raw data: {kept.name}")
        self._writer.close()
        outcome = "failed" if self._problem else "done" if complete else "broken off"
        return {**self._figures(), "outcome": outcome, "problem": self._problem}

    def _take(self) -> bool:
        """All messages up to the closing one; whether it came."""
        while not (self._problem and self._recorder is None):
            message = self._reader.message()
            if message is None:
                raise HungUpError("the client left without a closing message")
            number, content = message
            if number == CLOSE:
                return True
            if number in (ACQUISITION, WAVEFORM):
                self._begin()
                self._record(number, content)
                if number == WAVEFORM:
                    self._counts["waveforms"] += 1
                else:
                    self._push(content)
            elif number == TEXT:
                self._listen(text_of(content[4:]))
            elif number == IMAGE:
                self._fail("images came: this server reconstructs raw data")
            else:
                raise WireError(f"message {number} in the middle of a scan")
        return False

    def _listen(self, text: str) -> None:
        """A remark; before the first readout it may be a configuration, as OpenRecon sends it."""
        log.info("client: %s", text[:2000])
        if text.startswith("{") and not self._begun:
            try:
                self._wish = configuration(text)
            except ValueError as error:
                self._fail(str(error))

    def _begin(self) -> None:
        """With the first readout: nothing changes the configuration any more."""
        if self._begun:
            return
        self._begun = True
        log.info("%s %s", self._wish.method, self._wish.options)
        self._tell({"method": self._wish.method})
        try:
            if self._wish.save or self._order.save:
                self._start_recording()
            wish = self._wish.within(self._order.models)
            self._stream = Stream(self._order.xml, wish.method, **wish.options)
        except (ValueError, TypeError) as error:
            self._fail(str(error))
            return
        self._sender = threading.Thread(target=self._send, args=(self._stream,), name="images")
        self._sender.start()

    def _finish(self) -> bool:
        """Wait for the images; whether all went."""
        if not self._begun:
            self._writer.text("no readouts came")
        if self._stream is not None and self._sender is not None:
            self._stream.finish()
            self._await_images(self._sender)
            if not self._problem:
                self._writer.text(
                    f"{self._counts['images']} images of {self._counts['acquisitions']} readouts, "
                    f"the last {self._latency:.3f} s after the last readout"
                )
        return not self._problem and not self._writer.broken

    def _await_images(self, sender: threading.Thread) -> None:
        """Wait until all are sent, or nobody is there who takes them."""
        while sender.is_alive() and not self._writer.broken:
            sender.join(_LISTENS)
            if sender.is_alive() and has_left(self._connection):
                # A client may end its side once it has sent all; one that is gone refuses this.
                self._writer.text("images are being made")
        if self._writer.broken:
            self._fail("the client left before its images were made")

    def _push(self, content: memoryview) -> None:
        self._last = time.monotonic()
        self._counts["acquisitions"] += 1
        if self._stream is not None and not self._problem:
            head, data, trajectory = readout_of(content)
            often = self._counts["acquisitions"] % _LOOKS == 0
            if often and memory_of(os.getpid()) > self._order.memory:
                self._fail(f"the scan needs more memory than {self._order.memory / 1e9:.1f} GB")
                return
            try:
                self._stream.push_arrays(head, data, trajectory)
            except Exception as error:  # whatever a method raises is for the client
                self._fail(_line(error))

    def _send(self, stream: Stream) -> None:
        """Images as soon as they are ready."""
        try:
            for result in stream.results():
                if self._writer.broken:
                    return
                self._image(result)
        except Exception as error:
            self._fail(_line(error))

    def _image(self, result: Result) -> None:
        self._counts["images"] += 1
        message = image_message(
            result.image, result.head, pixels=self._wish.pixels,
            index=self._counts["images"],
        )  # fmt: skip
        self._writer.send(message)
        self._latency = time.monotonic() - self._last
        where = ", ".join(f"{name} {i}" for name, i in result.place.items())
        log.info(
            "image %d (%s), %.3f s after its last readout", self._counts["images"], where,
            result.latency,
        )  # fmt: skip
        self._tell({
            "picture": thumbnail(result), "where": where, "latency": result.latency,
            "method": result.image.metadata["method"],
        })  # fmt: skip

    def _start_recording(self) -> None:
        if self._order.record is None:
            raise ValueError("this server saves no raw data: it was started without --folder")
        try:
            self._recorder = Recorder(self._order.record, self._order.xml)
        except OSError as error:
            self._tell_unkept(error)

    def _record(self, number: int, content: memoryview) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.add(number, content)
        except OSError as error:
            self._tell_unkept(error)

    def _tell_unkept(self, error: OSError) -> None:
        """A disk that is full is no reason to go without images."""
        text = f"raw data are kept up to readout {self._counts['acquisitions']}: {error.strerror}"
        log.error(text)
        self._writer.text(text)

    def _fail(self, text: str) -> None:
        """Tell the client and the log, once; raw data are still taken."""
        if not self._problem:
            self._problem = text
            log.error(text)
            self._writer.text(f"error: {text}")

    def _figures(self) -> dict[str, Any]:
        return {
            **self._counts, "bytes": self._reader.received, "after_last_readout": self._latency,
        }  # fmt: skip

    def _watch(self) -> None:
        """Report how far it is, also where the scanner pauses."""
        told: dict[str, Any] = {}
        while not self._over.wait(_EVERY):
            now = self._figures()
            if now != told:
                self._tell({})
                told = now

    def _tell(self, news: dict[str, Any]) -> None:
        """Report the figures and what is new, from several threads; nothing if nobody listens."""
        with self._telling, contextlib.suppress(OSError):
            self._report({**self._figures(), **news})


def thumbnail(result: Result) -> bytes:
    """A small picture, as PNG; of a volume, its middle slice."""
    values = np.abs(result.image.magnitude())
    plane = values[len(values) // 2] if values.ndim == 3 else values
    low, high = np.percentile(plane, (0.5, 99.5))
    grey = np.clip((plane - low) / max(float(high - low), 1e-30), 0, 1) * 255
    picture = Picture.fromarray(grey.astype(np.uint8))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    target = io.BytesIO()
    picture.save(target, format="PNG")
    return target.getvalue()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
