"""``--read NAME=VALUE``: what a file's format leaves open, and which slices or repetitions."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import typer

Words = Annotated[
    list[str] | None,
    typer.Option(
        "--read",
        "-r",
        metavar="NAME=VALUE",
        help="How to read the file: slice=3, repetition=0:10, sequence=a.seq, measurement=0, ...",
    ),
]


def reading_options(words: list[str] | None) -> dict[str, Any]:
    """Options of `spinray.load` from words like ``slice=3`` or ``repetition=0:10``."""
    options: dict[str, Any] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (equals and name.isidentifier() and value):
            raise ValueError(f"--read takes NAME=VALUE, such as slice=3, got {word!r}")
        options[name] = _value(name, value)
    return options


def _value(name: str, text: str) -> Any:
    """A number, a range, numbers (256x256 or 240,240,5), or text."""
    if name == "angles":
        raise ValueError("--read takes no view angles: spinray.load(path, angles=...) does")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    if ":" in text and all(part.strip("-").isdigit() or not part for part in text.split(":")):
        return slice(*(int(part) if part else None for part in text.split(":")))
    for separator, number in (("x", int), (",", float)):
        parts = text.split(separator)
        with contextlib.suppress(ValueError):
            if len(parts) > 1:
                return tuple(number(part) for part in parts)
    return text
