"""What `fbp` and `fdk` share: weights, the filter, and back projection in blocks of views."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ...kernels.arrays import require_no_gradient
from ...kernels.ct.backprojection import BackProjection
from ...kernels.ct.base import checked_bytes
from ...kernels.ct.geometry import (
    CircularBeam,
    ConeBeam,
    DivergentBeam,
    FanBeam,
    Geometry,
    HelicalBeam,
    ParallelBeam,
    VolumeGrid,
)
from ...kernels.warn import warn
from ..arrays import as_tensor, require_finite
from ..operators import XRayTransform
from .filters import Filter, filter_views, filtering_memory
from .redundancy import Array, is_offset, is_wide, turns_fully, view_weights

MEMORY = 1 << 28  # bytes beside sinogram and image: more views at a time are no faster

Beam = TypeVar("Beam", bound=CircularBeam)


def reconstruct(
    sinogram: Tensor,
    geometry: CircularBeam,
    volume: VolumeGrid | None,
    name: Filter,
    cutoff: float,
    memory_limit: int,
) -> Tensor:
    """Weigh, filter and back project ``(*batch, view, [row,] column)``; see `fbp` and `fdk`."""
    sinogram = checked_sinogram(sinogram, geometry)
    warn_of_truncation(sinogram, geometry)
    grid = volume or geometry.default_volume()
    shares, planar = view_weights(geometry), geometry.ndim == 2
    wide, padding = _widened(geometry)
    fine = with_midpoints(wide) if planar else wide
    spacing, arc, *factors = column_factors(geometry, fine)
    before, after = (torch.from_numpy(factor).to(sinogram) for factor in factors)
    sums = BackProjection(fine, grid)
    stack = sinogram.reshape(-1, *geometry.shape)
    images = stack.new_zeros((len(stack), *grid.shape))

    def filtered(items: slice, views: slice) -> Tensor:
        share = torch.from_numpy(shares(views)).to(sinogram)
        block = stack[items, views] * (share if planar else share[:, None])
        block = torch.nn.functional.pad(block.mul_(before), padding)
        result = filter_views(block, spacing, name, arc=arc, cutoff=cutoff, midpoints=planar)
        return result.mul_(after)

    for items, views in _blocks(len(stack), wide, sums, sinogram.element_size(), memory_limit):
        sums.add(images[items], filtered(items, views), views.start)
    return images.reshape(*sinogram.shape[: -geometry.ndim], *grid.shape)


def _blocks(
    count: int, geometry: CircularBeam, sums: BackProjection, itemsize: int, memory_limit: int
) -> Iterator[tuple[slice, slice]]:
    """Items of the batch and views that go together within a memory limit."""
    planar, views = geometry.ndim == 2, len(geometry)
    lines = 1 if planar else geometry.shape[1]
    idle = sums.memory(0, itemsize)
    a_view = lines * filtering_memory(geometry.columns, itemsize, midpoints=planar)
    a_view += sums.memory(1, itemsize) - idle
    together = (checked_bytes(memory_limit) - idle) // a_view
    if together < 1:
        raise ValueError(
            f"memory_limit {memory_limit} bytes is below what one view takes, {idle + a_view} bytes"
        )
    items = max(together // views, 1) if planar else 1
    for item in range(0, count, items):
        for view in range(0, views, together):
            yield slice(item, item + items), slice(view, view + together)


def with_midpoints(geometry: Beam) -> Beam:
    """The detector with a column halfway between any two."""
    changes: dict[str, float] = {
        "columns": 2 * geometry.columns - 1,
        "column_spacing": geometry.column_spacing / 2,
        "column_offset": 2 * geometry.column_offset,
    }
    return dataclasses.replace(geometry, **changes)


def checked_sinogram(sinogram: Tensor, geometry: CircularBeam) -> Tensor:
    """The sinogram as a real tensor whose last axes are the geometry's, or an error."""
    sinogram = as_tensor(sinogram)
    if sinogram.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"sinogram must be float32 or float64, got {sinogram.dtype}")
    require_no_gradient("sinogram", sinogram)
    shape = geometry.shape
    if tuple(sinogram.shape[-len(shape) :]) != shape or not sinogram.numel():
        axes = "view, column" if len(shape) == 2 else "view, row, column"
        raise ValueError(
            f"sinogram has shape {tuple(sinogram.shape)}, expected (*batch, {axes}) with {shape}"
        )
    require_finite("sinogram", sinogram)
    return sinogram


def _widened(geometry: Beam) -> tuple[Beam, tuple[int, int]]:
    """An offset detector with columns on its short side, and how many: on the left, on the right.

    Filtered views have tails there.
    """
    if not is_offset(geometry):
        return geometry, (0, 0)
    extra = int(2 * abs(geometry.column_offset))
    left = geometry.column_offset > 0
    changes: dict[str, float] = {
        "columns": geometry.columns + extra,
        "column_offset": geometry.column_offset - (extra if left else -extra) / 2,
    }
    return dataclasses.replace(geometry, **changes), (extra, 0) if left else (0, extra)


TAKERS = {"fbp": (ParallelBeam, FanBeam), "wfbp": (HelicalBeam,), "fdk": (ConeBeam,)}


def require_beam(method: str, geometry: Geometry) -> None:
    """Raise a `TypeError` that names the right method, unless this one takes the geometry."""
    found = [name for name, kinds in TAKERS.items() if isinstance(geometry, kinds)][:1]
    if found == [method]:
        return
    takes = " or ".join(f"a {kind.__name__}" for kind in TAKERS[method])
    got = type(geometry).__name__
    other = found[0] if found else "sirt or tv" if isinstance(geometry, Geometry) else ""
    hint = f": {other} takes it" if other else ""
    raise TypeError(f"{method} takes {takes}, got a {got}{hint}")


def column_factors(geometry: CircularBeam, fine: CircularBeam) -> tuple[float, float, Array, Array]:
    """Sample spacing in mm, arc step, and the columns' factors before and after the filter.

    The factors after it are those of the columns of `fine`. `backproject` divides by the squared
    distance from the source to the pixel: they hold the rest of the inversion formula.
    """
    if not isinstance(geometry, DivergentBeam) or not isinstance(fine, DivergentBeam):
        return geometry.column_spacing, 0.0, np.ones(()), np.ones(())
    before = np.cos(geometry.fan_angles)
    if isinstance(geometry, ConeBeam):
        before = before / geometry.slopes
    spacing = geometry.column_spacing / geometry.magnification
    after = np.full(fine.columns, geometry.source_to_isocenter**2)
    if geometry.detector == "curved":
        return spacing, geometry.column_spacing / geometry.source_to_detector, before, after
    return spacing, 0.0, before, after / np.cos(fine.fan_angles) ** 2


def _beyond(integrals: Tensor) -> float:
    """By what line integrals that should be zero leave it to one side, not by noise to both."""
    ordered = integrals.flatten().sort().values
    few = len(ordered) // 100
    low, high = float(ordered[few]), float(ordered[-1 - few])
    return max(high + min(low, 0.0), -low - max(high, 0.0))


def warn_of_truncation(sinogram: Tensor, geometry: CircularBeam) -> None:
    """Warn if the object reaches beyond the detector: edge columns above 5 % of the maximum.

    In one reading of a hundred at least, and more than noise about zero does.

    Raises
    ------
    ValueError
        It does, and the detector is shifted to one side over less than a full turn.
    """
    position = geometry.column_positions
    shifted = is_offset(geometry) and turns_fully(geometry)
    edge = [_beyond(sinogram[..., column]) for column in (0, -1)]
    peak = _peak(sinogram)
    for value, where in zip(edge, position[[0, -1]], strict=True):
        short = shifted and abs(where) < np.abs(position).max()
        if value > 0.05 * peak and is_wide(geometry) and not turns_fully(geometry):
            raise ValueError(
                f"the object reaches beyond the detector's edge at {where:.1f} mm: a detector "
                "shifted to one side needs a full turn"
            )
        if value > 0.05 * peak and not short:
            warn(
                f"the object reaches beyond the detector's edge at {where:.1f} mm (line integrals "
                f"of {value:.3g} there): expect a bright rim and a shifted mean"
            )


def warn_of_cut(sinogram: Tensor, A: XRayTransform) -> None:
    """Warn if rays that pass beside the volume are attenuated: by 5 % of the maximum.

    Analytic methods reconstruct a part of an object as well as all of it; iterative ones must
    explain every ray.
    """
    missed = A(torch.ones(A.domain_shape, dtype=sinogram.dtype, device=sinogram.device)) == 0
    if not bool(missed.any()):
        return
    value = _beyond(sinogram[..., missed])
    if value > 0.05 * _peak(sinogram):
        size = " x ".join(f"{extent:g}" for extent in A.volume.extent)
        warn(
            f"the object reaches beyond the volume of {size} mm: rays that pass beside it have "
            f"line integrals of {value:.3g}. Iterative methods put what lies outside into the "
            "volume: expect bright rims, and take a larger one"
        )


def _peak(sinogram: Tensor) -> float:
    return max(float(sinogram.max()), -float(sinogram.min()))
