"""Images as bare NumPy arrays: values without place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..arrays import as_tensor
from ..image import Image
from .atomic import atomic


def write(image: Image, path: Path) -> None:
    """Write ``(*batch, [z,] y, x)``; spacing, affine and metadata are not kept."""
    with atomic(path) as temporary:
        np.save(temporary, image.data.detach().cpu().resolve_conj().numpy(), allow_pickle=False)


def read(path: Path) -> Image:
    """Read an array; voxels of 1 mm."""
    return Image(as_tensor(np.array(np.load(path, mmap_mode="r", allow_pickle=False))))
