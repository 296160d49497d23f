"""Analytic CT methods: from line integrals to attenuation per mm."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...kernels.ct.geometry import (
    CircularBeam,
    ConeBeam,
    DivergentBeam,
    HelicalBeam,
    ParallelBeam,
)
from ..ct import center_of_rotation
from ..ct import fbp as filtered_backprojection
from ..ct import fdk as feldkamp
from ..ct import wfbp as weighted_backprojection
from ..ct.center import CenterMethod
from ..ct.filters import WINDOWS, mtf50
from ..ct.redundancy import angular_range
from ..image import Image, supine_affine
from ..scan import CTScan
from .ct_chain import ReadingOptions, grid_of
from .registry import Track, method, option

KERNELS = (*WINDOWS, "mtf50=FREQUENCY")
_FILTER = "window of the ramp filter, or the frequency in cycles/mm that is halved"
_CUTOFF = "where the window ends, as a part of the Nyquist frequency"


@dataclass(frozen=True)
class FbpOptions(ReadingOptions):
    """Options of `fbp`."""

    filter: str = option("ram-lak", _FILTER, choices=KERNELS)
    cutoff: float = option(1.0, _CUTOFF)


@method("fbp", "ct", unit="volume")
def fbp(scan: CTScan, options: FbpOptions, track: Track) -> Image:
    """Filtered back projection of parallel and fan beams."""
    data = filtered_backprojection(
        scan.sinogram, scan.geometry, scan.grid, filter=options.filter, cutoff=options.cutoff
    )
    return ct_image(scan, data, options.filter, options.cutoff)


@dataclass(frozen=True)
class FdkOptions(ReadingOptions):
    """Options of `fdk`."""

    filter: str = option("ram-lak", _FILTER, choices=KERNELS)
    cutoff: float = option(1.0, _CUTOFF)


@method("fdk", "ct", unit="voxel")
def fdk(scan: CTScan, options: FdkOptions, track: Track) -> Image:
    """Feldkamp, Davis and Kress: filtered back projection of circular cone beams."""
    data = feldkamp(
        scan.sinogram, scan.geometry, scan.grid, filter=options.filter, cutoff=options.cutoff
    )
    return ct_image(scan, data, options.filter, options.cutoff)


@dataclass(frozen=True)
class WfbpOptions(ReadingOptions):
    """Options of `wfbp`."""

    filter: str = option("ram-lak", _FILTER, choices=KERNELS)
    cutoff: float = option(1.0, _CUTOFF)


@method("wfbp", "ct", unit="voxel")
def wfbp(scan: CTScan, options: WfbpOptions, track: Track) -> Image:
    """Weighted filtered back projection of helical scans, rebinned to parallel views."""
    scan = scan.replace(volume=grid_of(scan, "wfbp"))
    data = weighted_backprojection(
        scan.sinogram, scan.geometry, scan.grid, filter=options.filter, cutoff=options.cutoff
    )
    return ct_image(scan, data, options.filter, options.cutoff)


def centred(
    scan: CTScan, column: float | None = None, *, method: CenterMethod = "correlation"
) -> CTScan:
    """Put the axis of rotation of a parallel beam on a detector column.

    Parameters
    ----------
    scan
        A parallel-beam scan.
    column
        Where the axis falls, counted from 0. Default: found by `spinray.ct.center_of_rotation`.
    method
        By which of its ways.

    Raises
    ------
    ValueError
        Another geometry, a column off the detector, or angles that do not cover 180 degrees.
    """
    geometry = scan.geometry
    if not isinstance(geometry, ParallelBeam):
        raise ValueError(f"the axis of rotation can be set for parallel beams, this is {geometry}")
    if column is None:
        column = center_of_rotation(scan.sinogram, geometry.angles, method)
    if not 0 <= column <= geometry.columns - 1:
        raise ValueError(f"the axis at column {column} is off the {geometry.columns} columns")
    offset = (geometry.columns - 1) / 2 - column
    return scan.replace(
        geometry=dataclasses.replace(geometry, column_offset=offset),
        header={**scan.header, "rotation_axis": f"column {column:.2f}"},
    )


def covers_every_ray(geometry: CircularBeam) -> bool:
    """Whether the views suffice for an analytic method."""
    covered, needed = angular_range(geometry)
    return covered >= needed


def ct_image(scan: CTScan, data: Tensor, kernel: str | None = None, cutoff: float = 1.0) -> Image:
    """Give the grid its place in space; a single batch axis is a stack of slices.

    The kernel of an analytic method is kept with the frequency of which it keeps a half.
    """
    grid = scan.grid
    spacing, shape = tuple(grid.spacing), tuple(grid.shape)
    if len(shape) == 2 and len(scan.batch_shape) == 1:
        spacing, shape = (scan.slice_spacing, *spacing), (data.shape[0], *shape)
    metadata: dict[str, Any] = {}
    if kernel is not None:
        metadata = {"kernel": kernel, "mtf50_per_mm": round(_mtf50(scan, kernel, cutoff), 4)}
    return Image(data, spacing, supine_affine(shape, spacing, grid.center, scan.affine), metadata)


def _mtf50(scan: CTScan, kernel: str, cutoff: float) -> float:
    geometry = scan.geometry
    assert isinstance(geometry, CircularBeam)
    spacing = geometry.column_spacing
    if isinstance(geometry, DivergentBeam):
        spacing /= geometry.magnification
    circular_cone = isinstance(geometry, ConeBeam) and not isinstance(geometry, HelicalBeam)
    return mtf50(kernel, spacing, cutoff=cutoff, midpoints=not circular_cone)
