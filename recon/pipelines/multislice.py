"""Slices that were excited together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import mri
from ..image import Image
from ..operators import Fourier, MultibandSense
from ..scan import MRScan
from ..solvers import conjugate_gradient
from ..solvers.common import Callback
from .mr_volumes import mr_image
from .raw_chain import RawOptions, whitened
from .registry import Track, method, option

# k-space (coil, ky, kx) of one group, its mask (ky, kx) and a callback, to images (slice, y, x)
Separate = Callable[[Tensor, Tensor, Callback], Tensor]


@dataclass(frozen=True)
class MultisliceOptions(RawOptions):
    """Options of `multislice`."""

    algorithm: str = option(
        "sense",
        "coil maps and least squares, or kernels in k-space",
        choices=("sense", "split-slice-grappa"),
    )
    iterations: int = option(30, "sense: conjugate gradient steps")
    regularization: float = option(
        1e-3, "Tikhonov weight, relative to the mean eigenvalue of the normal operator or kernels"
    )
    calibration: int = option(24, "width of the references' k-space centre that is used")


@method("multislice", "mri")
def multislice(scan: MRScan, options: MultisliceOptions, track: Track) -> Image:
    """Simultaneous multislice: SENSE or split-slice GRAPPA with single-slice references.

    ``header["multiband_shifts"]`` says how far along y each slice of a group is shifted, in fields
    of view; ``header["calibration"]`` is the scan of all slices one by one, with the batch axis
    "slice". Of G groups (a last batch axis "slice"), group g holds slices g, g + G, g + 2 G, ...
    """
    shifts = tuple(float(s) for s in scan.header.get("multiband_shifts", ()))
    reference = scan.header.get("calibration")
    if not shifts or reference is None or not scan.is_cartesian or scan.ndim != 2:
        raise ValueError(
            'multislice needs 2D Cartesian k-space with header["multiband_shifts"] and '
            f'header["calibration"], the slices one by one; this is {scan}'
        )
    in_groups = scan.batch_axes[-1:] == ("slice",)
    groups = scan.batch_shape[-1] if in_groups else 1
    if reference.batch_shape != (groups * len(shifts),):
        raise ValueError(
            f"{groups} groups of {len(shifts)} slices (multiband_shifts), but the calibration scan "
            f"has batch {reference.batch_shape}: expected {groups * len(shifts)} slices"
        )
    scan = whitened(scan)
    reference = scan.header["calibration"]
    assert scan.mask is not None
    masks = scan.mask.expand(*scan.batch_shape, *scan.matrix).reshape(-1, *scan.matrix)
    centre = mri.resize(reference.kspace, scan.matrix)
    make = _sense if options.algorithm == "sense" else _split_slices
    separate = [make(centre[group::groups], shifts, options) for group in range(groups)]
    volumes = []
    with track("multislice", options.iterations * math.prod(scan.batch_shape)) as step:
        for number, (kspace, mask) in enumerate(
            zip(scan.kspace.reshape(-1, scan.coils, *scan.matrix), masks, strict=True)
        ):
            volumes.append(separate[number % groups](kspace, mask, step))
    others = scan.batch_shape[:-1] if in_groups else scan.batch_shape
    data = torch.stack(volumes).reshape(*others, groups, len(shifts), *scan.matrix)
    data = data.transpose(-4, -3).flatten(-4, -3)
    placed = reference.replace(
        kspace=centre, mask=None, image_shape=scan.image_shape, batch_axes=("slice",)
    )
    return mr_image(placed, data)


def _sense(reference: Tensor, shifts: Sequence[float], options: MultisliceOptions) -> Separate:
    """By coil maps, made once for all repetitions from ``(slice, coil, ky, kx)``."""
    maps = mri.espirit(reference, calibration=options.calibration)

    def separate(kspace: Tensor, mask: Tensor, step: Callback) -> Tensor:
        return conjugate_gradient(
            MultibandSense(maps, shifts, mask=mask),
            kspace,
            iterations=options.iterations,
            regularization=options.regularization * float(mask.float().mean()),
            callback=step,
        )

    return separate


def _split_slices(
    reference: Tensor, shifts: Sequence[float], options: MultisliceOptions
) -> Separate:
    """By kernels in k-space; lines that are left out are filled in afterwards."""

    def separate(kspace: Tensor, mask: Tensor, step: Callback) -> Tensor:
        lines = mask.any(1).nonzero().flatten()
        steps = set(lines.diff().tolist())
        if len(steps) > 1:
            raise ValueError(
                f"split-slice-grappa needs evenly spaced lines, they are {steps} apart"
            )
        gap = steps.pop() if steps else 1
        slices = mri.split_slice_grappa(
            kspace, reference, shifts, calibration=options.calibration, step=gap,
            regularization=options.regularization,
        )  # fmt: skip
        if gap > 1:
            slices = mri.grappa(slices, mask, reference=reference)
        step(0, slices, 0.0)
        return mri.root_sum_of_squares(Fourier(slices.shape[-2:]).adjoint(slices))

    return separate
