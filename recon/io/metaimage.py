"""MetaImage files (ITK's .mha and .mhd): a header of lines, then voxels, read when asked for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .sniffing import start_of
from .stored import DEFLATE_RATIO, mapped

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_LARGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class MetaImage:
    """What the header says; sizes, spacing and origin as the axes of the array, (z, y, x)."""

    file: Path
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    compressed: int | None

    def read(self) -> NDArray[Any]:
        """All voxels ``shape``."""
        count = int(np.prod(self.shape, dtype=object))
        content = mapped(self.file)
        if self.compressed is None:
            stored = content[self.start : self.start + count * self.dtype.itemsize]
        else:
            packed = content[self.start : self.start + self.compressed].tobytes()
            stored = np.frombuffer(_inflated(packed, count * self.dtype.itemsize), np.uint8)
        if stored.size != count * self.dtype.itemsize:
            raise FormatError(
                self.file, "", f"holds {stored.size} bytes of voxels, {self.shape} {self.dtype} "
                f"take {count * self.dtype.itemsize}",
            )  # fmt: skip
        array = np.frombuffer(stored, self.dtype).reshape(self.shape)
        return array.astype(self.dtype.newbyteorder("="), copy=False)


def is_metaimage(path: Path) -> bool:
    """Whether a file starts as MetaImage headers do."""
    start = start_of(path, 512)
    return b"ObjectType" in start and b"=" in start


def open_metaimage(path: Path) -> MetaImage:
    """Read the header; voxels lie behind it or in a file of the same folder.

    Raises
    ------
    FormatError
        A broken header, directions other than the axes, more voxels than the file can hold.
    """
    said, start = _header(path)
    if said.get("ElementType") not in _TYPES:
        raise FormatError(path, "ElementType", f"is {said.get('ElementType')!r}")
    if int(said.get("ElementNumberOfChannels", "1")) != 1:
        raise FormatError(path, "ElementNumberOfChannels", "expected one value a voxel")
    big = said.get("BinaryDataByteOrderMSB", said.get("ElementByteOrderMSB", "False"))
    order = ">" if big.lower() == "true" else "<"
    dtype: np.dtype[Any] = np.dtype(f"{order}{_TYPES[said['ElementType']]}")
    shape = tuple(int(n) for n in said.get("DimSize", "").split())
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise FormatError(path, "DimSize", f"is {said.get('DimSize')!r}, expected 2 to 4 sizes")
    spacing = _numbers(path, said, ("ElementSpacing", "ElementSize"), len(shape), 1.0)
    origin = _numbers(path, said, ("Offset", "Position", "Origin"), len(shape), 0.0)
    axes = _numbers(path, said, ("TransformMatrix", "Rotation", "Orientation"), len(shape) ** 2)
    if axes and not np.allclose(np.reshape(axes, (len(shape),) * 2), np.eye(len(shape)), atol=1e-6):
        raise FormatError(path, "TransformMatrix", "turns the axes, expected none turned")
    file, start = _data_file(path, said, start)
    size, packed = file.stat().st_size, None
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if said.get("CompressedData", "False").lower() == "true":
        packed = int(said.get("CompressedDataSize", size - start))
        if packed < 0 or declared > max(packed, 1) * DEFLATE_RATIO:
            raise FormatError(path, "DimSize", f"declares {declared} bytes from {packed} packed")
    elif declared > size - start:
        raise FormatError(
            path, "DimSize", f"declares {declared} bytes, {file.name} has {size - start}"
        )
    return MetaImage(
        file, start, dtype, shape[::-1], spacing[::-1], origin[::-1], packed
    )  # fmt: skip


def _header(path: Path) -> tuple[Mapping[str, str], int]:
    """Keys and values up to ElementDataFile, which is the last, and where it ends."""
    content = start_of(path, _LARGEST_HEADER)
    said: dict[str, str] = {}
    at = 0
    while at < len(content):
        end = content.find(b"\n", at)
        end = len(content) if end < 0 else end
        key, equals, value = content[at:end].decode("utf-8", "replace").partition("=")
        if not equals:
            raise FormatError(path, f"byte {at}", "is no line of the form key = value")
        said[key.strip()] = value.strip()
        at = end + 1
        if key.strip() == "ElementDataFile":
            return said, at
    raise FormatError(path, "ElementDataFile", "missing in the header")


def _data_file(path: Path, said: Mapping[str, str], start: int) -> tuple[Path, int]:
    name = said["ElementDataFile"]
    if name.upper() == "LOCAL":
        return path, start
    # A name is taken to lie here, whatever path leads there.
    file = path.with_name(Path(name.replace("\\", "/")).name or "none")
    if not file.is_file() or file.resolve().parent != path.resolve().parent:
        raise FormatError(path, "ElementDataFile", f"{name!r} is missing in this folder")
    skip = int(said.get("HeaderSize", "0"))
    if skip == -1:
        raise FormatError(path, "HeaderSize", "is -1: give the size of the header")
    return file, max(skip, 0)


def _numbers(
    path: Path, said: Mapping[str, str], names: tuple[str, ...], count: int,
    default: float | None = None,
) -> tuple[float, ...]:  # fmt: skip
    text = next((said[name] for name in names if name in said), None)
    if text is None:
        return () if default is None else (default,) * count
    try:
        found = tuple(float(word) for word in text.split())
    except ValueError:
        found = ()
    if len(found) != count or not np.isfinite(found).all():
        raise FormatError(path, names[0], f"is {text!r:.60}, expected {count} numbers")
    return found


def _inflated(packed: bytes, size: int) -> bytes:
    stream = zlib.decompressobj()
    return stream.decompress(packed, size)
