"""A process that serves one session after another: ``python -m spinray.recon.server.worker FD``.

What a session does to it, be it a crash or a memory that fills, the server survives.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

from .order import Order
from .session import Session
from .stream import WORKING
from .wire import part

log = logging.getLogger("spinray")


def main() -> None:
    """Serve until the server closes the channel whose descriptor is the first argument."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server says when to end
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    channel = Connection(int(sys.argv[1]))
    _warm_up()
    with contextlib.suppress(OSError):  # a server that is gone already: the loop ends at once
        channel.send({"ready": True})
    while True:
        try:
            order = channel.recv()
            handle = recv_handle(channel)
        except (EOFError, OSError):
            return
        with socket.socket(fileno=handle) as connection:
            with contextlib.suppress(OSError):  # the server was killed: this session is the last
                channel.send({"taken": True})
            outcome = _serve(connection, order, channel)
        # A reconstruction for nobody cannot be stopped but by ending the process.
        leaves = any(thread.name == WORKING for thread in threading.enumerate())
        with contextlib.suppress(OSError):
            channel.send({"done": outcome, "leaves": leaves})
        if leaves:
            os._exit(0)


def _serve(connection: socket.socket, order: Order, channel: Any) -> dict[str, Any]:
    """Run a session with a log of its own."""
    root, handlers = logging.getLogger(), []
    shape = logging.Formatter(f"%(asctime)s {order.name} %(levelname)s %(message)s")
    for handler in root.handlers:
        handler.setFormatter(shape)
    if order.log is not None:
        try:
            handlers = [_Log(order.log, encoding="utf-8")]
        except OSError as error:
            log.warning("no log of the session: %s", error)
    for handler in handlers:
        handler.setFormatter(shape)
        root.addHandler(handler)
    try:
        outcome = Session(connection, order, channel.send).run()
        log.info(
            "%s: %d readouts, %d waveforms, %d images, %.1f MB", outcome["outcome"],
            outcome["acquisitions"], outcome["waveforms"], outcome["images"],
            outcome["bytes"] / 1e6,
        )  # fmt: skip
        part(connection)
        return outcome
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _Log(logging.FileHandler):
    """A session's own log; a full disk cuts it short, the server's has the same lines."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: images matter more."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def _warm_up() -> None:
    """Load everything that a first session would wait for."""
    import torch

    from ..pipelines.dispatch import reconstruct
    from ..scan import MRScan

    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn((2, 32, 32), dtype=torch.complex64, generator=generator)
    reconstruct(MRScan(kspace), "sense", iterations=1, progress=False)


if __name__ == "__main__":
    main()
