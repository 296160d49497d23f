"""Parallel imaging in k-space, without calibration, and how much noise it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.warn import warn
from .. import mri
from ..image import Image
from ..mri.calibration import require_coils
from ..mri.noise_maps import aliases
from ..operators import Fourier, LinearOperator, Sampling, Sense
from ..scan import MRScan
from ..solvers import conjugate_gradient
from ..solvers.common import Callback
from .mr_encoding import Samples, encoding, ready_for_maps
from .mr_noise import is_measured, whitened_deviation
from .mr_volumes import each_volume
from .partial_fourier import PartialFourierOptions, completed
from .raw_chain import RawOptions, whitened
from .registry import Track, method, option

CALIBRATION = "width of the k-space centre that the kernels come from"
LATTICE_STEPS = 100  # of conjugate gradients, where the noise is that of the exact solution


@dataclass(frozen=True)
class GrappaOptions(PartialFourierOptions):
    """Options of `grappa`."""

    kernel: int | None = option(None, "width of the kernels in samples, odd; 7 in 2D, 5 in 3D")
    regularization: float = option(
        0.01, "Tikhonov weight of the kernels, relative to the mean eigenvalue of their equations"
    )
    calibration: int = option(48, CALIBRATION)


@method("grappa", "mri", unit="volume")
def grappa(scan: MRScan, options: GrappaOptions, track: Track) -> Image:
    """GRAPPA: missing samples from their neighbours in all coils, root sum of squares."""
    _require_cartesian("grappa", scan)

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        assert volume.mask is not None
        filled = mri.grappa(
            volume.kspace,
            volume.mask,
            reference=_reference(volume),
            calibration=options.calibration,
            kernel=options.kernel,
            regularization=options.regularization,
            ndim=volume.ndim,
        )
        step(0, filled, 0.0)
        coils = completed(filled, volume.mask, options.partial_fourier, volume.ndim)
        return mri.root_sum_of_squares(coils, volume.ndim)

    return each_volume(whitened(scan), solve, track, "grappa", 1)


@dataclass(frozen=True)
class SpiritOptions(GrappaOptions):
    """Options of `spirit`."""

    iterations: int = option(20, "conjugate gradient steps")


@method("spirit", "mri", unit="volume")
def spirit(scan: MRScan, options: SpiritOptions, track: Track) -> Image:
    """SPIRiT: k-space that agrees with calibrated kernels everywhere, root sum of squares."""
    _require_cartesian("spirit", scan)

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        assert volume.mask is not None
        filled = mri.spirit(
            volume.kspace,
            volume.mask,
            reference=_reference(volume),
            calibration=options.calibration,
            kernel=options.kernel,
            regularization=options.regularization,
            iterations=options.iterations,
            ndim=volume.ndim,
            callback=step,
        )
        coils = completed(filled, volume.mask, options.partial_fourier, volume.ndim)
        return mri.root_sum_of_squares(coils, volume.ndim)

    return each_volume(whitened(scan), solve, track, "spirit", options.iterations)


@dataclass(frozen=True)
class NlinvOptions(RawOptions):
    """Options of `nlinv`."""

    iterations: int = option(10, "Gauss-Newton steps: more show more detail, and more noise")


@method("nlinv", "mri", unit="volume")
def nlinv(scan: MRScan, options: NlinvOptions, track: Track) -> Image:
    """NLINV: image and coil maps together, no calibration region needed, any sampling."""

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        A: LinearOperator
        if sampling is None:
            assert volume.mask is not None
            _warn_of_lattice(volume.mask.expand(volume.matrix))
            A = Sampling(volume.mask.expand(volume.matrix)) @ Fourier(volume.matrix)
        else:
            A = sampling.transform
        return mri.nlinv(A, volume.kspace, iterations=options.iterations, callback=step)[0]

    return each_volume(whitened(scan), solve, track, "nlinv", options.iterations)


def _warn_of_lattice(mask: Tensor) -> None:
    folded = aliases(mask)
    if folded is not None and len(folded) > 1:
        warn(
            f"k-space is a regular lattice, {len(folded)}x undersampled without a denser centre: "
            "nlinv cannot tell the image from its aliases; measure some lines around the centre"
        )


@dataclass(frozen=True)
class NoiseOptions(RawOptions):
    """Options of `g-factor` and `snr`."""

    iterations: int = option(30, "conjugate gradient steps, where there is no closed form")
    regularization: float = option(
        0.0, "Tikhonov weight, relative to the mean eigenvalue of the normal operator"
    )
    replicas: int = option(64, "pseudo replicas, where there is no closed form")
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")
    seed: int = option(1, "of the replicas' noise")


@method("g-factor", "mri", unit="volume", takes_maps=True)
def g_factor(scan: MRScan, options: NoiseOptions, track: Track) -> Image:
    """g-factor of SENSE: in closed form on a lattice of samples, else by pseudo replicas."""
    _require_cartesian("g-factor", scan)
    require_coils("g-factor", scan.kspace, scan.ndim)

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        A = encoding(volume, options.calibration, sampling)
        if not is_measured(volume):  # the replicas' noise of 1 must neither drown nor be drowned
            volume = volume.replace(kspace=volume.kspace / volume.kspace.abs().max())
        full = math.sqrt(volume.acceleration / 2)  # the maps have unit length in each pixel
        return _noise(A, volume, options, step) / full

    ready = ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, "g-factor", _steps(options))


@method("snr", "mri", unit="volume", takes_maps=True)
def snr(scan: MRScan, options: NoiseOptions, track: Track) -> Image:
    """SENSE image in units of the standard deviation of its noise; needs a noise scan."""
    if not is_measured(scan):
        raise ValueError(f"snr needs noise samples: MRScan(noise=...), this is {scan}")
    deviation = whitened_deviation(scan)

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        A = encoding(volume, options.calibration, sampling)
        noise = _noise(A, volume, options, step)
        image = _least_squares(A, volume, options)(volume.kspace)
        tiny = torch.finfo(noise.dtype).tiny
        return torch.where(noise > 0, image.abs() / noise.clamp_min(tiny), 0) / deviation

    ready = ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, "snr", _steps(options))


def _steps(options: NoiseOptions) -> int:
    return options.iterations * (options.replicas + 1)


def _noise(A: Sense, volume: MRScan, options: NoiseOptions, step: Callback) -> Tensor:
    """Standard deviation of the noise in one channel of the SENSE image of whitened k-space."""
    maps = A.coils.maps
    if _is_lattice(volume, options):
        assert volume.mask is not None
        g = mri.sense_g_factor(maps, volume.mask.expand(volume.matrix), ndim=volume.ndim)
        return g * math.sqrt(volume.acceleration / 2)
    solve = _least_squares(A, volume, options, step)
    mask = None if volume.mask is None else volume.mask.expand(volume.matrix)
    return mri.pseudo_replicas(
        solve, volume.kspace, mask, replicas=options.replicas, seed=options.seed
    )


def _is_lattice(volume: MRScan, options: NoiseOptions) -> bool:
    if volume.mask is None or options.regularization > 0:
        return False
    folded = aliases(volume.mask.expand(volume.matrix))
    return folded is not None and len(folded) <= volume.coils


def _least_squares(
    A: Sense, volume: MRScan, options: NoiseOptions, step: Callback | None = None
) -> Callable[[Tensor], Tensor]:
    """Iterative SENSE of one volume, from k-space to an image."""
    iterations = LATTICE_STEPS if _is_lattice(volume, options) else options.iterations
    regularization = options.regularization * volume.samples_per_pixel

    def solve(kspace: Tensor) -> Tensor:
        return conjugate_gradient(
            A, kspace, iterations=iterations, regularization=regularization, callback=step
        )

    return solve


def _reference(volume: MRScan) -> Tensor | None:
    """K-space of the calibration scan, if there is one."""
    reference = volume.header.get("calibration")
    if reference is None:
        return None
    _require_cartesian("a calibration scan of this method", reference)
    kspace: Tensor = reference.kspace
    return kspace


def _require_cartesian(name: str, scan: MRScan) -> None:
    if not scan.is_cartesian:
        raise ValueError(
            f"{name} needs Cartesian k-space, this is {scan.trajectory_kind}: try sense or nlinv"
        )
