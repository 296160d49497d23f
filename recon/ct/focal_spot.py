"""Flying focal spots: readings of a source that jumps, as one at rest would measure them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.ct.geometry import ConeBeam, HelicalBeam
from ...kernels.warn import warn

Array = NDArray[np.float64]

_PERIODS = (1, 2, 4)  # views after which the spot is back: at rest, along z or across, both
_TAPS = {"view": 4, "row": 4, "column": 8}  # samples that interpolating polynomials run through
_VIEWS_TOGETHER = 256
# Standard deviation of a spot's places, as a part of a detector cell at the isocentre: below the
# first it is steady, above the second there is no telling the spots apart.
_STEADY, _UNSTEADY = 0.02, 0.2


@dataclass(frozen=True)
class _Way:
    """Where a spot's detector measured the rays of a source at rest.

    `view` counts views of the same spot from the ray's own, ``(column,)``; `column` and `row` are
    places on the detector, ``(column,)`` and ``(row, column)``.
    """

    view: Array
    column: Array
    row: Array


def rest_focal_spot(
    sinogram: Tensor, geometry: ConeBeam, shifts: NDArray[np.float64]
) -> tuple[Tensor, ConeBeam]:
    """Rebin views of a flying focal spot to those of a source that turns evenly.

    Within the plane of rotation each ray goes to its equal, found among the views of its own spot.
    Along z it goes to the ray of equal height where it passes the axis; beside that the heights
    differ by the slope, which a spot that jumps by 0.5 mm at 600 mm changes by 0.2 mm at 250 mm.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, row, column)``.
    geometry
        The detector's focus as source: `ConeBeam` or `HelicalBeam`, curved or flat.
    shifts
        From the focus to the spot in each view, ``(view, 3)``: angle in radians (in the sense of
        `geometry`), z and outward in mm. They repeat themselves after one, two or four views.

    Returns
    -------
    Tensor, ConeBeam
        Line integrals of the same shape, and their geometry with the spots' angles.

    Raises
    ------
    ValueError
        Shifts that do not repeat themselves, shapes that do not fit.

    References
    ----------
    M. Kachelriess et al., Med Phys 33, 2435 (2006); T. Flohr et al., Med Phys 32, 2536 (2005).
    """
    views = geometry.shape[0]
    if shifts.shape != (views, 3):
        raise ValueError(f"shifts must be (view, 3) for {views} views, got {shifts.shape}")
    period = _period(shifts, geometry)
    result = torch.empty_like(sinogram)
    angles = geometry.angles.copy()
    for first in range(period):
        mean = shifts[first::period].mean(0)
        angles[first::period] += mean[0]
        own = sinogram[..., first::period, :, :]
        step = _step(geometry.angles[first::period])
        way = _way(geometry, mean, step)
        result[..., first::period, :, :] = _gathered(own, way)
    return result, replace(geometry, angles=angles)


def _period(shifts: Array, geometry: ConeBeam) -> int:
    """Views after which the spot is back, and told if it sways beside that."""
    sizes = np.array([geometry.source_to_isocenter, 1.0, 1.0]) * shifts
    cell = min(geometry.row_spacing, geometry.column_spacing) / geometry.magnification
    left = {}
    for period in (p for p in _PERIODS if p <= len(sizes)):
        parts = [sizes[first::period] for first in range(period)]
        left[period] = max(float(part.std(axis=0).max()) for part in parts) / cell
    best = next((p for p in left if left[p] < _STEADY), min(left, key=lambda p: left[p]))
    if left[best] > _UNSTEADY:
        raise ValueError(
            f"the focal spot's {len(shifts)} shifts do not repeat themselves after "
            f"{', '.join(map(str, left))} views: they vary by {left[best]:.2g} of a detector cell"
        )
    if left[best] > _STEADY:
        warn(
            f"the focal spot sways by {left[best]:.2g} of a detector cell beside its {best} "
            "places: their means are taken"
        )
    return best


def _step(angles: Array) -> float:
    return float(np.median(np.diff(angles))) if len(angles) > 1 else 1.0


def _way(geometry: ConeBeam, shift: Array, step: float) -> _Way:
    turn, climb, outward = shift
    sid, sdd = geometry.source_to_isocenter, geometry.source_to_detector
    fan = geometry.fan_angles
    # The same line in the plane: p = sid sin(fan) of the source at rest, and its direction.
    own_fan = np.arcsin(np.clip(sid * np.sin(fan) / (sid + outward), -1, 1))
    ahead = own_fan - fan  # the spot saw it when it stood so much further
    # Seen from the focus at (0, -sid) with the detector along y.
    x, y = (sid + outward) * np.sin(turn), -(sid + outward) * np.cos(turn)
    along = np.sin(own_fan - turn), np.cos(own_fan - turn)
    if geometry.detector == "curved":
        beside = x * along[0] + (y + sid) * along[1]
        length = -beside + np.sqrt(beside**2 - (x**2 + (y + sid) ** 2) + sdd**2)
        u = sdd * np.arctan2(x + length * along[0], y + sid + length * along[1])
        reach = np.full_like(u, sdd)
    else:
        length = (sdd - sid - y) / along[1]
        u = x + length * along[0]
        reach = np.hypot(sdd, geometry.column_positions)
    pitch = geometry.pitch if isinstance(geometry, HelicalBeam) else 0.0
    rise = pitch / (2 * np.pi) * (turn - ahead) - climb  # of the source at rest over the spot
    slope = geometry.row_positions[:, None] / reach
    height = rise + sid * np.cos(fan) * slope  # of the ray where it passes the axis
    v = climb + height / ((sid + outward) * np.cos(own_fan)) * length
    return _Way(
        ahead / step,
        u / geometry.column_spacing + (geometry.columns - 1) / 2 - geometry.column_offset,
        v / geometry.row_spacing + (geometry.rows - 1) / 2 - geometry.row_offset,
    )


def _gathered(views: Tensor, way: _Way) -> Tensor:
    """Interpolate columns, then rows, then views, a block of views at a time."""
    flat = views.reshape(-1, *views.shape[-3:])
    result = torch.empty_like(flat)
    count = flat.shape[1]
    margin = int(np.ceil(np.abs(way.view).max())) + _TAPS["view"]
    for item in range(len(flat)):
        for first in range(0, count, _VIEWS_TOGETHER):
            last = min(first + _VIEWS_TOGETHER, count)
            low, high = max(first - margin, 0), min(last + margin, count)
            block = _along(flat[item, low:high], way.column[None, None], -1, _TAPS["column"])
            block = _along(block, way.row[None], -2, _TAPS["row"])
            where = np.arange(first, last)[:, None] - low + way.view
            result[item, first:last] = _along(block, where[:, None], 0, _TAPS["view"])
    return result.reshape(views.shape)


def _along(data: Tensor, where: Array, axis: int, taps: int) -> Tensor:
    """Values at places along an axis, by the polynomial through the nearest samples."""
    count = data.shape[axis]
    taps = min(taps, count)
    first = np.clip(np.floor(where).astype(np.int64) - (taps // 2 - 1), 0, count - taps)
    place = np.clip(where, 0, count - 1) - first  # beyond the edge as at the edge
    total: Tensor | None = None
    for tap in range(taps):
        others = [other for other in range(taps) if other != tap]
        weight = np.prod([(place - other) / (tap - other) for other in others], axis=0)
        index = torch.from_numpy(first + tap)
        share = torch.from_numpy(np.asarray(weight)).to(data) * _taken(data, index, axis)
        total = share if total is None else total + share
    assert total is not None
    return total


def _taken(data: Tensor, index: Tensor, axis: int) -> Tensor:
    """Elements along an axis at an index that broadcasts to the other axes."""
    if axis == -1:  # the same columns everywhere
        return data.index_select(-1, index.reshape(-1))
    shape = list(data.shape)
    shape[axis] = index.shape[axis]
    return torch.gather(data, axis, index.expand(shape))
