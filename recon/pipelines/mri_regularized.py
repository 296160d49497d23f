"""Regularised MR methods of single images: wavelets and curvelets, TV, TGV."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..image import Image
from ..mri import regularized_sense, sure_weight, wavelet_sense
from ..operators import Sense
from ..scan import MRScan
from ..solvers import Convergence
from ..solvers.common import Callback
from .mr_encoding import Samples, density_weighted, encoding, ready_for_maps
from .mr_noise import is_measured, noise_of
from .mr_volumes import each_volume
from .raw_chain import RawOptions
from .registry import Track, method, option

# image from (A, y, weight, iterations, callback)
Solver = Callable[[Sense, Tensor, float, int, Callback | None], Tensor]
AUTO_ITERATIONS = 20  # of each reconstruction that tries a weight
TOLERANCE = 1e-4  # relative change at which TV and TGV stop
WEIGHT_HELP = "in units of the data's own finest coefficients; auto finds it by SURE"


@dataclass(frozen=True)
class WaveletOptions(RawOptions):
    """Options of `l1-wavelet`."""

    iterations: int = option(40, "FISTA steps")
    weight: float | str = option(2.4, f"threshold, {WEIGHT_HELP}", choices=("auto",))
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@method("l1-wavelet", "mri", unit="volume", takes_maps=True)
def l1_wavelet(scan: MRScan, options: WaveletOptions, track: Track) -> Image:
    """Compressed sensing: ESPIRiT maps, reweighted l1 of wavelets and curvelets, any sampling."""

    def solver(
        A: Sense, y: Tensor, weight: float, iterations: int, step: Callback | None
    ) -> Tensor:
        return wavelet_sense(A, y, iterations=iterations, weight=weight, callback=step)

    return _regularized(scan, options, track, "l1-wavelet", solver)


@dataclass(frozen=True)
class VariationOptions(RawOptions):
    """Options of `tv` and `tgv`."""

    iterations: int = option(80, f"FISTA steps at most; they stop at a change of {TOLERANCE:g}")
    weight: float | str = option(0.5, f"weight of the variation, {WEIGHT_HELP}", choices=("auto",))
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@method("tv", "mri", unit="volume", takes_maps=True)
def tv(scan: MRScan, options: VariationOptions, track: Track) -> Image:
    """Total variation: ESPIRiT maps, edges kept and plains flattened, any sampling."""
    return _variation(scan, options, track, "tv")


@method("tgv", "mri", unit="volume", takes_maps=True)
def tgv(scan: MRScan, options: VariationOptions, track: Track) -> Image:
    """Total generalised variation: as TV, without its stairs where intensity ramps."""
    return _variation(scan, options, track, "tgv")


def _variation(
    scan: MRScan, options: VariationOptions, track: Track, kind: Literal["tv", "tgv"]
) -> Image:
    def solver(
        A: Sense, y: Tensor, weight: float, iterations: int, step: Callback | None
    ) -> Tensor:
        return regularized_sense(
            A, y, kind, weight=weight, iterations=iterations, tolerance=TOLERANCE, callback=step
        )

    return _regularized(scan, options, track, kind, solver)


def _regularized(
    scan: MRScan,
    options: WaveletOptions | VariationOptions,
    track: Track,
    name: str,
    solver: Solver,
) -> Image:
    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        A, root = density_weighted(encoding(volume, options.calibration, sampling), sampling)
        y = root * volume.kspace
        weight = options.weight
        if weight == "auto":
            deviation = noise_of(volume)
            weight = sure_weight(
                lambda data, w: solver(A, data, w, AUTO_ITERATIONS, None),
                A, y, deviation * root,
                start=type(options)().weight,  # type: ignore[arg-type]
            )  # fmt: skip
            noise = "noise scan" if is_measured(volume) else "outermost samples"
            step.figures.update(weight=weight, weight_by=f"SURE, noise from {noise}")
        return solver(A, y, float(weight), options.iterations, step)

    ready = ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, name, options.iterations)
