"""MR methods: from k-space to an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..image import Image
from ..mri import (
    centre_crop,
    density_compensation,
    espirit,
    gridding as grid_coils,
    root_sum_of_squares,
    wavelet_sense,
    whiten,
)
from ..operators import Fourier, Sense
from ..scan import MRScan
from ..solvers import conjugate_gradient
from .registry import Step, Track, method, option


@dataclass(frozen=True)
class RssOptions:
    """`rss` has no options."""


@method("rss", "mri")
def rss(scan: MRScan, options: RssOptions, track: Track) -> Image:
    """Root sum of squares of the coil images; missing k-space samples are left zero."""
    if not scan.is_cartesian:
        raise ValueError(f"rss needs Cartesian k-space, this is {scan.trajectory_kind}: try gridding")
    return _image(scan, root_sum_of_squares(Fourier(scan.matrix).adjoint(scan.kspace), scan.ndim))


@dataclass(frozen=True)
class GriddingOptions:
    """`gridding` has no options."""


@method("gridding", "mri")
def gridding(scan: MRScan, options: GriddingOptions, track: Track) -> Image:
    """Density-compensated adjoint NUFFT of every coil, root sum of squares."""
    _require_trajectory(scan, "gridding", "rss")
    return _each_volume(scan, lambda one: root_sum_of_squares(_coil_images(one), one.ndim))


@dataclass(frozen=True)
class SenseOptions:
    """Options of `sense`."""

    iterations: int = option(30, "conjugate gradient steps")
    regularization: float = option(
        1e-3, "Tikhonov weight, as a fraction of the largest eigenvalue of the encoding"
    )
    calibration: int = option(24, "width of the k-space centre that the coil maps are made from")


@method("sense", "mri")
def sense(scan: MRScan, options: SenseOptions, track: Track) -> Image:
    """Iterative SENSE with ESPIRiT maps: least squares by conjugate gradient, any sampling."""
    scan = _whitened(scan)
    with track("sense", options.iterations * _volumes(scan)) as step:

        def solve(one: MRScan) -> Tensor:
            A = _encoding(one, options.calibration)
            weight = options.regularization * A.norm(iterations=10) ** 2
            return conjugate_gradient(
                A, one.kspace, iterations=options.iterations, regularization=weight, callback=step
            )

        return _each_volume(scan, solve)


def _require_trajectory(scan: MRScan, name: str, instead: str) -> None:
    if scan.is_cartesian:
        raise ValueError(f"{name} needs a trajectory, this scan is Cartesian: try {instead}")


def _whitened(scan: MRScan) -> MRScan:
    """The scan with uncorrelated noise of unit variance, if it brought a noise measurement."""
    if scan.noise is None:
        return scan
    return scan.replace(kspace=whiten(scan.kspace, scan.noise, ndim=scan.ndim), noise=None)


def _volumes(scan: MRScan) -> int:
    return scan.batch_shape.numel() if isinstance(scan.batch_shape, torch.Size) else _product(scan.batch_shape)
