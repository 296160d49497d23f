"""The first bytes of files, by which formats are told apart."""

from __future__ import annotations

from pathlib import Path


def start_of(path: Path, count: int) -> bytes:
    """The first bytes of a file, fewer where it is shorter; none of what is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(count)
