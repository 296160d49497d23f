"""MR methods: from k-space to an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ..image import Image
from ..mri import density_compensation, espirit, resize, root_sum_of_squares, wavelet_sense, whiten
from ..mri import gridding as grid_coils
from ..operators import Diagonal, Fourier, LinearOperator, Sense
from ..scan import MRScan
from ..solvers import conjugate_gradient
from ..solvers.common import Callback
from .registry import Track, method, option

Solve = Callable[[MRScan, Callback], Tensor]


@dataclass(frozen=True)
class RssOptions:
    """`rss` has no options."""


@method("rss", "mri")
def rss(scan: MRScan, options: RssOptions, track: Track) -> Image:
    """Root sum of squares of the coil images; missing k-space samples are left zero."""
    if not scan.is_cartesian:
        raise ValueError(
            f"rss needs Cartesian k-space, this is {scan.trajectory_kind}: try gridding"
        )
    coils = Fourier(scan.matrix).adjoint(scan.kspace)
    return _image(scan, root_sum_of_squares(coils, scan.ndim))


@dataclass(frozen=True)
class GriddingOptions:
    """`gridding` has no options."""


@method("gridding", "mri")
def gridding(scan: MRScan, options: GriddingOptions, track: Track) -> Image:
    """Density-compensated adjoint NUFFT of every coil, root sum of squares."""
    if scan.is_cartesian:
        raise ValueError("gridding needs a trajectory, this scan is Cartesian: try rss")

    def solve(volume: MRScan, step: Callback) -> Tensor:
        return root_sum_of_squares(_coil_images(volume, _density(volume)), volume.ndim)

    return _each_volume(scan, solve, track, "gridding", 1)


@dataclass(frozen=True)
class SenseOptions:
    """Options of `sense`."""

    iterations: int = option(30, "conjugate gradient steps")
    regularization: float = option(
        0.1, "Tikhonov weight, relative to the mean eigenvalue of the normal operator"
    )
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@method("sense", "mri")
def sense(scan: MRScan, options: SenseOptions, track: Track) -> Image:
    """Iterative SENSE: least squares with ESPIRiT maps by conjugate gradient, any sampling."""

    def solve(volume: MRScan, step: Callback) -> Tensor:
        A = _encoding(volume, options.calibration, _density(volume))
        # Maps have unit length in each pixel, so the mean eigenvalue is the samples per pixel.
        return conjugate_gradient(
            A,
            volume.kspace,
            iterations=options.iterations,
            regularization=options.regularization / volume.acceleration,
            callback=step,
        )

    return _each_volume(_whitened(scan), solve, track, "sense", options.iterations)


@dataclass(frozen=True)
class WaveletOptions:
    """Options of `l1-wavelet`."""

    iterations: int = option(60, "FISTA steps")
    weight: float = option(
        0.75, "weight of the wavelets' l1 norm, in units of the data's own finest coefficients"
    )
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@method("l1-wavelet", "mri")
def l1_wavelet(scan: MRScan, options: WaveletOptions, track: Track) -> Image:
    """Compressed sensing: ESPIRiT maps and l1-regularised wavelets by FISTA, any sampling."""

    def solve(volume: MRScan, step: Callback) -> Tensor:
        density = _density(volume)
        A: LinearOperator = _encoding(volume, options.calibration, density)
        kspace = volume.kspace
        if density is not None:
            # Weighting evens out the eigenvalues; FISTA is slow at the edge of k-space without.
            kspace = density.sqrt() * kspace
            A = Diagonal(density.sqrt()) @ A
        return wavelet_sense(
            A, kspace, iterations=options.iterations, weight=options.weight, callback=step
        )

    return _each_volume(_whitened(scan), solve, track, "l1-wavelet", options.iterations)


def _whitened(scan: MRScan) -> MRScan:
    """The scan with uncorrelated noise of unit variance, if it brought a noise measurement."""
    if scan.noise is None:
        return scan
    kspace = whiten(scan.kspace, scan.noise, ndim=scan.ndim if scan.is_cartesian else 1)
    return scan.replace(kspace=kspace, noise=None)


def _density(volume: MRScan) -> Tensor | None:
    """Density compensation of a trajectory, ``(sample,)``; none is needed on a grid."""
    if volume.trajectory is None:
        return None
    return density_compensation(volume.trajectory, volume.image_shape)


def _encoding(volume: MRScan, calibration: int, density: Tensor | None) -> Sense:
    """The SENSE operator of one volume with maps from its own centre of k-space."""
    kspace = volume.kspace
    if volume.coils == 1:
        maps = torch.ones((1, *volume.matrix), dtype=kspace.dtype, device=kspace.device)
    else:
        if density is not None:
            kspace = Fourier(volume.matrix)(_coil_images(volume, density))
        maps = espirit(kspace, calibration=calibration)
    return Sense(maps, mask=volume.mask, trajectory=volume.trajectory)


def _coil_images(volume: MRScan, density: Tensor | None) -> Tensor:
    """Gridded images ``(coil, [z,] y, x)`` of one non-Cartesian volume."""
    assert volume.trajectory is not None
    return grid_coils(volume.kspace, volume.trajectory, volume.image_shape, density)


def _each_volume(scan: MRScan, solve: Solve, track: Track, label: str, steps: int) -> Image:
    """Solve every slice, repetition, ... on its own and put the results back in order."""
    with track(label, steps * math.prod(scan.batch_shape)) as step:
        volumes = [solve(volume, step) for volume in _volumes(scan)]
    data = torch.stack(volumes).reshape(*scan.batch_shape, *volumes[0].shape)
    return _image(scan, data)


def _volumes(scan: MRScan) -> Iterator[MRScan]:
    for index in product(*map(range, scan.batch_shape)):
        mask, trajectory = scan.mask, scan.trajectory
        if mask is not None:
            mask = mask.expand(*scan.batch_shape, *scan.matrix)[index]
        if trajectory is not None and trajectory.ndim > 2:
            trajectory = trajectory[index]
        yield scan.replace(
            kspace=scan.kspace[index], mask=mask, trajectory=trajectory, batch_axes=()
        )


def _image(scan: MRScan, data: Tensor) -> Image:
    """Crop the encoded matrix to the image and give it its place in space."""
    data = resize(data, scan.image_shape)
    slices = bool(scan.batch_axes) and scan.batch_axes[-1] == "slice"
    spacing = scan.spacing if slices else scan.spacing[-scan.ndim :]
    return Image(data, spacing, scan.affine)  # type: ignore[arg-type]
