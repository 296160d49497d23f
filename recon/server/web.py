"""Watching a server: figures for Prometheus, its health, and a page that shows it live."""

from __future__ import annotations

import hmac
import json
import logging
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .figures import Figures

log = logging.getLogger("spinray")

_SECONDS = 10  # that a request may take
# The page holds everything itself; images are patients'.
_SAFE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Watch:
    """Serves ``/``, ``/metrics``, ``/health``, ``/state`` and ``/picture`` on a listener.

    All but ``/health`` ask for the token, if there is one: as a bearer or as ``?token=``.
    """

    def __init__(
        self, figures: Figures, listener: socket.socket, token: str = "",
        context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        class Handler(_Handler):
            pass

        Handler.figures, Handler.token = figures, token
        self.port = int(listener.getsockname()[1])
        if context is not None:  # the handshake is the handler's, in its own thread and time
            listener = context.wrap_socket(
                listener, server_side=True, do_handshake_on_connect=False
            )
        self._server = _Server(listener, Handler)
        threading.Thread(target=self._server.serve_forever, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, listener: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whatever knocks at an open port is worth a line, no traceback."""
        log.info("the page, to %s: %s", client_address[0], sys.exception())


class _Handler(BaseHTTPRequestHandler):
    figures: Figures
    token: str
    timeout = _SECONDS
    server_version, sys_version = "Spinray", ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/health":
            status = 503 if self.figures.stopping else 200
            body = {"status": "stopping" if self.figures.stopping else "ok"}
            self._answer(json.dumps(body).encode(), "application/json", status)
        elif not self._knows_token(parts.query):
            self._answer(b"the token is missing\n", "text/plain; charset=utf-8", 401)
        elif parts.path == "/":
            page = files(__package__).joinpath("page.html").read_bytes()
            self._answer(page, "text/html; charset=utf-8")
        elif parts.path == "/metrics":
            text = self.figures.prometheus().encode()
            self._answer(text, "text/plain; version=0.0.4; charset=utf-8")
        elif parts.path == "/state":
            self._answer(json.dumps(self.figures.state()).encode(), "application/json")
        elif parts.path == "/picture" and (picture := self.figures.picture):
            self._answer(picture, "image/png")
        else:
            self._answer(b"not here\n", "text/plain; charset=utf-8", 404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not worth a line each."""

    def _knows_token(self, query: str) -> bool:
        given = parse_qs(query).get("token", [""])[0]
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        known = self.token.encode()
        return any(hmac.compare_digest(text.encode(), known) for text in (given, bearer))

    def _answer(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(body)), **_SAFE,
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
