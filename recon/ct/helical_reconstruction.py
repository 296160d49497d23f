"""Reconstruction of helical scans by rebinning to parallel views."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from ...kernels.arrays import like
from ...kernels.ct.geometry import Geometry, HelicalBeam, VolumeGrid
from ...kernels.ct.helical import HelixSums
from ...kernels.ct.projector import checked
from ...kernels.ct.rebinning import to_parallel
from .filtered_backprojection import checked_sinogram, warn_of_truncation
from .filters import Filter, filter_views
from .helix import Array, ParallelViews, covered_heights, plan_helix, ray_distances

BLOCK = 1 << 28  # bytes of parallel views that are held at a time


def wfbp(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid | None = None,
    *,
    filter: Filter = "ram-lak",  # noqa: A002
    cutoff: float = 1.0,
) -> Tensor:
    """Weighted filtered back projection of helical scans (Stierstorfer et al., 2004).

    Fan views are rebinned to parallel views, which are filtered along the detector's rows and back
    projected along the measured rays. A voxel that is seen at an angle in several half turns gets
    their mean, weighted with cos^2 towards the first and last rows: every ray counts at any pitch.
    K. Stierstorfer et al., Weighted FBP, Phys. Med. Biol. 49 (2004) 2209.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, row, column)``.
    geometry
        `HelicalBeam`, curved or flat, with views at any angles, uneven ones interpolated linearly.
    volume
        Grid of the image. Default: the field of view, over the heights that the helix covers.
        Voxels that are not seen from 180° (beyond the field of view, before and after the helix)
        are zero, with a warning where whole slices lack some.
    filter, cutoff
        As `fbp`.

    Returns
    -------
    Tensor
        Volumes ``(*batch, z, y, x)`` in 1/mm.

    Raises
    ------
    TypeError
        Another geometry, a sinogram that is not real floating point.
    ValueError
        Shapes that do not fit, NaN, an unknown filter, a pitch that leaves gaps, too few turns,
        missing views, a detector shifted to one side.
    """
    if not isinstance(geometry, HelicalBeam):
        raise TypeError(f"wfbp takes a HelicalBeam, got {geometry}: see fbp and fdk for circles")
    sinogram = checked_sinogram(sinogram, geometry)
    if sinogram.is_cuda:
        raise TypeError("wfbp runs on the CPU only: give sinogram.cpu()")
    warn_of_truncation(sinogram, geometry)
    order = np.argsort(geometry.angles, kind="stable")
    array = checked("sinogram", sinogram, geometry.shape)
    if not np.array_equal(order, np.arange(len(order))):
        geometry, array = geometry[order], array[..., order, :, :]
    views, grid = plan_helix(geometry, volume)
    _warn_of_uncovered(grid, covered_heights(geometry, views))
    batch = array.shape[:-3]
    stack = array.reshape(-1, *geometry.shape)
    result = np.empty((len(stack), *grid.shape), array.dtype)
    for i, one in enumerate(stack):
        result[i] = _reconstruct(one, geometry, views, grid, filter, cutoff)
    volumes: Tensor = like(result.reshape(*batch, *grid.shape), sinogram)
    return volumes


def _reconstruct(
    sinogram: Array,
    geometry: HelicalBeam,
    views: ParallelViews,
    grid: VolumeGrid,
    name: Filter,
    cutoff: float,
) -> Array:
    fine = np.linspace(views.positions[0], views.positions[-1], 2 * len(views.positions) - 1)
    fan, along, distance = ray_distances(geometry, fine)
    climb = geometry.pitch / (2 * np.pi)
    sums = HelixSums(
        grid.positions(2),
        grid.positions(1),
        grid.positions(0),
        radius=views.radius,
        positions=fine,
        shift=climb * fan,
        along=along,
        reach=distance / geometry.row_spacing,
        middle=(geometry.rows - 1) / 2 - geometry.row_offset,
        rows=geometry.rows,
        rise=climb * np.pi,
        dtype=sinogram.dtype,
    )
    columns = _columns_of(geometry, fan[::2])
    spacing = float(views.positions[1] - views.positions[0])
    turns = -(-len(views.angles) // views.half_turn)
    step = max(BLOCK // (sinogram.itemsize * turns * geometry.rows * len(fine)), 1)
    for first in range(0, views.half_turn, step):
        angles = np.arange(first, min(first + step, views.half_turn))
        counts = (len(views.angles) - 1 - angles) // views.half_turn + 1
        block = np.zeros((len(angles), turns, len(fine), geometry.rows), sinogram.dtype)
        for turn in range(turns):
            present = angles[counts > turn]
            rebinned = to_parallel(
                sinogram,
                geometry.angles,
                views.angles[present + turn * views.half_turn],
                geometry.fan_angles,
                columns,
                1 / geometry.slopes,
                views.taps,
            )
            filtered = filter_views(
                torch.from_numpy(rebinned), spacing, name, cutoff=cutoff, midpoints=True
            )
            block[: len(present), turn] = filtered.numpy().transpose(0, 2, 1)
        sums.add(block, views.angles[angles], climb * views.angles[angles], counts)
    volume = sums.volume()
    volume *= np.pi / views.half_turn
    return volume


def _columns_of(geometry: HelicalBeam, fan: Array) -> Array:
    """Columns, counted from 0 and in fractions, that see the rays at fan angles."""
    u = fan if geometry.detector == "curved" else np.tan(fan)
    middle = (geometry.columns - 1) / 2 - geometry.column_offset
    return np.asarray(u * geometry.source_to_detector / geometry.column_spacing + middle)


def _warn_of_uncovered(grid: VolumeGrid, covered: tuple[float, float]) -> None:
    z, (low, high) = grid.positions(0), covered
    beyond = int(np.count_nonzero((z < low - 1e-6) | (z > high + 1e-6)))
    if beyond:
        warnings.warn(
            f"the helix covers z from {low:.1f} to {high:.1f} mm: in {beyond} of the volume's "
            f"{len(z)} slices, which run from {z[0]:.1f} to {z[-1]:.1f} mm, voxels that are not "
            "seen from 180° are zero",
            stacklevel=3,
        )
