"""Warnings that name the line of the user's that led to them."""

from __future__ import annotations

import sys
import warnings

# This package, and what calls it back on the way: a dataclass's `replace`, a module's `__call__`.
_PASSED = {__name__.split(".", maxsplit=1)[0], "contextlib", "dataclasses", "functools", "torch"}


def warn(text: str) -> None:
    """Warn at the line outside this package that led here, however deep the call lies."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".", 1)[0] in _PASSED:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
