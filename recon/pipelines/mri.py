"""MR methods: from k-space to an image."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ..image import Image, centred_affine
from ..mri import density_compensation, espirit, resize, root_sum_of_squares, wavelet_sense, whiten
from ..mri import gridding as grid_coils
from ..operators import Fourier, NonUniformFourier, Sense
from ..scan import MRScan
from ..solvers import conjugate_gradient
from ..solvers.common import Callback
from .registry import Track, method, option


@dataclass(frozen=True)
class Samples:
    """What depends on a trajectory alone, and is made once for all slices that share it."""

    transform: NonUniformFourier
    density: Tensor  # (sample,)


LARGEST_GAP = 0.8  # cells from a point of the centre to the nearest sample; 0.5 is Nyquist's
Solve = Callable[[MRScan, Samples | None, Callback], Tensor]


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
    return mr_image(scan, root_sum_of_squares(coils, scan.ndim))


@dataclass(frozen=True)
class GriddingOptions:
    """`gridding` has no options."""


@method("gridding", "mri")
def gridding(scan: MRScan, options: GriddingOptions, track: Track) -> Image:
    """Density-compensated adjoint NUFFT of every coil, root sum of squares."""
    if scan.is_cartesian:
        raise ValueError("gridding needs a trajectory, this scan is Cartesian: try rss")

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        return root_sum_of_squares(_coil_images(volume, sampling), volume.ndim)

    return each_volume(scan, solve, track, "gridding", 1)


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

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        A = encoding(volume, options.calibration, sampling)
        # Maps have unit length in each pixel, so the mean eigenvalue is the samples per pixel.
        return conjugate_gradient(
            A,
            volume.kspace,
            iterations=options.iterations,
            regularization=options.regularization / volume.acceleration,
            callback=step,
        )

    return each_volume(whitened(scan), solve, track, "sense", options.iterations)


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

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        # Weighting evens out the eigenvalues; FISTA is slow at the edge of k-space without.
        A = encoding(volume, options.calibration, sampling, weighted=True)
        kspace = volume.kspace if sampling is None else sampling.density.sqrt() * volume.kspace
        return wavelet_sense(
            A, kspace, iterations=options.iterations, weight=options.weight, callback=step
        )

    return each_volume(whitened(scan), solve, track, "l1-wavelet", options.iterations)


def whitened(scan: MRScan) -> MRScan:
    """The scan with uncorrelated noise of unit variance, if it brought a noise measurement."""
    noise = scan.noise
    if noise is None:
        return scan

    def white(part: MRScan) -> Tensor:
        return whiten(part.kspace, noise, ndim=part.ndim if part.is_cartesian else 1)

    header = dict(scan.header)
    if (reference := header.get("calibration")) is not None:
        header["calibration"] = reference.replace(kspace=white(reference))
    return scan.replace(kspace=white(scan), noise=None, header=header)


def _sampling(volume: MRScan) -> Samples | None:
    """Transform and density compensation of a trajectory; none is needed on a grid."""
    if volume.trajectory is None:
        return None
    return Samples(
        NonUniformFourier(volume.trajectory, volume.image_shape),
        density_compensation(volume.trajectory, volume.image_shape),
    )


def encoding(
    volume: MRScan, calibration: int, sampling: Samples | None, *, weighted: bool = False
) -> Sense:
    """The SENSE operator of one volume, maps from its calibration scan or its own centre."""
    kspace = volume.kspace
    if volume.coils == 1:
        maps = torch.ones((1, *volume.matrix), dtype=kspace.dtype, device=kspace.device)
    else:
        reference = volume.header.get("calibration", volume)
        kspace = reference.kspace
        if not reference.is_cartesian:
            _warn_of_gaps(reference, calibration)
            own = sampling if reference is volume else _sampling(reference)
            kspace = Fourier(reference.matrix)(_coil_images(reference, own))
        kspace = resize(kspace, volume.matrix)
        maps = espirit(kspace, calibration=calibration, ndim=volume.ndim)
    if sampling is None:
        return Sense(maps, mask=volume.mask, ndim=volume.ndim)
    weights = sampling.density if weighted else None
    return Sense(maps, trajectory=sampling.transform, weights=weights)


def _warn_of_gaps(scan: MRScan, calibration: int) -> None:
    """Warn if the centre of k-space is undersampled: coil maps from it carry the aliasing."""
    assert scan.trajectory is not None
    cells = scan.trajectory.double().numpy(force=True) * scan.image_shape
    near = cells[(abs(cells) <= calibration / 2 + 1).all(-1)]
    axes = [np.arange(-(calibration // 2), calibration // 2 + 1)] * scan.ndim
    centre = np.stack(np.meshgrid(*axes), -1).reshape(-1, scan.ndim)
    centre = centre[np.linalg.norm(centre, axis=1) <= calibration / 2]
    gap = float(np.max(KDTree(near).query(centre)[0])) if len(near) else math.inf
    if gap > LARGEST_GAP:
        warnings.warn(
            f"the centre of k-space is undersampled (samples up to {2 * gap:.1f} cells apart): "
            "expect aliasing in the coil maps; measure it densely, or bring a calibration scan",
            stacklevel=2,
        )


def _coil_images(volume: MRScan, sampling: Samples | None) -> Tensor:
    """Gridded images ``(coil, [z,] y, x)`` of one non-Cartesian volume."""
    assert sampling is not None
    return grid_coils(volume.kspace, sampling.transform, volume.image_shape, sampling.density)


def each_volume(scan: MRScan, solve: Solve, track: Track, label: str, steps: int) -> Image:
    """Solve every slice, repetition, ... on its own and put the results back in order."""
    volumes, trajectory, sampling = [], None, None
    with track(label, steps * math.prod(scan.batch_shape)) as step:
        for volume in _volumes(scan):
            if volume.trajectory is not trajectory:
                trajectory, sampling = volume.trajectory, _sampling(volume)
            volumes.append(solve(volume, sampling, step))
    data = torch.stack(volumes).reshape(*scan.batch_shape, *volumes[0].shape)
    return mr_image(scan, data)


def _volumes(scan: MRScan) -> Iterator[MRScan]:
    for index in product(*map(range, scan.batch_shape)):
        volume = _volume(scan, index)
        if (reference := scan.header.get("calibration")) is not None:
            # A calibration scan has no repetitions, say, but slices as the scan itself has them.
            place = dict(zip(scan.batch_axes, index, strict=False))
            sizes = zip(reference.batch_axes, reference.batch_shape, strict=False)
            own = tuple(min(place.get(axis, 0), size - 1) for axis, size in sizes)
            header = {**scan.header, "calibration": _volume(reference, own)}
            volume = volume.replace(header=header)
        yield volume


def _volume(scan: MRScan, index: tuple[int, ...]) -> MRScan:
    """One item of the batch."""
    mask, trajectory = scan.mask, scan.trajectory
    if mask is not None:
        mask = mask.expand(*scan.batch_shape, *scan.matrix)[index]
    if trajectory is not None and trajectory.ndim > 2:
        trajectory = trajectory[index]
    return scan.replace(kspace=scan.kspace[index], mask=mask, trajectory=trajectory, batch_axes=())


def mr_image(scan: MRScan, data: Tensor) -> Image:
    """Crop the encoded matrix to the image and give it its place in space."""
    data = resize(data, scan.image_shape)
    slices = bool(scan.batch_axes) and scan.batch_axes[-1] == "slice"
    spacing = scan.spacing if slices else scan.spacing[-scan.ndim :]
    affine = scan.affine
    if affine is None:  # as in k-space, voxel n // 2 is the middle
        affine = centred_affine(tuple(data.shape[-len(spacing) :]), spacing)
        for axis, n in enumerate(reversed(scan.image_shape)):
            affine[axis, 3] -= affine[axis, axis] * (n // 2 - (n - 1) / 2)
    return Image(data, spacing, affine)
