"""The plain MR methods: from k-space to an image without a prior."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..image import Image
from ..mri import root_sum_of_squares
from ..scan import MRScan
from ..solvers import Convergence, conjugate_gradient
from .mr_encoding import Samples, coil_images, encoding, ready_for_maps
from .mr_volumes import each_volume, mr_image
from .partial_fourier import PartialFourierOptions, completed
from .raw_chain import RawOptions, whitened
from .registry import Track, method, option


@method("rss", "mri", unit="volume")
def rss(scan: MRScan, options: PartialFourierOptions, track: Track) -> Image:
    """Root sum of squares of the coil images; missing k-space samples are left zero."""
    if not scan.is_cartesian:
        raise ValueError(
            f"rss needs Cartesian k-space, this is {scan.trajectory_kind}: try gridding"
        )
    assert scan.mask is not None
    box = scan.mask.reshape(-1, *scan.mask.shape[-scan.ndim :]).any(0)
    coils = completed(scan.kspace, box, options.partial_fourier, scan.ndim)
    return mr_image(scan, root_sum_of_squares(coils, scan.ndim))


@dataclass(frozen=True)
class GriddingOptions(RawOptions):
    """Options of `gridding`."""

    density: str = option(
        "pipe-menon",
        "density compensation: iterated, of rings between samples, or of Voronoi cells",
        choices=("pipe-menon", "radial", "spiral", "voronoi"),
    )


@method("gridding", "mri", unit="volume")
def gridding(scan: MRScan, options: GriddingOptions, track: Track) -> Image:
    """Density-compensated adjoint NUFFT of every coil, root sum of squares."""
    if scan.is_cartesian:
        raise ValueError("gridding needs a trajectory, this scan is Cartesian: try rss")

    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        coils = coil_images(volume, sampling, options.density)
        return root_sum_of_squares(coils, volume.ndim)

    return each_volume(scan, solve, track, "gridding", 1)


@dataclass(frozen=True)
class SenseOptions(RawOptions):
    """Options of `sense`."""

    iterations: int = option(30, "conjugate gradient steps")
    regularization: float = option(
        0.1, "Tikhonov weight, relative to the mean eigenvalue of the normal operator"
    )
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")
    maps: str = option(
        "espirit",
        "where the coil maps come from; nlinv needs no fully sampled centre",
        choices=("espirit", "walsh", "nlinv"),
    )


@method("sense", "mri", unit="volume", takes_maps=True)
def sense(scan: MRScan, options: SenseOptions, track: Track) -> Image:
    """Iterative SENSE: least squares with coil maps by conjugate gradient, any sampling."""

    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        A = encoding(volume, options.calibration, sampling, kind=options.maps)
        # Maps have unit length in each pixel, so the mean eigenvalue is the samples per pixel.
        return conjugate_gradient(
            A,
            volume.kspace,
            iterations=options.iterations,
            regularization=options.regularization * volume.samples_per_pixel,
            callback=step,
        )

    whole = options.maps == "nlinv"  # maps that need no sampled centre
    ready = whitened(scan) if whole else ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, "sense", options.iterations)
