"""A file cut into slabs of slices, which are reconstructed on their own and put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ...kernels.ct.geometry import VolumeGrid
from ..cluster import Outcome
from ..image import Image
from ..scan import CTScan, MRScan
from .ct_chain import grid_of
from .dispatch import choose
from .files import FileJob, Made, adjusted, axis_is_assumed, finished, opened, reconstructed
from .raw_chain import unit_of
from .registry import find

_SLICES = -3  # axis of images, deviations and samples
_LEAST = 2  # slices of a slab: one alone does not tell how far the next is


def slab(job: FileJob, index: int, count: int) -> Image | None:
    """Reconstruct one of `count` slabs of a file; None where it has too few slices for so many.

    Stacks of slices are read in parts. Cones and helices are read whole and reconstructed on a
    part of their grid.

    Raises
    ------
    ValueError
        A method that looks at more than a slice at a time; all of `files.run`.
    """
    raw, part = opened(job)
    if "slice" in part:
        raise ValueError(f"{job.source}: slabs are cut from all slices, slice= chooses some")
    slices = raw.axes.get("slice", 0)
    if not slices:
        return _slab_of_grid(job, adjusted(job, raw.read(**part)), index, count)
    rows = _rows(slices, index, count)
    if not rows:
        return None
    scan = raw.read(**part, slice=slice(rows.start, rows.stop))
    _require_independent(job, scan, "volume", "series")
    if isinstance(scan, MRScan):
        return reconstructed(job, adjusted(job, scan))
    if isinstance(job.center, str) or (job.center is None and axis_is_assumed(scan)):
        raise ValueError(
            f"{job.source}: slabs must share their axis of rotation: give --center COLUMN "
            "(spinray recon without --slabs finds it)"
        )
    image = reconstructed(job, adjusted(job, scan))
    affine = image.affine.copy()  # a stack of CT stands about the middle of its own slices
    affine[:3, 3] += affine[:3, 2] * (rows.start + (len(rows) - slices) / 2)
    return dataclasses.replace(image, affine=affine)


def joined(job: FileJob, parts: Sequence[Outcome]) -> Made:
    """Put the slabs of a file together, in order, and finish the job.

    Raises
    ------
    Exception
        That of the first slab which failed.
    """
    for part in parts:
        if part.error is not None:
            raise part.error
    slabs: list[Image] = [part.value for part in parts if part.value is not None]
    first = slabs[0]
    rules = [image.metadata.get("convergence", []) for image in slabs]
    metadata = {
        **first.metadata,
        "slabs": len(slabs),
        "seconds": round(sum(image.metadata["seconds"] for image in slabs), 3),
    }
    if any(rules):
        metadata["convergence"] = [one for rule in rules for one in _listed(rule)]
    data = torch.cat([image.data for image in slabs], dim=_SLICES)
    whole = Image(data, first.spacing, first.affine, metadata, *_statistics(slabs))
    return finished(job, whole)


def _slab_of_grid(job: FileJob, scan: MRScan | CTScan, index: int, count: int) -> Image | None:
    _require_independent(job, scan, "voxel")
    assert isinstance(scan, CTScan)
    grid = grid_of(scan, choose(scan)[0] if job.method == "auto" else job.method)
    rows = _rows(grid.shape[0], index, count)
    if not rows:
        return None
    z, y, x = grid.center
    z += (rows.start + (len(rows) - grid.shape[0]) / 2) * grid.spacing[0]
    part = VolumeGrid((len(rows), *grid.shape[1:]), grid.spacing, (z, y, x))
    return reconstructed(job, scan.replace(volume=part))


def _rows(slices: int, index: int, count: int) -> range:
    """Slices of a slab; none of the last slabs where there are too few."""
    count = max(min(count, slices // _LEAST), 1)
    if index >= count:
        return range(0)
    return range(slices * index // count, slices * (index + 1) // count)


def _require_independent(job: FileJob, scan: MRScan | CTScan, *units: str) -> None:
    method = choose(scan)[0] if job.method == "auto" else job.method
    recipe = find(method, scan)
    if unit_of(recipe, job.options) not in units:
        what = "scan without slices" if "voxel" in units else "method"
        raise ValueError(
            f"{job.source}: {method} cannot work by slabs: this {what} or its options need more "
            "than a slice at a time; leave out slabs"
        )


def _listed(rule: Any) -> list[Any]:
    return list(rule) if isinstance(rule, list | tuple) else [rule]


def _statistics(slabs: Sequence[Image]) -> Iterator[Tensor | None]:
    """Deviation and samples, of methods that draw samples."""
    for name in ("deviation", "samples"):
        parts = [part for image in slabs if (part := getattr(image, name)) is not None]
        yield torch.cat(parts, dim=_SLICES) if parts else None
