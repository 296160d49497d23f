"""The server: connections in, each to a session when it is its turn."""

from __future__ import annotations

import contextlib
import errno
import hmac
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..io.errors import FormatError
from ..io.mrd_messages import CLOSE, CONFIG_FILE, CONFIG_TEXT, HEADER, TEXT, text_of
from ..io.protocol import parse_header
from .configuration import Configuration, configuration
from .figures import Figures
from .memory import need_of
from .order import STREAM, Order
from .pool import Pool, RefusedError
from .tls import Carrier, server_context
from .wire import (
    HungUpError,
    Limits,
    MessageReader,
    MessageWriter,
    WireError,
    has_left,
    listening,
    part,
)

log = logging.getLogger("spinray")

PORT = 9002  # FIRE's and OpenRecon's
_CONNECTIONS = 512  # at once, those in the queue included
_OPENING = Limits(idle=20.0, stall=20.0, message=1 << 20)  # until the protocol has come
_ACCEPT = 0.5  # s between looks whether to stop
_AT_THE_DOOR = 0.01  # s for a client that has connected to be let in
_DIGIT = "[0-9]"
_NAMES = f"{8 * _DIGIT}-{6 * _DIGIT}-{4 * _DIGIT}*"  # of sessions: other files are not ours to mend


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    Parameters
    ----------
    host, port
        Where it listens; port 0 takes a free one.
    sessions, cores, memory
        At once, for all of them, and bytes for all of them.
    folder
        Where logs and raw data of sessions go; None keeps neither.
    save
        Whether raw data are saved of all sessions; else of those that ask for it.
    models
        Folder of the networks that clients may name.
    certificate, key
        Of TLS; None for plain TCP.
    token
        What clients have to know; empty for none.
    limits
        What clients may do while they send.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    sessions: int = 1
    cores: int = 1
    memory: int = 1 << 33
    folder: Path | None = None
    save: bool = False
    models: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str = field(default="", repr=False)
    limits: Limits = field(default_factory=Limits)


class Server:
    """Listens, queues and hands over; `stop` ends it without dropping a session.

    Raises
    ------
    OSError
        The port is taken, the folder or the certificate cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.figures = Figures()
        if settings.save and settings.folder is None:
            raise ValueError("saving raw data needs a folder")
        if settings.folder is not None:
            settings.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(settings.folder, os.W_OK):
                raise PermissionError(errno.EACCES, "cannot be written to", str(settings.folder))
            recover(settings.folder)
        context = None
        if settings.certificate is not None:
            context = server_context(settings.certificate, settings.key)
        self._listener = listening(settings.host, settings.port)
        self.port = int(self._listener.getsockname()[1])
        self._pool = Pool(settings.sessions, settings.cores, settings.memory)
        self._visits: set[threading.Thread] = set()
        self._beginning = threading.Lock()  # held while a visit is noted and started
        self._arriving: set[socket.socket] = set()  # whose protocol has not come
        self._count = 0
        self._stopping = threading.Event()
        self._carrier = Carrier() if context is not None else None
        if self._carrier is not None and context is not None:
            self._carrier.serve(self._listener, context, self._visited)
        else:
            self._door = threading.Thread(target=self._accept, name="accept", daemon=True)
            self._door.start()

    def stop(self, grace: float) -> bool:
        """Take no more sessions, refuse those that wait, finish those that run.

        Whether all were finished within `grace` seconds; the others' workers are left to them.
        """
        self._stopping.set()
        self.figures.stopping = True
        state = self.figures.state()
        log.info(
            "shutting down: %d sessions are finished, %d in the queue refused",
            state["running"], state["waiting"],
        )  # fmt: skip
        if self._carrier is not None:
            self._carrier.stop_serving()
        else:
            self._door.join()
        for connection in list(self._arriving):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self._pool.stop()
        deadline = time.monotonic() + grace
        with self._beginning:
            visits = list(self._visits)
        for visit in visits:
            visit.join(max(deadline - time.monotonic(), 0))
        done = not any(visit.is_alive() for visit in list(self._visits))
        self._pool.end()
        return done

    def _accept(self) -> None:
        """Let clients in until the server stops, and then those who wait outside."""
        with self._listener:
            while True:
                stopping = self._stopping.is_set()
                self._listener.settimeout(_AT_THE_DOOR if stopping else _ACCEPT)
                try:
                    connection, address = self._listener.accept()
                except OSError as error:
                    if stopping:
                        return
                    if not isinstance(error, TimeoutError):
                        time.sleep(_ACCEPT)  # no descriptors left, say: others will be closed
                    continue
                self._visited(connection, address)

    def _visited(self, connection: socket.socket, address: Any) -> None:
        """Receive a visitor in a thread of its own."""
        if len(self._visits) >= _CONNECTIONS:
            connection.close()
            return
        self._count += 1
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{self._count:04d}"
        visit = threading.Thread(
            target=self._visit, args=(connection, address, name), name=name, daemon=True
        )
        with self._beginning:
            self._visits.add(visit)
            visit.start()

    def _visit(self, connection: socket.socket, address: Any, name: str) -> None:
        """From the first message to the end of the session."""
        peer = address[0] if isinstance(address, tuple) else str(address)
        writer = MessageWriter(connection)
        outcome, problem = "refused", ""
        try:
            wish, xml = self._arrived(connection)
            self.figures.opened(name, peer=peer, method=wish.method)
            outcome, problem = self._served(connection, writer, self._order(name, wish, xml))
        except HungUpError:
            outcome, problem = "broken off", "the client left before its scan began"
        except (RefusedError, WireError, FormatError, ValueError, OSError) as error:
            problem = " ".join(str(error).split())
            writer.text(f"error: {problem}")
            writer.close()
            part(connection)
        finally:
            connection.close()
            self.figures.closed(name, outcome, problem)
            self._visits.discard(threading.current_thread())
            log.info("%s from %s: %s%s", name, peer, outcome, f" ({problem})" * bool(problem))

    def _arrived(self, connection: socket.socket) -> tuple[Configuration, str]:
        """What the client wants, if the server is not stopped before it has said so."""
        stopping = RefusedError("the server is shutting down")
        self._arriving.add(connection)
        try:
            if self._stopping.is_set():
                raise stopping
            return self._opening(MessageReader(connection, _OPENING, ahead=0))
        except HungUpError:
            if self._stopping.is_set():
                raise stopping from None
            raise
        finally:
            self._arriving.discard(connection)

    def _opening(self, reader: MessageReader) -> tuple[Configuration, str]:
        """What the client wants, and its protocol."""
        wish = ""
        for _ in range(16):
            message = reader.message()
            if message is None:
                raise HungUpError
            number, content = message
            if number == CONFIG_FILE:
                wish = text_of(content)
            elif number == CONFIG_TEXT:
                wish = text_of(content[4:])
            elif number == HEADER:
                asked = configuration(wish)
                if not hmac.compare_digest(asked.token.encode(), self.settings.token.encode()):
                    raise RefusedError("the configuration's token is not this server's")
                return asked, text_of(content[4:])
            elif number == CLOSE:
                raise HungUpError
            elif number != TEXT:
                raise WireError(f"message {number} before a configuration and a header")
        raise WireError("no header came")

    def _order(self, name: str, wish: Configuration, xml: str) -> Order:
        header = parse_header(xml)
        settings = self.settings
        path = None if settings.folder is None else settings.folder / name
        return Order(
            name, wish, xml, settings.limits, self._pool.share(need_of(header)),
            record=path, save=settings.save,
            log=None if path is None else path.with_name(f"{name}.log"),
            models=settings.models,
        )  # fmt: skip

    def _served(
        self, connection: socket.socket, writer: MessageWriter, order: Order
    ) -> tuple[str, str]:
        """Wait for a worker and let it serve; what became of the session."""
        worker = self._pool.acquire(
            order.memory,
            on_wait=lambda before: writer.text(f"queued: number {before} in the queue"),
            gone=lambda: has_left(connection),
        )

        def serve() -> dict[str, Any]:
            worker.wait_ready()
            self.figures.update(order.name, state="running")
            return worker.serve(
                order, connection, lambda facts: self.figures.update(order.name, **facts)
            )

        try:
            found = serve()
            if found["outcome"] == "untaken":  # it was killed while it was idle
                worker = self._pool.living(worker)
                found = serve()
        finally:
            self._pool.release(worker, order.memory)
        outcome, problem = found.pop("outcome"), found.pop("problem", "")
        self.figures.update(order.name, **found)
        if outcome in ("lost", "untaken"):  # the worker could not say so
            outcome = "lost"
            writer.text(f"error: {problem}")
            writer.close()
            part(connection)
            if order.record is not None and self.settings.folder is not None:
                recover(self.settings.folder, order.name)
        return outcome, problem


def recover(folder: Path, name: str = _NAMES) -> None:
    """Convert what a worker or a server that died has left of raw data."""
    left = sorted(folder.glob(f"{name}{STREAM}"))
    if left:
        from .recorder import converted  # torch: not needed by the server otherwise

        for path in left:
            log.info("raw data of a session that was cut off: %s", converted(path))
