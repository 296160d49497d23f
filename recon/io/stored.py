"""Readouts where they lie in a file: nothing of them is read before it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

# The most that deflate shrinks: what declares more than this times its stored bytes lies.
DEFLATE_RATIO = 1032


def mapped(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, read by the system where they are looked at."""
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    return np.memmap(path, np.uint8, "r")


def gather(
    content: NDArray[np.uint8], offsets: NDArray[np.int64], width: int, place: str
) -> NDArray[np.uint8]:
    """Copy `width` bytes at each offset, ``(offset, byte)``.

    Raises
    ------
    FormatError
        Bytes beyond the end of the content.
    """
    if len(offsets) and not (offsets.min() >= 0 and offsets.max() + width <= content.size):
        raise FormatError(None, place, f"reaches beyond the end of the file ({content.size} bytes)")
    if width > content.size:
        return np.zeros((0, width), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(content, width)
    return np.ascontiguousarray(windows[offsets])


class LazyReadouts(Sequence[NDArray[Any]]):
    """Arrays that are made one by one, when they are asked for."""

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | Sequence[NDArray[Any]]:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        return self.one(range(len(self))[index])

    @abstractmethod
    def one(self, index: int) -> NDArray[Any]:
        """The array at a place from 0 on."""

    @abstractmethod
    def select(self, places: NDArray[np.int64]) -> LazyReadouts:
        """Those at some places."""


@dataclass(frozen=True, eq=False)
class StoredReadouts(LazyReadouts):
    """Arrays ``(row, column)`` at known places of a file; indexing gives them one by one.

    Parameters
    ----------
    content
        The bytes of the file.
    first
        ``(readout,)``: the byte where each array starts.
    rows, columns
        ``(readout,)``: its sizes; coils and samples of k-space, samples and axes of a trajectory.
    dtype
        How a number is stored; pairs of integers (two fields) are complex.
    gap
        Bytes between the rows (headers of channels).
    strides
        Bytes from row to row and column to column, for other orders; in place of `gap`.

    Raises
    ------
    FormatError
        Arrays beyond the end of the file.
    """

    content: NDArray[np.uint8]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype("<c8"))
    gap: int = 0
    strides: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        size = self.dtype.itemsize
        if self.strides is None:
            last = self.rows * (self.columns * size + self.gap) - self.gap
        else:
            last = (self.rows - 1) * self.strides[0] + (self.columns - 1) * self.strides[1] + size
        outside = (self.rows * self.columns > 0) & (
            (self.first < 0) | (self.first + last > self.content.size)
        )
        if outside.any():
            row = int(np.argmax(outside))
            raise FormatError(
                None, f"readout {row}", f"ends at byte {int((self.first + last)[row])}, the file "
                f"has {self.content.size}",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.first)

    def one(self, index: int) -> NDArray[Any]:
        """A readout."""
        rows, columns = int(self.rows[index]), int(self.columns[index])
        size = self.dtype.itemsize
        strides = self.strides or (columns * size + self.gap, size)
        array: NDArray[Any] = np.ndarray(
            (rows, columns), self.dtype, self.content, int(self.first[index]), strides
        )
        if self.dtype.names:
            real, imaginary = self.dtype.names
            return (array[real] + 1j * array[imaginary]).astype(np.complex64)
        return array

    def select(self, places: NDArray[np.int64]) -> StoredReadouts:
        """Some of the readouts."""
        return replace(
            self, first=self.first[places], rows=self.rows[places], columns=self.columns[places]
        )

    def followed_by(self, others: StoredReadouts) -> StoredReadouts:
        """These readouts and others of the same file and layout."""
        return replace(
            self,
            first=np.concatenate([self.first, others.first]),
            rows=np.concatenate([self.rows, others.rows]),
            columns=np.concatenate([self.columns, others.columns]),
        )


@dataclass(frozen=True, eq=False)
class ScaledReadouts(LazyReadouts):
    """Readouts times a factor each, applied when they are asked for.

    Parameters
    ----------
    source
        The readouts.
    factor
        ``(readout,)`` complex.
    """

    source: StoredReadouts
    factor: NDArray[np.complex64]

    def __len__(self) -> int:
        return len(self.factor)

    def one(self, index: int) -> NDArray[Any]:
        """A readout times its factor."""
        return np.asarray(self.source[index] * self.factor[index])

    def select(self, places: NDArray[np.int64]) -> ScaledReadouts:
        """Some of the readouts."""
        return ScaledReadouts(self.source.select(places), self.factor[places])
