"""Places in k-space for non-Cartesian readouts whose file does not say them."""

from __future__ import annotations

import copy
import dataclasses
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from .acquisitions import ON_GRID, Acquisitions, trajectory_of
from .errors import FormatError, format_errors
from .flags import NOT_IMAGING


def with_trajectory(
    acquisitions: Acquisitions,
    trajectory: str | PathLike[str] | NDArray[Any] | None,
    image_shape: tuple[int, ...] | None = None,
) -> Acquisitions:
    """Readouts with the places given, or those of spokes evenly over half a turn.

    Parameters
    ----------
    acquisitions
        Readouts of a radial, spiral or other scan.
    trajectory
        A .npy or an array ``(readout, sample, 2 or 3)`` in cycles per pixel of the image or in
        1/FOV, axes x, y, z: one for every imaging readout, or one for each line counter. None:
        spokes for a radial scan; nothing for others.
    image_shape
        ``([z,] y, x)``. Default: the header's matrix to reconstruct, square.

    Raises
    ------
    FormatError
        A trajectory that does not fit the readouts.
    """
    layout = acquisitions.header.encoding[0]
    imaging = np.flatnonzero(~acquisitions.flagged(*NOT_IMAGING))
    head = acquisitions.head
    counts = head["number_of_samples"][imaging].astype(np.int64)
    lines = head["idx"]["kspace_encode_step_1"][imaging].astype(np.int64)
    if trajectory is None:
        if trajectory_of(layout) != "radial" or len(set(counts.tolist())) != 1:
            return acquisitions
        points = _spokes(int(lines.max()) + 1, int(counts[0]), head["center_sample"][imaging[0]])
    else:
        points = _given(trajectory)
    rows = lines if len(points) == int(lines.max()) + 1 != len(imaging) else np.arange(len(imaging))
    if points.ndim != 3 or points.shape[-1] not in (2, 3) or len(points) <= int(rows.max()):
        raise FormatError(
            None, "trajectory", f"has shape {points.shape}, expected ({len(imaging)} readouts or "
            f"{int(lines.max()) + 1} lines, samples, 2 or 3)",
        )  # fmt: skip
    if (counts != points.shape[1]).any():
        raise FormatError(
            None, "trajectory", f"has {points.shape[1]} samples a readout, the data "
            f"{sorted(set(counts.tolist()))}",
        )  # fmt: skip
    parts = [np.zeros((0, 0), np.float32)] * len(acquisitions)
    for i, row in zip(imaging.tolist(), rows.tolist(), strict=True):
        parts[i] = points[row]
    head = head.copy()
    head["trajectory_dimensions"][imaging] = points.shape[-1]
    header = copy.deepcopy(acquisitions.header)
    if trajectory_of(layout) in ON_GRID:  # what the sequence's author left at its default
        header.encoding[0].trajectory = xsd.trajectoryType.OTHER
    space = header.encoding[0].reconSpace
    if image_shape is not None:
        space.matrixSize.y, space.matrixSize.x = image_shape[-2:]
        space.matrixSize.z = image_shape[0] if len(image_shape) == 3 else 1
    elif points.shape[-1] == 2:
        space.matrixSize.y = space.matrixSize.x
        space.fieldOfView_mm.y = space.fieldOfView_mm.x
    header.encoding[0].encodedSpace = copy.deepcopy(space)
    return dataclasses.replace(acquisitions, head=head, trajectory=parts, header=header)


def _spokes(views: int, samples: int, center: int) -> NDArray[np.float32]:
    """``(view, sample, 2)`` in cycles per pixel: diameters evenly over half a turn."""
    angle = np.pi * np.arange(views) / views
    radius = (np.arange(samples) - (center or samples // 2)) / samples
    way = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.asarray(radius[None, :, None] * way[:, None], np.float32)


def _given(trajectory: str | PathLike[str] | NDArray[Any]) -> NDArray[np.float32]:
    if isinstance(trajectory, str | PathLike):
        path = Path(trajectory)
        with format_errors(path):
            points = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        points = np.asarray(trajectory)
    if not isinstance(points, np.ndarray):
        raise FormatError(None, "trajectory", "is an archive, expected one array (.npy)")
    if points.dtype.kind != "f" or not np.isfinite(points).all():
        raise FormatError(None, "trajectory", f"is {points.dtype}, expected finite real numbers")
    return np.asarray(points, dtype=np.float32)
