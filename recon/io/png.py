"""Images as PNG: written as 8-bit grey, slices side by side; read as the grey of any picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.Image import DecompressionBombError

from ..arrays import as_tensor
from ..image import Image
from .atomic import atomic
from .errors import FormatError

_PERCENTILES = (0.5, 99.5)


def write(image: Image, path: Path, window: tuple[float, float] | None = None) -> None:
    """Draw the magnitude, first row on top; slices and batch fill a montage row by row.

    Parameters
    ----------
    image
        What to draw.
    path
        The file.
    window
        Values drawn black and white. Default: the 0.5th and 99.5th percentile.
    """
    values = np.nan_to_num(image.magnitude().astype(np.float64))
    slices = values.reshape(-1, *values.shape[-2:])
    low, high = window if window is not None else np.percentile(slices, _PERCENTILES)
    if not high > low:  # a constant image
        low, high = low - 0.5, low + 0.5
    grey = (np.clip((slices - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    with atomic(path) as temporary:
        Picture.fromarray(_montage(grey)).save(temporary, format="PNG")


def read(path: Path) -> Image:
    """Read grey values ``(y, x)``, 8 or 16 bits, as float32; pixels of 1 mm.

    Raises
    ------
    FormatError
        More pixels than Pillow takes for sane.
    """
    try:
        with Picture.open(path) as picture:
            grey = picture if picture.mode.startswith("I") else picture.convert("L")
            return Image(as_tensor(np.asarray(grey, np.float32)))
    except DecompressionBombError as error:
        raise FormatError(path, "IHDR", str(error)) from error


def _montage(slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tile ``(slice, y, x)`` to a picture that is about as wide as it is high."""
    count, height, width = slices.shape
    columns = min(count, max(1, round(float(np.sqrt(count * height / width)))))
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width), np.uint8)
    sheet[:count] = slices
    tiles = sheet.reshape(rows, columns, height, width).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width)
