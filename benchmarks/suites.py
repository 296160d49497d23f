"""The suites of ``spinray bench``: names and their tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from .protocol import Task

# name: module, function of `quick`
_SUITES = {
    "nufft": ("nufft", "tasks"),
    "ct": ("ct", "tasks"),
    "mri": ("mri_speed", "tasks"),
    "models": ("network_speed", "models"),
    "diffusion": ("network_speed", "diffusion"),
    "gpu": ("gpu", "tasks"),
    "server": ("server", "tasks"),
    "reading": ("reading", "tasks"),
    "small": ("ratios", "tasks"),
}
SPEED = tuple(_SUITES)


def tasks(suite: str, quick: bool = False) -> Iterator[Task]:
    """Tasks of a suite; its peers are imported when they are prepared, not before."""
    module, name = _SUITES[suite]
    found: Callable[[bool], Iterator[Task]] = getattr(
        import_module(f".{module}", __package__), name
    )
    return found(quick)
