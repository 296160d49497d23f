"""What ``spinray info`` says of an image file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..image import Image
from .raw_facts import orientation_words, size_text

_INNER = ("format", "ndim", "calibration_mode", "sample_time_us")  # of the raw file, for programs


def _spread(image: Image) -> dict[str, Any]:
    """Samples and standard deviation, of images that have them."""
    found: dict[str, Any] = {}
    if image.samples is not None:
        found["samples"] = len(image.samples)
    if image.deviation is not None:
        found["deviation"] = f"{image.deviation.mean():.4g} in the mean"
    return found


def image_facts(path: Path) -> dict[str, Any]:
    """Matrix, voxels, place, values and what the file says of their making.

    Raises
    ------
    FormatError
        A broken file, or no image.
    """
    from ..io import load_image

    image = load_image(path)
    values = image.magnitude()
    spacing = np.array(image.spacing)
    told = {k: v for k, v in image.metadata.items() if isinstance(v, str | int | float) and v != ""}
    return {
        "format": "image",
        "size": size_text(values.nbytes),
        "matrix": list(image.spatial_shape),
        "images": int(np.prod(image.data.shape[: -len(spacing)])),
        "spacing (mm)": spacing.tolist(),
        "field of view (mm)": (spacing * image.spatial_shape).tolist(),
        "orientation": orientation_words(image.affine),
        "values": f"{values.min():.4g} to {values.max():.4g}",
        **_spread(image),
        **{k: v for k, v in told.items() if k not in _INNER},
    }
