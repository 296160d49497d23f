"""A scan volume by volume: slices, repetitions, ... taken apart, and their images put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from ..image import Image, centred_affine
from ..mri import resize
from ..scan import MRScan
from ..solvers import Convergence
from .mr_encoding import Samples, samples_of
from .registry import Track

Solve = Callable[[MRScan, Samples | None, Convergence], Tensor]


def each_volume(scan: MRScan, solve: Solve, track: Track, label: str, steps: int) -> Image:
    """Solve every item of the batch on its own and put the results back in order."""
    volumes, records, trajectory, sampling = [], [], None, None
    with track(label, steps * math.prod(scan.batch_shape)) as step:
        for volume in _volumes(scan):
            if volume.trajectory is not trajectory or "field_map" in volume.header:
                trajectory, sampling = volume.trajectory, samples_of(volume)
            records.append(Convergence(step))
            volumes.append(solve(volume, sampling, records[-1]))
    data = torch.stack(volumes).reshape(*scan.batch_shape, *volumes[0].shape)
    return mr_image(scan, data, records)


def _volumes(scan: MRScan) -> Iterator[MRScan]:
    for index in product(*map(range, scan.batch_shape)):
        volume = part(scan, index)
        if (reference := scan.header.get("calibration")) is not None:
            # A calibration scan has no repetitions, say, but slices as the scan itself has them.
            place = dict(zip(scan.batch_axes, index, strict=False))
            sizes = zip(reference.batch_axes, reference.batch_shape, strict=False)
            own = tuple(min(place.get(axis, 0), size - 1) for axis, size in sizes)
            header = {**volume.header, "calibration": part(reference, own)}
            volume = volume.replace(header=header)
        yield volume


def part(scan: MRScan, place: tuple[int | slice, ...], batch_axes: tuple[str, ...] = ()) -> MRScan:
    """The items of the batch at `place`, whose axes that stay are then called `batch_axes`."""
    mask, trajectory = scan.mask, scan.trajectory
    if mask is not None:
        mask = mask.expand(*scan.batch_shape, *scan.matrix)[place]
    if trajectory is not None and trajectory.ndim > 2:
        trajectory = trajectory[place]
    header = dict(scan.header)
    field_map = header.get("field_map")
    if field_map is not None and field_map.ndim > scan.ndim:
        header["field_map"] = field_map[place]
    return scan.replace(
        kspace=scan.kspace[place], mask=mask, trajectory=trajectory, batch_axes=batch_axes,
        header=header,
    )  # fmt: skip


def mr_image(scan: MRScan, data: Tensor, records: Sequence[Convergence] = ()) -> Image:
    """Crop the encoded matrix to the image, give it its place in space and say how it converged."""
    data = resize(data, scan.image_shape)
    slices = bool(scan.batch_axes) and scan.batch_axes[-1] == "slice"
    spacing = scan.spacing if slices else scan.spacing[-scan.ndim :]
    affine = scan.affine
    if affine is None:  # as in k-space, voxel n // 2 is the middle
        affine = centred_affine(tuple(data.shape[-len(spacing) :]), spacing)
        for axis, n in enumerate(reversed(scan.image_shape)):
            affine[axis, 3] -= affine[axis, axis] * (n // 2 - (n - 1) / 2)
    figures = [record.summary() for record in records]
    metadata = {"convergence": figures[0] if len(figures) == 1 else figures} if any(figures) else {}
    return Image(data, spacing, affine, metadata)
