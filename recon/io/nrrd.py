"""Images as NRRD (Teem, 3D Slicer): scalar volumes in one file.

https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import gzip
import io
import re
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import as_tensor
from ..image import Image
from .errors import FormatError
from .orientation import LPS_TO_RAS

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "f4": ("float",),
    "f8": ("double",),
}
_LARGEST_HEADER = 1 << 20
_VECTOR = re.compile(r"\(([^()]*)\)")
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_TO_RAS = {
    "right-anterior-superior": np.eye(3), "ras": np.eye(3),
    "left-posterior-superior": LPS_TO_RAS, "lps": LPS_TO_RAS,
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0]), "las": np.diag([-1.0, 1.0, 1.0]),
}  # fmt: skip


def read(path: Path) -> Image:
    """Read a slice or volume ``([z,] y, x)`` with its place in space."""
    with path.open("rb") as file:
        content = file.read()
    end = re.search(rb"\r?\n\r?\n", content[:_LARGEST_HEADER])
    if end is None:
        raise FormatError(path, "header", "does not end with an empty line")
    head, body = content[: end.start()], content[end.end() :]
    lines = head.decode("ascii", "replace").splitlines()[1:]
    fields = dict(line.split(": ", 1) for line in lines if ": " in line and line[0] != "#")
    sizes = [int(n) for n in _field(fields, "sizes").split()]
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise FormatError(path, "sizes", f"are {sizes}, expected a slice or a volume of scalars")
    data = _values(path, fields, body, prod(sizes)).reshape(sizes[::-1])
    affine = _affine(fields, len(sizes))
    spacing = tuple(float(s) for s in np.linalg.norm(affine[:3, : len(sizes)], axis=0)[::-1])
    return Image(as_tensor(data), spacing, affine)


def _field(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise FormatError(None, "header", f"lacks {name}")
    return fields[name].strip()


def _values(path: Path, fields: dict[str, str], body: bytes, count: int) -> NDArray[np.generic]:
    if "data file" in fields or "datafile" in fields:
        raise FormatError(path, "data file", "is another file: only NRRD in one file is read")
    for name in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(name, "0").strip() != "0":
            raise FormatError(
                path, name, f"is {fields[name]}, expected data right after the header"
            )
    kind = _field(fields, "type").lower()
    if kind not in _CODES:
        raise FormatError(path, "type", f"is {kind}, expected a number")
    order = ">" if fields.get("endian", "little").strip().lower() == "big" else "<"
    dtype = np.dtype(order + _CODES[kind])
    encoding = _field(fields, "encoding").lower()
    if encoding in ("gzip", "gz"):  # no more of it than the sizes ask for
        with gzip.open(io.BytesIO(body)) as packed:
            body = packed.read(count * dtype.itemsize)
    elif encoding != "raw":
        raise FormatError(path, "encoding", f"is {encoding}, expected raw or gzip")
    if len(body) < count * dtype.itemsize:
        raise FormatError(
            path, "data", f"holds {len(body)} bytes, {count} values need {count * dtype.itemsize}"
        )
    values = np.frombuffer(body, dtype, count)
    return values.astype(dtype.newbyteorder("="))


def _affine(fields: dict[str, str], ndim: int) -> NDArray[np.float64]:
    """From index (x, y, z) to RAS+; without a place, the spacings on the diagonal."""
    affine = np.eye(4)
    said = fields.get("space directions", "")
    if "none" in said:
        raise FormatError(None, "space directions", f"are {said:.80}: an axis is none of space")
    directions = _VECTOR.findall(said)
    if len(directions) != ndim:
        spacings = [float(s) for s in fields.get("spacings", "").split()]
        for axis, step in enumerate(spacings[:ndim]):
            affine[axis, axis] = step if step > 0 else 1.0
        return affine
    to_ras = _TO_RAS.get(fields.get("space", "").strip().lower(), np.eye(3))
    for axis, direction in enumerate(directions):
        affine[:3, axis] = to_ras @ _vector(direction)
    if ndim == 2:
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] /= np.linalg.norm(affine[:3, 2])
    origin = _VECTOR.findall(fields.get("space origin", ""))
    if origin:
        affine[:3, 3] = to_ras @ _vector(origin[0])
    return affine


def _vector(text: str) -> NDArray[np.float64]:
    values = [float(v) for v in text.split(",")]
    if len(values) != 3:
        raise FormatError(None, "space directions", f"({text}) is no vector of 3")
    return np.array(values)
