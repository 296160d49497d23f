"""Libraries that only some formats and methods need."""

from __future__ import annotations

import importlib
from typing import Any


def extra_library(module: str, extra: str, package: str = "") -> Any:
    """Import a library of an optional extra.

    Parameters
    ----------
    module
        What to import.
    extra
        Which of Spinray's extras installs it.
    package
        What it is called there. Default: as the module.

    Raises
    ------
    ImportError
        It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{package or module} is not installed: pip install 'spinray[{extra}]'"
        ) from error
