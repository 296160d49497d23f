"""What the viewer shows: stacks of slices, packed into text that a page can hold."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import Image

BITS = (16, 12, 10, 8)  # a value's, the most first


@dataclass(frozen=True, eq=False)
class Series:
    """A stack of slices and its name.

    Parameters
    ----------
    name
        What stands above it.
    values
        ``(slice, y, x)``, real; the first row is drawn on top.
    spacing
        Pixel size ``(y, x)`` in mm.

    Raises
    ------
    ValueError
        Values without a slice, or with other axes.
    """

    name: str
    values: NDArray[np.floating[Any]]
    spacing: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or 0 in self.values.shape:
            raise ValueError(
                f"{self.name}: values must be (slice, y, x) with a pixel at least, "
                f"got {self.values.shape}"
            )

    def packed(self, bits: int, step: int = 1) -> dict[str, Any]:
        """Every `step`-th slice in codes of so many bits: JSON that `viewer.js` reads.

        A value is ``low + step * code``. Codes are differences along each row, modulo 2^16, high
        bytes first and low bytes after them, deflated: what images are smallest as.
        """
        values = np.nan_to_num(self.values[::step].astype(np.float32), posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
        unit = (high - low) / (2**bits - 1) or 1.0
        codes = ((values - low) / unit).round().astype(np.uint16)
        codes[..., 1:] -= codes[..., :-1].copy()
        planes = (codes >> 8).astype(np.uint8).tobytes() + codes.astype(np.uint8).tobytes()
        return {
            "name": self.name, "shape": values.shape, "spacing": self.spacing, "low": low,
            "step": unit, "data": base64.b64encode(gzip.compress(planes, 9, mtime=0)).decode(),
        }  # fmt: skip


def series_of(image: Image, name: str) -> Series:
    """The magnitude of an image; batch axes and z become slices."""
    values = image.magnitude()
    return Series(name, values.reshape(-1, *values.shape[-2:]), image.spacing[-2:])  # type: ignore[arg-type]
