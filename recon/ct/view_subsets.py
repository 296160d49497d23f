"""Ordered subsets of the views of a scan."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.ct.geometry import Geometry
from ..operators import LinearOperator, XRayTransform
from ..solvers.subsets import Subsets, spread_order, whole

MOST = 24  # subsets: more gain nothing, as each has the cost of a regulariser
ANGULAR = 12  # a subset has at least a view of each turn for so many pixels across the image


def ordered_views(A: LinearOperator, count: int | None = None) -> Subsets:
    """Every count-th view, from each of the first `count`, as operators that are built once.

    Parameters
    ----------
    A
        An `XRayTransform`; another operator is its own only subset.
    count
        Subsets, 1 to the number of views. Default: up to 24, as long as each has enough views to
        stand for all of them.

    Raises
    ------
    ValueError
        More subsets than views, or of an operator without views.

    References
    ----------
    H. M. Hudson, R. S. Larkin, IEEE Trans Med Imaging 13, 601 (1994).
    """
    if not isinstance(A, XRayTransform):
        if count not in (None, 1):
            raise ValueError(f"{type(A).__name__} has no views to take {count} subsets of")
        return whole(A)
    views = len(A.geometry)
    if count is None:
        count = _enough(A.geometry, max(A.volume.shape[-2:]))
    if not 1 <= count <= views:
        raise ValueError(f"subsets must be 1 to the number of views, {views}, got {count}")
    if count == 1:
        return whole(A)
    order = spread_order(count)
    rest = (slice(None),) * (len(A.range_shape) - 1)
    return Subsets(
        [A.views(slice(first, None, count)) for first in order],
        [(slice(first, None, count), *rest) for first in order],
        A.range_shape,
    )


def _enough(geometry: Geometry, pixels: int) -> int:
    angles = geometry.angles  # type: ignore[attr-defined]  # all geometries have them
    turns = max(float(np.ptp(angles)) / (2 * math.pi), 1.0)
    least = max(math.ceil(pixels / ANGULAR), 1)
    return max(min(MOST, int(len(geometry) / turns / least)), 1)
