"""What the encoding space says of the matrix, its middle and the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from .errors import FormatError

# A grid this many times larger than what was measured is a broken header, not acceleration.
_LARGEST_GRID = 256
_ALWAYS_ALLOWED = 1 << 20  # grid points


def is_3d(layout: xsd.encodingType, head: NDArray[np.void]) -> bool:
    """Whether the second phase encoding is one: some files count slices in the encoded matrix."""
    if layout.encodedSpace.matrixSize.z == 1:
        return False
    limit = layout.encodingLimits.kspace_encoding_step_2
    steps = head["idx"]["kspace_encode_step_2"]
    return bool(steps.max() > 0 or (limit is not None and limit.maximum > 0))


def center_of(layout: xsd.encodingType, limit: str, steps: NDArray[np.int64], size: int) -> int:
    """Return the counter of the line through the middle of k-space.

    It is the limits' centre, or size // 2 where there are no limits or a centre of 0 was
    plainly never filled in (more lines follow it than there is room for).
    """
    limits = getattr(layout.encodingLimits, limit)
    if limits is None:
        return size // 2
    center = int(limits.center)
    if center == 0 and int(steps.max()) >= size - size // 2:
        return size // 2
    return center


def image_shape(layout: xsd.encodingType, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return the encoded grid ``([z,] y, x)`` cropped to the field of view to reconstruct."""
    encoded, recon = layout.encodedSpace.fieldOfView_mm, layout.reconSpace.fieldOfView_mm
    shape = []
    for axis, size in zip("xyz", reversed(grid), strict=False):
        full, part = getattr(encoded, axis), getattr(recon, axis)
        if size > 1 and 0 < part < full * (1 - 1e-3):
            size = max(round(size * part / full), 1)
        shape.append(size)
    return tuple(reversed(shape))


def require_plausible(shape: tuple[int, ...], head: NDArray[np.void]) -> None:
    """Refuse a grid ``(batch, coil, z, y, x)`` that what was measured cannot fill.

    Raises
    ------
    FormatError
        More than 256 grid points for every sample measured.
    """
    samples = head["number_of_samples"].astype(np.int64) * head["active_channels"]
    points = int(np.prod([int(n) for n in shape], dtype=object))
    if points > max(_LARGEST_GRID * int(samples.sum()), _ALWAYS_ALLOWED):
        raise FormatError(
            None, "encoded matrix", f"asks for {shape} (batch, coil, z, y, x), {points} points, "
            f"but {int(samples.sum())} samples were measured",
        )  # fmt: skip


def spacing_of(layout: xsd.encodingType) -> dict[str, float]:
    """Voxel size in mm along x, y, z; 1 where the file does not say."""
    space: Any = layout.encodedSpace
    return {
        axis: getattr(space.fieldOfView_mm, axis) / getattr(space.matrixSize, axis) or 1.0
        for axis in "xyz"
    }
