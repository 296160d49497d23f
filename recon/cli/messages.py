"""What the command line says of an error."""

from __future__ import annotations


def one_line(error: Exception) -> str:
    """The error in one line, with its file if it has one."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
