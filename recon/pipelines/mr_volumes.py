"""A scan volume by volume: slices, repetitions, ... taken apart, and their images put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from ...kernels.warn import warn
from ..image import Image, centred_affine
from ..mri import resize
from ..scan import MRScan
from ..solvers import Convergence
from .mr_encoding import Samples, samples_of
from .registry import Track

Solve = Callable[[MRScan, Samples | None, Convergence], Tensor]


def each_volume(scan: MRScan, solve: Solve, track: Track, label: str, steps: int) -> Image:
    """Solve every item of the batch on its own and put the results back in order.

    Items without a sample that is not zero, as of a scan that was stopped, become zeros.
    """
    places = list(product(*map(range, scan.batch_shape)))
    nonzero = scan.kspace.any(tuple(range(len(scan.batch_shape), scan.kspace.ndim))).cpu()
    measured = [place for place in places if nonzero[place]]
    if missing := [place for place in places if not nonzero[place]]:
        warn(f"{_names(scan, missing)}: k-space is zero, and so is the image")
    volumes, records, trajectory, sampling = {}, [], None, None
    with track(label, steps * len(measured)) as step:
        for place in measured:
            volume = part(scan, place)
            if volume.trajectory is not trajectory or "field_map" in volume.header:
                trajectory, sampling = volume.trajectory, samples_of(volume)
            records.append(Convergence(step))
            volumes[place] = solve(volume, sampling, records[-1])
    empty = torch.zeros_like(volumes[measured[0]])
    data = torch.stack([volumes.get(place, empty) for place in places])
    return mr_image(scan, data.reshape(*scan.batch_shape, *empty.shape), records)


def _names(scan: MRScan, places: Sequence[tuple[int, ...]]) -> str:
    """Of items of the batch: slice 3 of repetition 0."""
    axes = scan.batch_axes or ("item",) * len(scan.batch_shape)
    return ", ".join(
        " of ".join(f"{axis} {i}" for axis, i in zip(axes[::-1], place[::-1], strict=True))
        for place in places
    )


def part(scan: MRScan, place: tuple[int | slice, ...], batch_axes: tuple[str, ...] = ()) -> MRScan:
    """The items of the batch at `place`, whose axes that stay are then called `batch_axes`.

    The calibration scan in the header becomes the one volume that belongs to them.
    """
    mask, trajectory = scan.mask, scan.trajectory
    if mask is not None:
        mask = mask.expand(*scan.batch_shape, *scan.matrix)[place]
    if trajectory is not None and trajectory.ndim > 2:
        trajectory = trajectory[place]
    header = dict(scan.header)
    field_map = header.get("field_map")
    if field_map is not None and field_map.ndim > scan.ndim:
        header["field_map"] = field_map[place]
    if (reference := header.get("calibration")) is not None:
        header["calibration"] = _calibration_of(scan, reference, place)
    return scan.replace(
        kspace=scan.kspace[place], mask=mask, trajectory=trajectory, batch_axes=batch_axes,
        header=header,
    )  # fmt: skip


def _calibration_of(scan: MRScan, reference: MRScan, place: tuple[int | slice, ...]) -> MRScan:
    """The volume of a calibration scan, which has no repetitions, say, but slices as the scan has.

    Axes without names are the scan's last ones.
    """
    count = len(reference.batch_shape)
    names = scan.batch_axes or tuple(map(str, range(len(scan.batch_shape))))
    own = reference.batch_axes or ("",) * (count - len(names)) + names[len(names) - count :]
    where = {name: i for name, i in zip(names, place, strict=False) if isinstance(i, int)}
    sizes = zip(own, reference.batch_shape, strict=True)
    return part(reference, tuple(min(where.get(name, 0), size - 1) for name, size in sizes))


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
