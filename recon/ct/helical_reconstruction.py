"""Reconstruction of helical scans by rebinning to parallel views."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.arrays import like, to_numpy
from ...kernels.ct.base import checked_bytes
from ...kernels.ct.geometry import Geometry, HelicalBeam, VolumeGrid
from ...kernels.ct.helical import HelixSums, padded_rows
from ...kernels.ct.rebinning import to_parallel
from ...kernels.warn import warn
from .analytic import MEMORY, checked_sinogram, require_beam, warn_of_truncation
from .filters import Filter, filter_views, filtering_memory
from .helix import Array, ParallelViews, covered_heights, plan_helix, ray_distances


def wfbp(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid | None = None,
    *,
    filter: Filter = "ram-lak",  # noqa: A002
    cutoff: float = 1.0,
    memory_limit: int = MEMORY,
) -> Tensor:
    """Weighted filtered back projection of helical scans (Stierstorfer et al., 2004).

    Fan views are rebinned to parallel views, which are filtered along the detector's rows and back
    projected along the measured rays. A voxel that is seen at an angle in several half turns gets
    their mean, weighted with cos^2 towards the first and last rows: every ray counts at any pitch.
    K. Stierstorfer et al., Weighted FBP, Phys. Med. Biol. 49 (2004) 2209.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, row, column)``; from a GPU they go through the CPU.
    geometry
        `HelicalBeam`, curved or flat, with views at any angles, uneven ones interpolated linearly.
    volume
        Grid of the image. Default: the field of view, over the heights that the helix covers.
        Voxels that are not seen from 180° (beyond the field of view, before and after the helix)
        are zero, with a warning where whole slices lack some.
    filter, cutoff
        As `fbp`.
    memory_limit
        Bytes to use beside sinogram and volume; a scan whose angles do not grow is copied once
        more. Default: 256 MiB.

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
    require_beam("wfbp", geometry)
    assert isinstance(geometry, HelicalBeam)
    sinogram = checked_sinogram(sinogram, geometry)
    home, sinogram = sinogram.device, sinogram.cpu()
    warn_of_truncation(sinogram, geometry)
    views, grid = plan_helix(geometry, volume)
    _warn_of_uncovered(grid, covered_heights(geometry, views))
    order = np.argsort(geometry.angles, kind="stable")
    array = to_numpy("sinogram", sinogram)
    if not np.array_equal(order, np.arange(len(order))):
        geometry, array = geometry[order], array[..., order, :, :]
    stack = array.reshape(-1, *geometry.shape)
    result = np.zeros((len(stack), *grid.shape), array.dtype)
    for item, volume_of_it in zip(stack, result, strict=True):
        _reconstruct(volume_of_it, item, geometry, views, filter, cutoff, grid, memory_limit)
    volumes: Tensor = like(result.reshape(*array.shape[:-3], *grid.shape), sinogram)
    return volumes.to(home)


def _reconstruct(
    volume: Array,
    sinogram: Array,
    geometry: HelicalBeam,
    views: ParallelViews,
    name: Filter,
    cutoff: float,
    grid: VolumeGrid,
    memory_limit: int,
) -> None:
    """Fill a volume of zeros by blocks of angles, each with its views of all half turns."""
    fine = np.linspace(views.positions[0], views.positions[-1], 2 * len(views.positions) - 1)
    fan, along, distance = ray_distances(geometry, fine)
    climb = geometry.pitch / (2 * np.pi)
    sums = HelixSums(
        volume,
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
    )
    columns = _columns_of(geometry, fan[::2])
    spacing = float(views.positions[1] - views.positions[0])

    def filtered(targets: Array) -> Array:
        rebinned = to_parallel(
            sinogram, geometry.angles, targets, geometry.fan_angles, columns, 1 / geometry.slopes,
            views.taps,
        )  # fmt: skip
        lines = torch.from_numpy(rebinned)
        return filter_views(lines, spacing, name, cutoff=cutoff, midpoints=True).numpy()

    def block(angles: NDArray[Any], counts: NDArray[Any]) -> Array:
        """Filtered views, ``(angle, half turn, position, row)``."""
        shape = len(angles), counts.max(), len(fine), padded_rows(geometry.rows)
        result = np.zeros(shape, sinogram.dtype)
        for half in range(counts.max()):
            targets = views.angles[angles[counts > half] + half * views.half_turn]
            part = result[: len(targets), half, :, : geometry.rows]
            part[:] = filtered(targets).transpose(0, 2, 1)
        return result

    step = _angles_together(geometry, views, sinogram.itemsize, memory_limit, volume.shape)
    for first in range(0, views.half_turn, step):
        angles = np.arange(first, min(first + step, views.half_turn))
        counts = (len(views.angles) - 1 - angles) // views.half_turn + 1
        first_turn = views.angles[angles]
        sums.add(block(angles, counts), first_turn, climb * first_turn, counts)
    sums.finish(np.pi / views.half_turn)


def _angles_together(
    geometry: HelicalBeam,
    views: ParallelViews,
    itemsize: int,
    memory_limit: int,
    shape: tuple[int, ...],
) -> int:
    """Angles of the half turn whose views fit into a memory limit together."""
    positions, halves = len(views.positions), -(-len(views.angles) // views.half_turn)
    angle = 2 * itemsize * positions * padded_rows(geometry.rows) * halves
    angle += geometry.rows * filtering_memory(positions, itemsize, midpoints=True)
    fixed = HelixSums.memory(shape, itemsize)
    together = (checked_bytes(memory_limit) - fixed) // angle
    if together < 1:
        raise ValueError(
            f"memory_limit {memory_limit} bytes is below what one angle of the half turn takes, "
            f"{fixed + angle} bytes"
        )
    return int(together)


def _columns_of(geometry: HelicalBeam, fan: Array) -> Array:
    """Columns, counted from 0 and in fractions, that see the rays at fan angles."""
    u = fan if geometry.detector == "curved" else np.tan(fan)
    middle = (geometry.columns - 1) / 2 - geometry.column_offset
    return np.asarray(u * geometry.source_to_detector / geometry.column_spacing + middle)


def _warn_of_uncovered(grid: VolumeGrid, covered: tuple[float, float]) -> None:
    z, (low, high) = grid.positions(0), covered
    beyond = int(np.count_nonzero((z < low - 1e-6) | (z > high + 1e-6)))
    if beyond:
        warn(
            f"the helix covers z from {low:.1f} to {high:.1f} mm: in {beyond} of the volume's "
            f"{len(z)} slices, which run from {z[0]:.1f} to {z[-1]:.1f} mm, voxels that are not "
            "seen from 180° are zero"
        )
