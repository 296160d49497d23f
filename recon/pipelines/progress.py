"""Progress bars on stderr; silent where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from ..solvers.common import Callback
from .registry import Track


def tracker(show: bool | None = None) -> Track:
    """A `Track` that draws bars if `show`; by default if stderr is a terminal."""
    return _bars if _visible(show) else _silent


@contextmanager
def counter(show: bool | None, label: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Count pieces of work by calls of what is yielded, in a bar as `tracker` draws it."""
    if not _visible(show):
        yield lambda: None
        return
    with _bar(label, total) as advance:
        yield lambda: advance("")


def _visible(show: bool | None) -> bool:
    return sys.stderr.isatty() if show is None else show


@contextmanager
def _silent(label: str, total: int) -> Iterator[Callback]:
    yield lambda iteration, x, change: None


@contextmanager
def _bars(label: str, total: int) -> Iterator[Callback]:
    with _bar(label, total) as advance:

        def step(iteration: int, x: Tensor, change: float) -> None:
            advance(f"change {change:.1e}")

        yield step


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """A bar that a call moves by one, with a text beside it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, text="")
        yield lambda text: progress.update(task, advance=1, text=text)
