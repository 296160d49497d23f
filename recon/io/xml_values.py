"""Small XML files from strangers: no entities, no more than a few megabytes, plain values."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from .errors import FormatError

_LARGEST_FILE = 1 << 26


def read_xml(path: Path) -> ElementTree.Element:
    """The root of a document.

    Raises
    ------
    FormatError
        Broken XML, one of more than 64 MB, or with entities of its own, by which a few lines
        stand for millions.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    content = path.read_bytes()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise FormatError(path, "XML", "declares entities: refused")

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(path, "XML", str(error)) from error


def local_name(element: ElementTree.Element) -> str:
    """Name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def values_in(root: ElementTree.Element) -> dict[str, str]:
    """Text of all leaves by their names, the first of each."""
    found: dict[str, str] = {}
    for element in root.iter():
        if not len(element):
            found.setdefault(local_name(element), (element.text or "").strip())
    return found


def number_in(values: dict[str, str], name: str, default: float | None = None) -> float:
    """A finite number by its name.

    Raises
    ------
    FormatError
        Missing without default, or no number.
    """
    if name not in values and default is not None:
        return default
    text = values.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(None, name, f"is {text!r:.40}, expected a number")
    return value
