"""MR methods of series: GRASP, locally low rank, low rank and sparse, temporal subspaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ..image import Image
from ..mri import density_compensation, regularized_series, resize
from ..mri import gridding as grid_coils
from ..mri.regularized import SeriesPenalty
from ..operators import (
    Fourier,
    LinearOperator,
    NonUniformFourier,
    Sense,
    Series,
    SubspaceSense,
    TemporalBasis,
)
from ..scan import MRScan
from ..solvers import Convergence
from .mr_encoding import coil_maps, samples_of, warn_of_gaps
from .mr_volumes import mr_image, part
from .raw_chain import RawOptions, whitened
from .registry import Track, method, option

TIME = ("time", "frame", "repetition", "phase", "contrast", "echo")  # names of axes of time
TRAINING = 16  # width of the centre of k-space that a subspace is learnt from


@dataclass(frozen=True)
class SeriesOptions(RawOptions):
    """Options of the methods of series."""

    iterations: int = option(40, "FISTA steps")
    weight: float = option(0.5, "weight of the penalty, in units of the data's finest coefficients")
    spokes: int | None = option(None, "readouts a frame, of a scan that is one long run of them")
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@dataclass(frozen=True)
class SubspaceOptions(SeriesOptions):
    """Options of `subspace`."""

    components: int = option(4, "temporal basis functions")


@dataclass(frozen=True)
class _Frames:
    """One series, ready to solve: maps, and data weighted where they lie on a trajectory."""

    scan: MRScan  # batch: frame
    maps: Tensor
    density: Tensor | None  # (frame, sample)

    @property
    def data(self) -> Tensor:
        """``(frame, coil, ...)``, times the root of the density compensation."""
        kspace = self.scan.kspace
        return kspace if self.density is None else kspace * self.density.sqrt().unsqueeze(-2)

    @property
    def encoding(self) -> Series:
        """Series ``(frame, [z,] y, x)`` to `data`."""
        scan = self.scan
        if scan.trajectory is None:
            one = Sense(self.maps, mask=scan.mask, ndim=scan.ndim)
        else:
            transform = NonUniformFourier(
                scan.trajectory,
                scan.image_shape,
                field_map=scan.header.get("field_map"),
                readout_time=scan.header.get("readout_time"),
            )
            one = Sense(self.maps, trajectory=transform, weights=self.density)
        return Series(one, scan.batch_shape[0])

    def in_subspace(self, basis: Tensor) -> LinearOperator:
        """Coefficient images ``(K, [z,] y, x)`` to `data`."""
        scan, count = self.scan, self.scan.batch_shape[0]
        if scan.trajectory is None:
            assert scan.mask is not None
            mask = scan.mask.expand(count, *scan.matrix)
            return SubspaceSense(self.maps, basis, mask=mask, ndim=scan.ndim)
        if "field_map" in scan.header:
            return self.encoding @ TemporalBasis(basis, scan.matrix)
        trajectory = scan.trajectory
        if trajectory.ndim == 2:
            trajectory = trajectory.expand(count, *trajectory.shape)
        return SubspaceSense(self.maps, basis, trajectory=trajectory, weights=self.density)


Solve = Callable[[_Frames, Convergence], Tensor]


@method("grasp", "mri", unit="series")
def grasp(scan: MRScan, options: SeriesOptions, track: Track) -> Image:
    """GRASP: series of radial (or any) frames with total variation in time."""
    return _penalised(scan, options, track, "grasp", "temporal-tv")


@method("llr", "mri", unit="series")
def llr(scan: MRScan, options: SeriesOptions, track: Track) -> Image:
    """Locally low rank: series whose small blocks change along few curves, any sampling."""
    return _penalised(scan, options, track, "llr", "llr")


@method("low-rank-sparse", "mri", unit="series")
def low_rank_sparse(scan: MRScan, options: SeriesOptions, track: Track) -> Image:
    """Low rank plus sparse: series of a background and what is sparse in temporal frequency."""
    return _penalised(scan, options, track, "low-rank-sparse", "low-rank-sparse")


@method("subspace", "mri", unit="series")
def subspace(scan: MRScan, options: SubspaceOptions, track: Track) -> Image:
    """Temporal subspace (as T2 shuffling): few coefficient images, locally low rank."""

    def solve(frames: _Frames, step: Convergence) -> Tensor:
        basis = _basis(frames, options.components)
        A = frames.in_subspace(basis)
        coefficients = regularized_series(
            A, frames.data, "llr", weight=options.weight, iterations=options.iterations,
            callback=step,
        )  # fmt: skip
        step.figures["components"] = len(basis)
        return TemporalBasis(basis, frames.scan.matrix)(coefficients)

    return _each_series(scan, options, solve, track, "subspace")


def _penalised(
    scan: MRScan, options: SeriesOptions, track: Track, name: str, penalty: SeriesPenalty
) -> Image:
    def solve(frames: _Frames, step: Convergence) -> Tensor:
        return regularized_series(
            frames.encoding, frames.data, penalty, weight=options.weight,
            iterations=options.iterations, callback=step,
        )  # fmt: skip

    return _each_series(scan, options, solve, track, name)


def _each_series(
    scan: MRScan, options: SeriesOptions, solve: Solve, track: Track, label: str
) -> Image:
    """Solve the series of every slice, echo, ... and put the results back in order."""
    scan = whitened(_grouped(scan, options.spokes))
    axis = _time_axis(scan)
    others = [n for i, n in enumerate(scan.batch_shape) if i != axis]
    series: list[Tensor] = []
    records = []
    with track(label, options.iterations * math.prod(others)) as step:
        for index in product(*map(range, others)):
            place: tuple[int | slice, ...] = (*index[:axis], slice(None), *index[axis:])
            one = part(scan, place, ("time",))
            pooled = _pooled(one)
            if not series:
                warn_of_gaps(pooled, options.calibration)
            maps = coil_maps(pooled, options.calibration, samples_of(pooled))
            density = None
            if one.trajectory is not None:
                density = density_compensation(one.trajectory, one.image_shape)
            records.append(Convergence(step))
            series.append(solve(_Frames(one, maps, density), records[-1]))
    data = torch.stack(series).reshape(*others, *series[0].shape)
    return mr_image(scan, data.movedim(len(others), axis), records)


def _grouped(scan: MRScan, spokes: int | None) -> MRScan:
    """A continuous run of readouts cut into frames of `spokes`; the rest at its end is left out."""
    if spokes is None:
        return scan
    length = scan.readout_length
    if scan.trajectory is None or not length or scan.batch_shape:
        raise ValueError(
            "spokes= cuts one run of readouts of equal length along a trajectory into frames, "
            f"this is {scan!r}"
        )
    frames = scan.kspace.shape[-1] // (length * spokes)
    if frames < 1:
        raise ValueError(
            f"the scan has {scan.kspace.shape[-1] // length} readouts, fewer than spokes={spokes}"
        )
    used = frames * length * spokes
    kspace = scan.kspace[:, :used].reshape(scan.coils, frames, -1).movedim(1, 0)
    trajectory = scan.trajectory[:used].reshape(frames, -1, scan.ndim)
    header = dict(scan.header)
    if "readout_time" in header:  # readouts are alike
        header["readout_time"] = header["readout_time"][: length * spokes]
    return scan.replace(kspace=kspace, trajectory=trajectory, batch_axes=("time",), header=header)


def _time_axis(scan: MRScan) -> int:
    named = [i for i, name in enumerate(scan.batch_axes) if name in TIME]
    if named:
        return named[0]
    if len(scan.batch_shape) == 1:
        return 0
    raise ValueError(
        "a method of series needs frames: one batch axis, or one named "
        f"{', '.join(TIME)}; this scan has batch {scan.batch_shape} named {scan.batch_axes}"
    )


def _pooled(series: MRScan) -> MRScan:
    """All frames as one scan, from which the coil maps come: smooth, whatever the off-resonance."""
    header = {k: v for k, v in series.header.items() if k not in ("field_map", "readout_time")}
    series = series.replace(header=header)
    if series.trajectory is None:
        assert series.mask is not None
        count = series.mask.expand(*series.batch_shape, *series.matrix).sum(0)
        kspace = series.kspace.sum(0) / count.clamp_min(1)
        return series.replace(kspace=kspace, mask=count > 0, batch_axes=())
    if series.trajectory.ndim == 2:
        return series.replace(kspace=series.kspace.mean(0), batch_axes=())
    return series.replace(
        kspace=series.kspace.movedim(0, 1).flatten(1),
        trajectory=series.trajectory.flatten(0, 1),
        batch_axes=(),
    )


def _basis(frames: _Frames, components: int) -> Tensor:
    """Orthonormal ``(K, frame)``: the file's, or singular vectors of the centre of k-space."""
    scan = frames.scan
    count = scan.batch_shape[0]
    given = scan.header.get("basis")
    if given is not None:
        if given.ndim != 2 or given.shape[-1] != count:
            raise ValueError(f"basis has shape {tuple(given.shape)}, expected (K, {count})")
        return torch.as_tensor(given, device=scan.kspace.device)[:components]
    sizes = [min(TRAINING, n) for n in scan.matrix]
    if scan.trajectory is None:
        centre = resize(scan.kspace, sizes)
        centre = centre * (centre != 0).any(1).all(0)  # only what every frame has measured
    else:
        transform = NonUniformFourier(scan.trajectory, scan.image_shape)
        images = grid_coils(scan.kspace, transform, scan.image_shape, frames.density)
        centre = resize(Fourier(scan.matrix)(images), sizes)
    if not bool(centre.any()):
        raise ValueError(
            f"no sample of the central {sizes} is measured in every frame: a subspace cannot be "
            "learnt from it; give one as header['basis'] of shape (K, frame)"
        )
    U: Tensor = torch.linalg.svd(centre.flatten(1), full_matrices=False).U
    return U[:, : min(components, count)].mT.contiguous()
