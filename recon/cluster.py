"""Pieces of work: here, one after another, or on the workers of a dask.distributed scheduler.

A piece is a function of this package and its arguments. Its `Outcome` is a value or an error, so
that one piece that fails leaves the others alone. A worker that dies loses nothing: the scheduler
gives its pieces, and those whose values died with it, to others.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import uuid4

from .extras import extra_library

log = logging.getLogger("spinray")

RETRIES = 3
_CONNECT = 10.0  # s to reach a scheduler


@dataclass(frozen=True)
class Outcome:
    """What became of a piece: its `value`, or the `error` in its place, and what was warned of."""

    value: Any = None
    error: Exception | None = None
    warned: tuple[str, ...] = ()


class Pending(Protocol):
    """A piece that is not done, as far as one knows."""

    def when_done(self, call: Callable[[], object]) -> None:
        """Call this once the piece is done, from whichever thread learns of it."""

    def result(self) -> Outcome:
        """Wait for the piece; to be asked once, the value is then forgotten."""


class Crew(Protocol):
    """Who does the work. `dashboard` is the address of the page that shows it, if there is one."""

    @property
    def dashboard(self) -> str:
        """Address of dask's page."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        """Give out a piece; arguments that are pieces, or lists of them, arrive as outcomes."""


@contextmanager
def crew(scheduler: Any = None, *, retries: int = RETRIES) -> Iterator[Crew]:
    """Workers for a while.

    Parameters
    ----------
    scheduler
        Address of a dask.distributed scheduler (``tcp://host:8786``), or a cluster or client of
        that package. None: this process.
    retries
        How often a piece is tried again that failed for another reason than its input.

    Raises
    ------
    ImportError
        dask.distributed is not installed.
    OSError
        No scheduler answers at that address.
    ValueError
        What is given is no address.
    """
    if scheduler is None:
        yield _Here()
        return
    distributed = extra_library("distributed", "cluster")
    if isinstance(scheduler, distributed.Client):
        yield _There(scheduler, retries)
        return
    if isinstance(scheduler, str):
        try:  # a client that was never connected would take 20 s to go
            distributed.comm.resolve_address(scheduler)
        except ValueError as error:
            raise ValueError(
                f"scheduler must be an address such as tcp://head:8786, got {scheduler!r}: {error}"
            ) from None
    with distributed.Client(scheduler, set_as_default=False, timeout=_CONNECT) as client:
        yield _There(client, retries)


class _Here:
    dashboard = ""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        return _Later(function, arguments)


class _Later:
    """Done when it is asked for."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function, self._arguments = function, arguments
        self._calls: list[Callable[[], object]] = []

    def when_done(self, call: Callable[[], object]) -> None:
        self._calls.append(call)

    def result(self) -> Outcome:
        try:
            outcome = Outcome(self._function(*map(_done, self._arguments)))
        except Exception as error:  # whatever it is, the other pieces are left alone
            outcome = Outcome(error=error)
        for call in self._calls:
            call()
        return outcome


def _done(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_done(item) for item in argument]
    return argument.result() if isinstance(argument, _Later) else argument


class _There:
    """A scheduler's workers."""

    def __init__(self, client: Any, retries: int) -> None:
        self._client, self._retries = client, retries
        if not client.scheduler_info()["workers"]:
            log.warning("the scheduler has no workers yet: work begins when one joins")

    @property
    def dashboard(self) -> str:
        return str(self._client.dashboard_link)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Pending:
        future = self._client.submit(
            _attempt, function, *map(_future, arguments), retries=self._retries,
            key=f"{function.__name__.strip('_')}-{uuid4()}",  # what the dashboard shows
        )  # fmt: skip
        return _Future(future)


class _Future:
    def __init__(self, future: Any) -> None:
        self.future = future

    def when_done(self, call: Callable[[], object]) -> None:
        self.future.add_done_callback(lambda _: call())

    def result(self) -> Outcome:
        try:
            outcome: Outcome = self.future.result()
        except Exception as error:  # of the worker, whatever it is: a piece failed, not this one
            outcome = Outcome(error=error)
        self.future.release()
        return outcome


def _future(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_future(item) for item in argument]
    return argument.future if isinstance(argument, _Future) else argument


def _attempt(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """On a worker: input that does not fit is an outcome, since it would not fit the next time.

    Warnings go back to the one who asked.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            outcome = Outcome(function(*arguments))
        except (ValueError, TypeError) as error:
            outcome = Outcome(error=error)
    return replace(outcome, warned=tuple(dict.fromkeys(str(w.message) for w in caught)))
