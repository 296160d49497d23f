"""MR methods: from k-space to an image."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ..image import Image, centred_affine
from ..mri import (
    calibration_region,
    density_compensation,
    espirit,
    homodyne,
    nlinv,
    pocs,
    radial_density,
    resize,
    root_sum_of_squares,
    spiral_density,
    voronoi_density,
    walsh,
)
from ..mri import gridding as grid_coils
from ..operators import Fourier, NonUniformFourier, Sampling, Sense
from ..scan import MRScan
from ..solvers import Convergence, conjugate_gradient
from .raw_chain import RawOptions, whitened
from .registry import Track, method, option


class Samples:
    """What depends on a trajectory alone, and is made once for all slices that share it."""

    def __init__(self, volume: MRScan) -> None:
        assert volume.trajectory is not None
        self.transform = NonUniformFourier(
            volume.trajectory,
            volume.image_shape,
            field_map=volume.header.get("field_map"),
            readout_time=volume.header.get("readout_time"),
        )
        self._readout_length = volume.readout_length
        self._densities: dict[str, Tensor] = {}

    @property
    def density(self) -> Tensor:
        """Pipe and Menon's weights ``(sample,)``."""
        return self.density_by("pipe-menon")

    def density_by(self, kind: str) -> Tensor:
        """Weights ``(sample,)`` of a kind that `gridding` has."""
        if kind not in self._densities:
            trajectory, shape = self.transform.trajectory, self.transform.domain_shape
            if kind == "pipe-menon":
                weights = density_compensation(trajectory, shape)
            elif kind == "voronoi":
                weights = voronoi_density(trajectory, shape)
            elif self._readout_length is None:
                raise ValueError(f"density {kind} needs readouts of one length: try voronoi")
            else:
                make = radial_density if kind == "radial" else spiral_density
                weights = make(trajectory, shape, self._readout_length)
            self._densities[kind] = weights
        return self._densities[kind]


_LEAST_CENTRE = 6  # samples across that coil maps can be told from
LARGEST_GAP = 0.8  # cells from a point of the centre to the nearest sample; 0.5 is Nyquist's
COMPLETIONS = ("zero-fill", "homodyne", "pocs")
PARTIAL_FOURIER = "what becomes of the side of k-space that was not measured"
Solve = Callable[[MRScan, Samples | None, Convergence], Tensor]


@dataclass(frozen=True)
class RssOptions(RawOptions):
    """Options of `rss`."""

    partial_fourier: str = option("zero-fill", PARTIAL_FOURIER, choices=COMPLETIONS)


@method("rss", "mri")
def rss(scan: MRScan, options: RssOptions, track: Track) -> Image:
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


@method("gridding", "mri")
def gridding(scan: MRScan, options: GriddingOptions, track: Track) -> Image:
    """Density-compensated adjoint NUFFT of every coil, root sum of squares."""
    if scan.is_cartesian:
        raise ValueError("gridding needs a trajectory, this scan is Cartesian: try rss")

    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        coils = _coil_images(volume, sampling, options.density)
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


@method("sense", "mri")
def sense(scan: MRScan, options: SenseOptions, track: Track) -> Image:
    """Iterative SENSE: least squares with coil maps by conjugate gradient, any sampling."""

    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        A = encoding(volume, options.calibration, sampling, kind=options.maps)
        # Maps have unit length in each pixel, so the mean eigenvalue is the samples per pixel.
        return conjugate_gradient(
            A,
            volume.kspace,
            iterations=options.iterations,
            regularization=options.regularization / volume.acceleration,
            callback=step,
        )

    return each_volume(whitened(scan), solve, track, "sense", options.iterations)


def _sampling(volume: MRScan) -> Samples | None:
    """What the trajectory brings; a grid has none."""
    return None if volume.is_cartesian else Samples(volume)


def encoding(
    volume: MRScan,
    calibration: int,
    sampling: Samples | None,
    *,
    weighted: bool = False,
    kind: str = "espirit",
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
        maps = _maps(kspace, calibration, kind, volume.ndim)
    if sampling is None:
        return Sense(maps, mask=volume.mask, ndim=volume.ndim)
    weights = sampling.density if weighted else None
    return Sense(maps, trajectory=sampling.transform, weights=weights)


def _maps(kspace: Tensor, calibration: int, kind: str, ndim: int) -> Tensor:
    """Coil maps from Cartesian k-space ``(coil, [kz,] ky, kx)``, zero where not measured."""
    shape = kspace.shape[-ndim:]
    if kind == "nlinv":
        return nlinv(Sampling((kspace != 0).any(0)) @ Fourier(shape), kspace)[1]
    if kind == "walsh":
        centre = calibration_region(kspace, calibration)
        if min(centre.shape[1:]) < _LEAST_CENTRE:
            raise ValueError(
                f"the fully sampled centre of k-space is {tuple(centre.shape[1:])}, adaptive maps "
                f"need at least {_LEAST_CENTRE} samples: measure calibration lines, or use nlinv"
            )
        return walsh(Fourier(shape).adjoint(resize(centre, shape)), ndim=ndim)
    return espirit(kspace, calibration=calibration, ndim=ndim)


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


def _coil_images(volume: MRScan, sampling: Samples | None, density: str = "pipe-menon") -> Tensor:
    """Gridded images ``(coil, [z,] y, x)`` of one non-Cartesian volume."""
    assert sampling is not None
    weights = sampling.density_by(density)
    return grid_coils(volume.kspace, sampling.transform, volume.image_shape, weights)


def completed(kspace: Tensor, mask: Tensor, kind: str, ndim: int) -> Tensor:
    """Coil images of k-space whose box was measured, its missing side as `kind` says."""
    if kind == "homodyne":
        return homodyne(kspace, mask, ndim=ndim)
    if kind == "pocs":
        kspace = pocs(kspace, mask, ndim=ndim)
    return Fourier(kspace.shape[-ndim:]).adjoint(kspace)


def each_volume(scan: MRScan, solve: Solve, track: Track, label: str, steps: int) -> Image:
    """Solve every slice, repetition, ... on its own and put the results back in order."""
    volumes, records, trajectory, sampling = [], [], None, None
    with track(label, steps * math.prod(scan.batch_shape)) as step:
        for volume in _volumes(scan):
            if volume.trajectory is not trajectory or "field_map" in volume.header:
                trajectory, sampling = volume.trajectory, _sampling(volume)
            records.append(Convergence(step))
            volumes.append(solve(volume, sampling, records[-1]))
    data = torch.stack(volumes).reshape(*scan.batch_shape, *volumes[0].shape)
    return mr_image(scan, data, records)


def _volumes(scan: MRScan) -> Iterator[MRScan]:
    for index in product(*map(range, scan.batch_shape)):
        volume = _volume(scan, index)
        if (reference := scan.header.get("calibration")) is not None:
            # A calibration scan has no repetitions, say, but slices as the scan itself has them.
            place = dict(zip(scan.batch_axes, index, strict=False))
            sizes = zip(reference.batch_axes, reference.batch_shape, strict=False)
            own = tuple(min(place.get(axis, 0), size - 1) for axis, size in sizes)
            header = {**volume.header, "calibration": _volume(reference, own)}
            volume = volume.replace(header=header)
        yield volume


def _volume(scan: MRScan, index: tuple[int, ...]) -> MRScan:
    """One item of the batch."""
    mask, trajectory = scan.mask, scan.trajectory
    if mask is not None:
        mask = mask.expand(*scan.batch_shape, *scan.matrix)[index]
    if trajectory is not None and trajectory.ndim > 2:
        trajectory = trajectory[index]
    header = dict(scan.header)
    field_map = header.get("field_map")
    if field_map is not None and field_map.ndim > scan.ndim:
        header["field_map"] = field_map[index]
    return scan.replace(
        kspace=scan.kspace[index], mask=mask, trajectory=trajectory, batch_axes=(), header=header
    )


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
