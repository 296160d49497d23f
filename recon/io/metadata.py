"""Metadata of images as JSON text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..image import Image


def as_json(image: Image) -> dict[str, Any]:
    """Those metadata that JSON can say: numbers, text, and lists and tables of them."""
    return {
        name: plain
        for name, value in image.metadata.items()
        if (plain := _plain(value)) is not None
    }


def from_json(text: str | bytes) -> dict[str, Any]:
    """Read a table; empty if the text is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return None
    return value
