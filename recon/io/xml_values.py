"""XML from strangers: no entities, no more than a few megabytes, plain values."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from .errors import FormatError, format_errors

_LARGEST_FILE = 1 << 24  # bytes; elements in memory take ten times as many


def read_xml(path: Path) -> ElementTree.Element:
    """The root of a document.

    Raises
    ------
    FormatError
        Broken XML, one of more than 16 MB, or as `parse_xml`.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    with format_errors(path):
        return parse_xml(path.read_bytes())


def parse_xml(content: bytes, place: str = "XML") -> ElementTree.Element:
    """The root of a document; `place` names it in messages.

    Raises
    ------
    FormatError
        Broken XML, or one with entities of its own, by which a few lines stand for millions.
    """
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise FormatError(None, place, "declares entities: refused")

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        raise FormatError(None, place, f"not well-formed: {error}") from error


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
