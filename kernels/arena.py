"""Memory that is used again: mapping fresh pages costs more than a transform itself.

A buffer is free once nothing but the arena refers to it: results that callers have let go, and
working grids of finished calls.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .threads import ForkLock

ALIGNMENT = 64  # a cache line: coils of a grid cell are loaded together
KEPT = 1 << 30  # bytes that free buffers may hold from one call to the next
SMALL = 1 << 18  # bytes that the allocator itself hands out again


class Arena:
    """Hands out uninitialised arrays on cache-line boundaries."""

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = [np.empty(1, np.uint8)]
        self._free_count = self._references(0)  # what a buffer without users counts
        self._buffers.clear()
        self._lock = ForkLock()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an array with whatever its memory holds."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        needed = size + ALIGNMENT
        if needed < SMALL:
            buffer = np.empty(needed, np.uint8)
            return self._aligned(buffer, size).view(dtype).reshape(shape)
        with self._lock:
            for i in range(len(self._buffers)):
                fits = needed <= self._buffers[i].size <= needed + needed // 4
                if fits and self._references(i) == self._free_count:
                    buffer = self._buffers.pop(i)
                    break
            else:
                buffer = np.empty(needed, np.uint8)
            self._buffers.append(buffer)  # the latest used stand last
            self._trim()
        return self._aligned(buffer, size).view(dtype).reshape(shape)

    @staticmethod
    def _aligned(buffer: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        start = -buffer.ctypes.data % ALIGNMENT
        return buffer[start : start + size]

    def _trim(self) -> None:
        """Drop the free buffers that were not used for longest, beyond what may be kept."""
        excess = sum(buffer.size for buffer in self._buffers) - KEPT
        i = 0
        while excess > 0 and i < len(self._buffers) - 1:
            if self._references(i) == self._free_count:
                excess -= self._buffers.pop(i).size
            else:
                i += 1

    def _references(self, i: int) -> int:
        return sys.getrefcount(self._buffers[i])


arena = Arena()
