"""Bruker's parameter files: JCAMP-DX with typed lists (acqp, method, visu_pars, reco)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .sniffing import start_of

_LARGEST_FILE = 64 << 20  # bytes
_PARAMETER = re.compile(r"^##\$(\w+)=(.*?)(?=^##|^\$\$|\Z)", re.MULTILINE | re.DOTALL)
_SIZES = re.compile(r"\(([\d\s,]+)\)(.*)", re.DOTALL)
_REPEAT = re.compile(r"@(\d+)\*\(([^()]*)\)")
_LARGEST_LIST = 1 << 24  # characters


class Parameters:
    """The parameters of a file by name; values are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FormatError(path, "", "missing")
        if path.stat().st_size > _LARGEST_FILE:
            raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
        self.path = path
        text = path.read_text("latin-1")
        self._texts = {name: value.strip() for name, value in _PARAMETER.findall(text)}

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def text(self, name: str, default: str = "") -> str:
        """A word, or the first string of a list."""
        value = self._content(name)
        if value is None:
            return default
        string = re.search(r"<([^<>]*)>", value)
        return (string[1] if string else value).strip()

    def numbers(self, name: str) -> NDArray[np.float64]:
        """All numbers of a list, or the one number; empty where there is none.

        Raises
        ------
        FormatError
            Something that is no number.
        """
        value = self._content(name)
        if value is None:
            return np.zeros(0)
        words = self._expanded(name, value).split()
        try:
            found = np.array([float(word) for word in words])
        except ValueError:
            raise FormatError(self.path, name, f"is {value[:60]!r}, expected numbers") from None
        if not np.isfinite(found).all():
            raise FormatError(self.path, name, "is not finite")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """The first number of a parameter.

        Raises
        ------
        FormatError
            None there, and no default.
        """
        found = self.numbers(name)
        if len(found):
            return float(found[0])
        if default is None:
            raise FormatError(self.path, name, "missing")
        return default

    def whole(self, name: str, default: int | None = None) -> int:
        """The first number of a parameter, a count from 0 to 2^31."""
        value = self.number(name, default)
        if not 0 <= value < 1 << 31 or value != int(value):
            raise FormatError(self.path, name, f"is {value:g}, expected a count")
        return int(value)

    def records(self, name: str) -> list[list[str]]:
        """Structures ``(a, b, <c>) (d, e, <f>)`` as lists of their fields."""
        value = self._content(name) or ""
        return [
            [field.strip().strip("<>") for field in record.split(",")]
            for record in re.findall(r"\(([^()]*)\)", value)
        ]

    def _content(self, name: str) -> str | None:
        """The value without the sizes of its list."""
        value = self._texts.get(name)
        if value is None:
            return None
        sized = _SIZES.fullmatch(value)
        return sized[2].strip() if sized and sized[2].strip() else value

    def _expanded(self, name: str, value: str) -> str:
        """Write out ``@3*(0)`` as three zeros."""
        total = sum(int(n) * (len(words) + 2) for n, words in _REPEAT.findall(value))
        if total > _LARGEST_LIST:
            raise FormatError(self.path, name, f"repeats values to {total} characters")
        return _REPEAT.sub(lambda match: f" {match[2]} " * int(match[1]), value)


def is_parameter_file(path: Path) -> bool:
    """Whether a file begins as Bruker's parameter files do."""
    return start_of(path, 512).startswith(b"##TITLE=")
