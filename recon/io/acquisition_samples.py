"""Non-Cartesian readouts: samples with their places in k-space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from .encoding import center_of, image_shape, is_3d
from .errors import FormatError
from .trajectory import cycles_per_pixel

if TYPE_CHECKING:
    from .acquisitions import Acquisitions


def sort_samples(
    readouts: Acquisitions, layout: xsd.encodingType, places: NDArray[np.int64], batch: int
) -> dict[str, Any]:
    """Line up readouts in the order they were measured: ``(batch, coil, sample)``.

    The trajectory ``(batch, sample, ndim)`` comes out in cycles per pixel, ordered z, y, x. A
    two-dimensional one with a second phase encoding is a stack (of stars, of spirals).
    """
    matrix = layout.encodedSpace.matrixSize
    # Third coordinates of a single plane are weights or zeros, not places.
    stored = 3 if matrix.z > 1 and readouts.head["trajectory_dimensions"].min() > 2 else 2
    stacked = stored == 2 and is_3d(layout, readouts.head)
    grid = (matrix.z, matrix.y, matrix.x)[-3 if stacked else -stored :]
    rows: list[list[int]] = [[] for _ in range(batch)]
    for i, place in enumerate(places.tolist()):
        rows[place].append(i)
    parts = [_readout(readouts, i, stored) for i in range(len(readouts))]
    totals = [sum(parts[i][0].shape[1] for i in row) for row in rows]
    if len(set(totals)) > 1:
        odd = next(b for b, total in enumerate(totals) if total != totals[0])
        raise FormatError(
            None, "readouts", f"batch item 0 has {totals[0]} samples, item {odd} has "
            f"{totals[odd]}: expected as many in each",
        )  # fmt: skip
    kspace = np.stack([np.concatenate([parts[i][0] for i in row], axis=1) for row in rows])
    points = np.stack([np.concatenate([parts[i][1] for i in row]) for row in rows])
    points = cycles_per_pixel(points, grid[-stored:])
    if stacked:
        steps = readouts.head["idx"]["kspace_encode_step_2"].astype(np.int64)
        heights = (steps - center_of(layout, "kspace_encoding_step_2", steps, matrix.z)) / matrix.z
        kz = [np.concatenate([np.full(parts[i][0].shape[1], heights[i]) for i in row])
              for row in rows]  # fmt: skip
        points = np.concatenate([np.stack(kz)[..., None].astype(points.dtype), points], axis=-1)
    lengths = {data.shape[1] for data, _ in parts}
    return {
        "kspace": kspace,
        "trajectory": points,
        "image_shape": image_shape(layout, grid),
        "readout_length": lengths.pop() if len(lengths) == 1 else None,
    }


def _readout(readouts: Acquisitions, i: int, stored: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Samples ``(coil, sample)`` and places ``(sample, stored)`` of one readout, z, y, x."""
    head, data, k = readouts.head[i], readouts.data[i], readouts.trajectory[i]
    place = f"readout {readouts.number[i]}"
    if k.ndim != 2 or k.shape[-1] < 2:
        raise FormatError(
            None, place, "has no trajectory: a non-Cartesian scan needs one for every readout"
        )
    kept = slice(int(head["discard_pre"]), data.shape[1] - int(head["discard_post"]))
    data, k = data[:, kept], k[kept]
    if not data.shape[1]:
        raise FormatError(None, place, "keeps no samples")
    for name, values in (("samples", data), ("trajectory", k)):
        if not np.isfinite(values).all():
            raise FormatError(None, place, f"{name} hold NaN or infinity")
    return data, k[:, :stored][:, ::-1]
