"""What a reader's options take, by the annotations of its `open_file`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np


def _several(value: Any, kind: type) -> bool:
    return np.ndim(value) == 1 and all(isinstance(v, kind) for v in value)


# Annotation: what it is in words, and whether a value is one. Others are the reader's to check.
_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda v: isinstance(v, Integral)),
    "float": ("a finite number", lambda v: isinstance(v, Real) and math.isfinite(v)),
    "str": ("text", lambda v: isinstance(v, str)),
    "PathLike[str]": ("a path", lambda v: isinstance(v, PathLike)),
    "tuple[int, ...]": ("whole numbers such as 256x256", lambda v: _several(v, Integral)),
    "tuple[float, ...]": ("numbers such as 1.5,1.5", lambda v: _several(v, Real)),
    "tuple[float, float]": ("two numbers such as 1.5,1.5",
                            lambda v: _several(v, Real) and len(v) == 2),
}  # fmt: skip


def check_options(open_file: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Hold the values of options against what a reader's `open_file` says that it takes.

    Raises
    ------
    TypeError
        Text for a number, one number for several, and the like.
    """
    parameters = inspect.signature(open_file).parameters
    for name, value in options.items():
        kinds = [kind for kind in str(parameters[name].annotation).split(" | ") if kind != "None"]
        if value is None or any(kind not in _KINDS for kind in kinds):
            continue
        if not any(fits(value) for _, fits in map(_KINDS.__getitem__, kinds)):
            words = " or ".join(_KINDS[kind][0] for kind in kinds)
            raise TypeError(f"{name} must be {words}, got {value!r}")
