"""Projections as TIFF files, one a view or all in one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError, format_errors
from .stored import DEFLATE_RATIO

_ALWAYS_ALLOWED = 1 << 24  # bytes of a frame, whatever the file's size
_LARGEST_COUNT = 1 << 20


def files_like(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by a pattern with ``*``, in the order of the numbers in their names.

    Raises
    ------
    FormatError
        A pattern that leaves the folder, no file, more than a million.
    """
    require_name(folder, pattern)
    found = [path for path in folder.glob(pattern) if path.is_file()]
    root = folder.resolve()
    outside = [path for path in found if not path.resolve().is_relative_to(root)]
    if outside:
        raise FormatError(outside[0], "", "leads out of its folder: refused")
    if not 0 < len(found) <= _LARGEST_COUNT:
        raise FormatError(folder, pattern, f"matches {len(found)} files")
    return sorted(found, key=natural_order)


def require_name(folder: Path, pattern: str) -> None:
    """Refuse a pattern that leads out of the folder, or down into those in it.

    Raises
    ------
    FormatError
        No pattern, separators, two dots, two stars.
    """
    if not pattern or any(part in pattern for part in ("/", "\\", "..", "**")):
        raise FormatError(folder, pattern, "must name files of this folder")


def natural_order(path: Path) -> list[Any]:
    """Sorting key of a name by the numbers in it."""
    words = re.split(r"(\d+)", path.name)
    return [(int(word[:18]), "") if word.isdigit() else (-1, word) for word in words]


class TiffFrames:
    """Frames ``(frame, row, column)`` of TIFF files, read when they are indexed.

    Raises
    ------
    FormatError
        Files that are no TIFF, frames of several sizes, sizes that a file cannot hold.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._counts = {file: _pages(file) for file in files}
        _, _, first = next(self._read())
        self.shape = (sum(self._counts.values()), *first.shape)
        self.dtype = first.dtype

    def _read(self) -> Iterator[tuple[Path, int, NDArray[Any]]]:
        """Files, numbers of their pages and frames, each file opened once: pages form a chain."""
        import tifffile

        for file, count in self._counts.items():
            with format_errors(file, "TIFF"), tifffile.TiffFile(file) as opened:
                for page in range(count):
                    with format_errors(file, f"page {page}"):
                        frame = _frame(opened.pages[page], file)
                    yield file, page, frame

    def read(self, rows: int | slice = slice(None)) -> NDArray[Any]:
        """All frames, or some rows of each; a single row keeps its axis."""
        rows = rows if isinstance(rows, slice) else slice(rows, rows + 1)
        height = len(range(self.shape[1])[rows])
        frames = np.empty((self.shape[0], height, self.shape[2]), self.dtype)
        for number, (file, page, frame) in enumerate(self._read()):
            if frame.shape != self.shape[1:]:
                raise FormatError(
                    file, f"page {page}", f"is {frame.shape}, the first {self.shape[1:]}"
                )
            frames[number] = frame[rows]
        return frames


def _frame(page: Any, file: Path) -> NDArray[Any]:
    """Numbers of a page ``(row, column)`` that its file can hold."""
    declared = int(np.prod(page.shape, dtype=object)) * np.dtype(page.dtype).itemsize
    largest = max(DEFLATE_RATIO * file.stat().st_size, _ALWAYS_ALLOWED)
    if len(page.shape) != 2 or declared > largest:
        raise FormatError(None, "", f"declares {page.shape} {page.dtype}")
    array = np.asarray(page.asarray())
    if array.dtype.kind not in "iuf":
        raise FormatError(None, "", f"holds {array.dtype}, expected numbers")
    return array


def _pages(file: Path) -> int:
    import tifffile

    with format_errors(file, "TIFF"), tifffile.TiffFile(file) as opened:
        count = len(opened.pages)
    if not 0 < count <= _LARGEST_COUNT:
        raise FormatError(file, "TIFF", f"has {count} pages")
    return count
