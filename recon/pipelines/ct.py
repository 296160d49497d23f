"""CT methods: from line integrals to attenuation per mm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.ct.geometry import FanBeam, Geometry, ParallelBeam
from ..ct import fbp as filtered_backprojection
from ..image import Image, centred_affine
from ..operators import FiniteDifference, XRayTransform
from ..scan import CTScan
from ..solvers import primal_dual
from ..solvers import sirt as solve_sirt
from .registry import Track, method, option

FILTERS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")


@dataclass(frozen=True)
class FbpOptions:
    """Options of `fbp`."""

    filter: str = option("ram-lak", "ramp filter and its window", choices=FILTERS)


@method("fbp", "ct")
def fbp(scan: CTScan, options: FbpOptions, track: Track) -> Image:
    """Filtered back projection of parallel and fan beams."""
    return _image(scan, _fbp(scan, options.filter))


@dataclass(frozen=True)
class SirtOptions:
    """Options of `sirt`."""

    iterations: int = option(100, "steps; more sharpen the image and its noise")
    nonnegative: bool = option(True, "keep attenuation at or above zero")


@method("sirt", "ct")
def sirt(scan: CTScan, options: SirtOptions, track: Track) -> Image:
    """Simultaneous iterative reconstruction: least squares with early stopping, any geometry."""
    A = XRayTransform(scan.geometry, scan.grid)
    with track("sirt", options.iterations) as step:
        data = solve_sirt(
            A,
            scan.sinogram,
            iterations=options.iterations,
            nonnegative=options.nonnegative,
            callback=step,
        )
    return _image(scan, data)
