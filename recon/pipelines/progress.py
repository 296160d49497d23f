"""Progress bars on stderr; silent where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from ..solvers.common import Callback
from .registry import Track


def tracker(show: bool | None = None) -> Track:
    """A `Track` that draws bars if `show`; by default if stderr is a terminal."""
    visible = sys.stderr.isatty() if show is None else show
    return _bars if visible else _silent


@contextmanager
def _silent(label: str, total: int) -> Iterator[Callback]:
    yield lambda iteration, x, change: None


@contextmanager
def _bars(label: str, total: int) -> Iterator[Callback]:
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
        TextColumn("{task.fields[change]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, change="")

        def step(iteration: int, x: Tensor, change: float) -> None:
            progress.update(task, advance=1, change=f"change {change:.1e}")

        yield step
