"""Processes that serve the sessions, under a budget of cores and memory, with a queue."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle
from typing import Any

from .memory import memory_of
from .order import Order

log = logging.getLogger("spinray")

_LOOK = 0.5  # s between looks at a process' memory
_TO_END = 10.0  # s for an idle process to end
# Libraries that would each take all cores of the machine.
_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class RefusedError(Exception):
    """A session that will not be served; the message says why."""


class Worker:
    """One process; it serves a session at a time."""

    def __init__(self, threads: int) -> None:
        ours, theirs = Pipe()
        self._channel: Connection[Any, Any] = ours
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "spinray.recon.server.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),), env=environment, stdin=subprocess.DEVNULL,
                start_new_session=True,  # signals from the terminal are the server's to pass on
            )  # fmt: skip
        self._ready = False

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until everything is loaded.

        Raises
        ------
        RefusedError
            The process ended before.
        """
        try:
            self._ready = self._ready or bool(self._channel.recv())
        except (EOFError, OSError):
            raise RefusedError("a worker of the server did not start") from None

    def serve(
        self, order: Order, connection: socket.socket, report: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Serve a session; what became of it, even where the process did not survive it.

        "untaken": it had died before, and read nothing of the session.
        """
        outcome, reason = "untaken", "its worker ended unexpectedly"
        try:
            self._channel.send(order)
            send_handle(self._channel, connection.fileno(), self.pid)
            while True:
                while not self._channel.poll(_LOOK):
                    if memory_of(self.pid) > order.memory * 1.25:  # it would have said so itself
                        reason = f"it took more memory than {order.memory / 1e9:.1f} GB"
                        self._process.kill()
                message = self._channel.recv()
                if "taken" in message:
                    outcome = "lost"
                elif "done" in message:
                    if message["leaves"]:  # the next session must not be given to it
                        self.end()
                    return dict(message["done"])
                else:
                    report(message)
        except (EOFError, OSError):
            self.end()
            return {"outcome": outcome, "problem": reason}

    def end(self) -> None:
        """End the process."""
        self._channel.close()
        if not self._ready:  # it would load everything first
            self._process.kill()
        try:
            self._process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(eq=False)
class _Ticket:
    need: int


class Pool:
    """Workers for so many sessions at once, in the order they came.

    Parameters
    ----------
    sessions
        At once.
    cores
        For all of them; each gets its share.
    memory
        Bytes for all of them; a session gets its share, or what its protocol asks for if there is
        as much.
    """

    def __init__(self, sessions: int, cores: int, memory: int) -> None:
        self.sessions, self.memory = sessions, memory
        self._threads = max(cores // sessions, 1)
        self._free = [Worker(self._threads) for _ in range(sessions)]
        self._queue: deque[_Ticket] = deque()
        self._reserved = 0
        self._change = threading.Condition()
        self._stopping = False

    def share(self, need: int) -> int:
        """Bytes that a session gets which needs so many.

        Raises
        ------
        RefusedError
            More than there is.
        """
        if need > self.memory:
            raise RefusedError(
                f"the scan needs about {need / 1e9:.1f} GB by its protocol, the server has "
                f"{self.memory / 1e9:.1f} GB"
            )
        return max(need, self.memory // self.sessions)

    def acquire(
        self, share: int, *, on_wait: Callable[[int], object], gone: Callable[[], bool]
    ) -> Worker:
        """A worker, when it is this session's turn.

        Parameters
        ----------
        share
            Bytes that it may take.
        on_wait
            Told how many sessions come first, when that is more than none.
        gone
            Whether the client has left the queue.

        Raises
        ------
        RefusedError
            The server stops, or the client left.
        OSError
            No process can be started in the place of one that died.
        """
        ticket = _Ticket(share)
        told = 0
        with self._change:
            self._queue.append(ticket)
            try:
                while not self._is_next(ticket):
                    if self._stopping:
                        raise RefusedError("the server is shutting down")
                    before = self._queue.index(ticket) + 1
                    if before != told:
                        told = before
                        on_wait(before)
                    self._change.wait(_LOOK)
                    if gone():
                        raise RefusedError("the client left the queue")
                if self._stopping:
                    raise RefusedError("the server is shutting down")
                worker = self.living(self._free[-1])
                self._free.pop()
                self._reserved += share
            finally:
                self._queue.remove(ticket)
                self._change.notify_all()
        return worker

    def release(self, worker: Worker, share: int) -> None:
        """Give a worker back; one that did not survive is replaced."""
        with self._change:
            self._reserved -= share
            with contextlib.suppress(OSError):  # then when its turn comes
                worker = worker if self._stopping else self.living(worker)
            self._free.append(worker)
            self._change.notify_all()

    def stop(self) -> None:
        """Refuse all that wait."""
        with self._change:
            self._stopping = True
            self._change.notify_all()

    def end(self) -> None:
        """End the processes; those that serve a session are left to it."""
        for worker in self._free:
            worker.end()

    def living(self, worker: Worker) -> Worker:
        """The worker, or another in its place: the system may have killed it while it was idle."""
        if worker.is_alive():
            return worker
        successor = Worker(self._threads)
        worker.end()
        return successor

    def _is_next(self, ticket: _Ticket) -> bool:
        fits = self._reserved + ticket.need <= self.memory or not self._reserved
        return self._queue[0] is ticket and bool(self._free) and fits
