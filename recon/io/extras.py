"""Libraries that only some formats need."""

from __future__ import annotations

import importlib
from typing import Any


def vendor_library(module: str, package: str) -> Any:
    """Import a library of the extra `vendors`.

    Raises
    ------
    ImportError
        It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this file needs the package {package}: pip install 'spinray[vendors]'"
        ) from error
