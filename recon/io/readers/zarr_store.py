"""Zarr stores (folders): arrays named as the arguments of `MRScan` or of `CTScan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...extras import extra_library
from ..array_file import array_file
from ..errors import FormatError
from ..raw_file import RawFile
from ..sniffing import start_of
from ..stored import DEFLATE_RATIO

NAME = "Zarr"
_NAMES = ("kspace", "sinogram", "counts")
_METADATA = ("zarr.json", ".zarray")
_LARGEST_METADATA = 1 << 20
_LARGEST_CHUNK = 1 << 31
_ZSTANDARD = bytes.fromhex("28b52ffd")
# Filters, compressors and codecs that are run; others unpickle, or shrink beyond measure.
_CODECS = {
    "blosc", "bytes", "crc32c", "delta", "fixedscaleoffset", "gzip", "lz4", "sharding_indexed",
    "shuffle", "transpose", "vlen-utf8", "zlib", "zstd",
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether a folder is a store with a k-space, a sinogram or counts."""
    return path.is_dir() and any(_metadata(path / name) is not None for name in _NAMES)


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)


def open_file(
    path: Path,
    image_shape: tuple[int, ...] | None = None,
    spacing: tuple[float, ...] | None = None,
) -> RawFile:
    """Look at a store; chunks are read when they are asked for.

    Parameters
    ----------
    path
        The folder. Links that leave it are refused.
    image_shape
        ``([z,] y, x)``: three sizes say that the k-space is one of volumes.
    spacing
        Voxel size in mm, ``([z,] y, x)``.
    """
    zarr = extra_library("zarr", "vendors")
    root = path.resolve()
    arrays: dict[str, Any] = {}
    for folder in sorted(path.iterdir()):
        file = _metadata(folder) if folder.is_dir() else None
        if file is None:
            continue
        if not file.resolve().is_relative_to(root):
            raise FormatError(file, "", "leads out of the store: refused")
        shape = _declared(file)
        arrays[folder.name] = _Array(zarr, folder, root, shape)
    given = {"image_shape": image_shape, "spacing": spacing}
    return array_file(arrays, NAME, {k: v for k, v in given.items() if v is not None})


def _declared(file: Path) -> tuple[int, ...]:
    """The shape that an array's metadata state, if it and its chunks may be true."""
    if file.stat().st_size > _LARGEST_METADATA:
        raise FormatError(file, "", "has more than a megabyte of metadata")
    try:
        said = json.loads(file.read_bytes())
        shape = tuple(int(n) for n in said["shape"])
        chunks = said.get("chunks")
        if chunks is None:
            chunks = said["chunk_grid"]["configuration"]["chunk_shape"]
        chunk = int(np.prod([int(n) for n in chunks], dtype=object))
        unknown = sorted(_codecs(said) - _CODECS)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(file, "", f"is no array of numbers: {error}") from error
    if min(shape, default=1) < 0 or not 0 < chunk * 16 < _LARGEST_CHUNK:
        raise FormatError(file, "", f"declares {shape} in chunks of {chunk} elements")
    if unknown:
        raise FormatError(file, "", f"is packed by {', '.join(unknown)}: refused")
    return shape


def _codecs(said: Any) -> set[str]:
    """Names of all that chunks go through: filters and a compressor (Zarr 2), codecs (Zarr 3)."""
    found: set[str] = set()
    for step in [*(said.get("filters") or ()), said.get("compressor")]:
        found |= {str(step["id"])} if step else set()
    for codec in said.get("codecs") or ():
        found |= {str(codec["name"])} | _codecs(codec.get("configuration") or {})
        found |= _codecs({"codecs": (codec.get("configuration") or {}).get("index_codecs")})
    return found


def _unpacked_size(start: bytes) -> int:
    """Bytes of a Zstandard frame unpacked, which may be a million times as many; 0 of others.

    RFC 8878, 3.1.1.1. Frames that do not say it count as endless.
    """
    if not start.startswith(_ZSTANDARD):
        return 0
    flags = start[4] if len(start) > 4 else 0
    single = bool(flags & 0x20)
    width = (int(single), 2, 4, 8)[flags >> 6]
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(start[at : at + width], "little") + 256 * (width == 2)
    return size if width else 1 << 63


class _Array:
    """An array of a store: NumPy's indexing reads the chunks that it needs."""

    def __init__(self, zarr: Any, folder: Path, root: Path, shape: tuple[int, ...]) -> None:
        self._array = zarr.open_array(str(folder), mode="r")
        self._folder, self._root = folder, root
        if tuple(self._array.shape) != shape:
            raise FormatError(folder, "", f"is {self._array.shape}, its metadata say {shape}")
        self.shape, self.dtype, self.ndim = shape, self._array.dtype, len(shape)
        self.size = int(np.prod(shape, dtype=object))
        if self.dtype.kind not in "biufcSU":
            raise FormatError(folder, "", f"holds {self.dtype}, expected numbers")
        self._require_stored()

    def _require_stored(self) -> None:
        """Chunks that are not there are zeros: an array of nothing else is no measurement."""
        stored = 0
        room = max(4 * int(np.prod(self._array.chunks)) * self.dtype.itemsize, 1 << 20)
        for entry in self._folder.rglob("*"):
            if entry.is_file():
                if not entry.resolve().is_relative_to(self._root):
                    raise FormatError(entry, "", "leads out of the store: refused")
                stored += entry.stat().st_size
                if _unpacked_size(start_of(entry, 18)) > room:
                    raise FormatError(entry, "", "swells beyond the size of a chunk: refused")
        declared = self.size * self.dtype.itemsize
        if declared > max(DEFLATE_RATIO * stored, 1 << 20):
            raise FormatError(
                self._folder, "", f"declares {self.shape} {self.dtype}, stores {stored} bytes"
            )

    def __getitem__(self, index: Any) -> Any:
        return self._array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self._array[...], dtype=dtype)
