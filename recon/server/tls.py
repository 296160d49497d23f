"""TLS around plain sockets: an asyncio loop of its own carries the bytes of each connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
_HANDSHAKE = 10.0  # s
_GOODBYE = 2.0  # s that TLS waits for the peer's end
_PIECE = 1 << 18  # bytes


def server_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """For a server with this certificate (PEM, with its chain); `key` if it is in another file.

    Raises
    ------
    OSError
        A file that cannot be read.
    ValueError
        Files that are no PEM, do not belong together, or need a pass phrase.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files = [certificate] if key is None else [certificate, key]
    for path in files:
        path.open("rb").close()  # ssl would not say which one is missing
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # asks nobody
    except ssl.SSLError as error:
        raise ValueError(
            f"{' and '.join(map(str, files))}: expected a certificate with its key (PEM, without "
            f"a pass phrase): {error.reason or error}"
        ) from None
    return context


class Carrier:
    """Carries connections between TLS outside and plain sockets inside."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._carry_on, name="TLS", daemon=True).start()

    def serve(
        self, listener: socket.socket, context: ssl.SSLContext,
        accepted: Callable[[socket.socket, Any], None],
    ) -> None:  # fmt: skip
        """Give the plain end of each connection to `accepted`, with the address of its peer."""

        async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inside, outside = socket.socketpair()
            accepted(outside, writer.get_extra_info("peername"))
            await _carry(reader, writer, inside)

        self._server = self._run(
            asyncio.start_server(
                came, sock=listener, ssl=context, ssl_handshake_timeout=_HANDSHAKE, limit=_PIECE
            )
        )

    def stop_serving(self) -> None:
        """Take no new connections; the listener is closed."""

        async def close() -> None:
            self._server.close()

        self._run(close())

    def connect(
        self, host: str, port: int, context: ssl.SSLContext, timeout: float
    ) -> socket.socket:
        """The plain end of a connection to a server.

        Raises
        ------
        OSError
            No connection, or a certificate that does not stand the test.
        """
        inside, outside = socket.socketpair()

        async def open_it() -> None:
            opened = asyncio.open_connection(host, port, ssl=context, limit=_PIECE)
            reader, writer = await asyncio.wait_for(opened, timeout)
            self._task = asyncio.get_running_loop().create_task(_carry(reader, writer, inside))
            self._task.add_done_callback(lambda _: self._loop.stop())  # it carries no other

        try:
            self._run(open_it())
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            inside.close()
            outside.close()
            raise
        return outside

    def _carry_on(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _run(self, what: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inside: socket.socket
) -> None:
    """Both ways, until both sides have ended."""
    plain_reader, plain_writer = await asyncio.open_connection(sock=inside, limit=_PIECE)
    try:
        await asyncio.gather(_pump(reader, plain_writer), _pump(plain_reader, writer))
    finally:
        for end in (writer, plain_writer):
            end.close()
            with contextlib.suppress(OSError):
                await asyncio.wait_for(end.wait_closed(), _GOODBYE)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """One way; where the source ends, so does the target (TLS has no end of one way)."""
    try:
        while piece := await source.read(_PIECE):
            target.write(piece)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
        else:
            target.close()
    except OSError:
        target.close()
