"""``--scheduler tcp://HOST:8786``: work on a cluster, for the commands that have many files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..cluster import Crew

Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Work on the workers of this dask scheduler, tcp://HOST:8786. Default: here.",
    ),
]
Retries = Annotated[
    int,
    typer.Option(min=0, help="With --scheduler: how often a file is tried again that failed."),
]


@dataclass(frozen=True)
class Work:
    """Where work is to be done."""

    scheduler: str | None
    retries: int

    @contextmanager
    def begun(
        self, label: str, total: int | None = None
    ) -> Iterator[tuple[Crew, Callable[[], None]]]:
        """The workers, and what counts the pieces that are done; the dashboard is told."""
        from ..cluster import crew
        from ..pipelines.progress import counter

        show = None if self.scheduler else False
        with crew(self.scheduler, retries=self.retries) as workers:
            if workers.dashboard:
                typer.echo(f"dashboard: {workers.dashboard}", err=True)
            with counter(show, label, total) as step:
                yield workers, step
