"""The SENSE operator of one volume: what its trajectory needs, and its coil maps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ...kernels.warn import warn
from ..mri import (
    calibration_region,
    density_compensation,
    espirit,
    gridding,
    nlinv,
    radial_density,
    resize,
    spiral_density,
    voronoi_density,
    walsh,
)
from ..operators import Fourier, NonUniformFourier, Sampling, Sense
from ..scan import MRScan
from .raw_chain import whitened

_LEAST_CENTRE = 6  # samples across that adaptive maps can be told from
_LARGEST_GAP = 0.8  # cells from a point of the centre to the nearest sample; 0.5 is Nyquist's


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

    def density(self, kind: str = "pipe-menon") -> Tensor:
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


class KnownMaps:
    """Coil maps of volumes that share their calibration data; kept as ``header["known_maps"]``.

    Repetitions need them once, and they can be made before a scan is complete: they hold where the
    centre of k-space is the same, not before.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._centre: Tensor | None = None
        self._maps: Tensor | None = None

    def maps(
        self, kspace: Tensor, calibration: int, kind: str, make: Callable[[], Tensor]
    ) -> Tensor:
        """Those of ``(coil, [kz,] ky, kx)`` by a kind that sees only the centre, or made anew."""
        centre = calibration_region(kspace, calibration)
        key = (kind, calibration, kspace.shape, centre.shape)
        if self._maps is None or key != self._key or not self._same(centre):
            self._maps = make()
            self._key, self._centre = key, centre.clone()
        return self._maps

    def _same(self, centre: Tensor) -> bool:
        assert self._centre is not None
        return bool((centre - self._centre).norm() <= 1e-6 * self._centre.norm())


def samples_of(volume: MRScan) -> Samples | None:
    """What the trajectory brings; a grid has none."""
    return None if volume.is_cartesian else Samples(volume)


def encoding(
    volume: MRScan,
    calibration: int,
    sampling: Samples | None,
    *,
    kind: str = "espirit",
) -> Sense:
    """The SENSE operator of one volume."""
    maps = coil_maps(volume, calibration, sampling, kind)
    if sampling is None:
        return Sense(maps, mask=volume.mask, ndim=volume.ndim)
    return Sense(maps, trajectory=sampling.transform)


def density_weighted(A: Sense, sampling: Samples | None) -> tuple[Sense, Tensor]:
    """A weighted by the density of its samples, and what to multiply the data by.

    Weighting evens out the eigenvalues; FISTA is slow at the edge of k-space without.
    """
    maps = A.coils.maps
    if sampling is None:
        return A, torch.ones((), device=maps.device)
    density = sampling.density()
    return Sense(maps, trajectory=sampling.transform, weights=density), density.sqrt()


def coil_maps(
    volume: MRScan, calibration: int, sampling: Samples | None, kind: str = "espirit"
) -> Tensor:
    """Maps ``(coil, [z,] y, x)`` from the volume's calibration scan, or from its own centre."""
    if volume.coils == 1:
        return torch.ones((1, *volume.matrix), dtype=volume.kspace.dtype,
                          device=volume.kspace.device)  # fmt: skip
    reference = volume.header.get("calibration", volume)
    own = sampling if reference is volume else samples_of(reference)
    kspace, shape = reference.kspace, volume.matrix
    if own is not None:
        if kind == "nlinv" and reference.matrix == shape:
            return nlinv(own.transform, kspace)[1]
        kspace = Fourier(reference.matrix)(coil_images(reference, own))
    kspace = resize(kspace, shape)
    if kind == "nlinv":
        return nlinv(Sampling((kspace != 0).any(0)) @ Fourier(shape), kspace)[1]
    known = volume.header.get("known_maps") or KnownMaps()
    return known.maps(
        kspace, calibration, kind, lambda: _maps_of_centre(kspace, calibration, kind, volume.ndim)
    )


def _maps_of_centre(kspace: Tensor, calibration: int, kind: str, ndim: int) -> Tensor:
    """Maps that only the fully sampled centre of ``(coil, [kz,] ky, kx)`` decides."""
    shape = kspace.shape[1:]
    if kind == "walsh":
        centre = calibration_region(kspace, calibration)
        if min(centre.shape[1:]) < _LEAST_CENTRE:
            raise ValueError(
                f"the fully sampled centre of k-space is {tuple(centre.shape[1:])}, adaptive maps "
                f"need at least {_LEAST_CENTRE} samples: measure calibration lines, or use nlinv"
            )
        return walsh(Fourier(tuple(shape)).adjoint(resize(centre, shape)), ndim=ndim)
    return espirit(kspace, calibration=calibration, ndim=ndim)


def coil_images(volume: MRScan, sampling: Samples | None, density: str = "pipe-menon") -> Tensor:
    """Gridded images ``(coil, [z,] y, x)`` of one non-Cartesian volume."""
    assert sampling is not None
    weights = sampling.density(density)
    return gridding(volume.kspace, sampling.transform, volume.image_shape, weights)


def ready_for_maps(scan: MRScan, calibration: int) -> MRScan:
    """The whitened scan; a warning, once, if the centre that its maps come from has gaps."""
    warn_of_gaps(scan, calibration)
    return whitened(scan)


def warn_of_gaps(scan: MRScan, calibration: int) -> None:
    """Warn if the centre of k-space is undersampled: coil maps from it carry the aliasing."""
    reference = scan.header.get("calibration", scan)
    if reference.is_cartesian or reference.coils == 1:
        return
    trajectories = reference.trajectory.double().numpy(force=True)
    gap = max(
        _largest_gap(k * reference.image_shape, calibration)
        for k in trajectories.reshape(-1, *trajectories.shape[-2:])
    )
    if gap > _LARGEST_GAP:
        warn(
            f"the centre of k-space is undersampled (samples up to {2 * gap:.1f} cells apart): "
            "expect aliasing in the coil maps; measure it densely, or bring a calibration scan"
        )


def _largest_gap(cells: np.ndarray, width: int) -> float:
    """Cells from a point of the centre to the nearest of the samples ``(sample, ndim)``."""
    near = cells[(abs(cells) <= width / 2 + 1).all(-1)]
    if not len(near):
        return math.inf
    axis = np.arange(-(width // 2), width // 2 + 1)
    centre = np.stack(np.meshgrid(*[axis] * cells.shape[-1]), -1).reshape(-1, cells.shape[-1])
    centre = centre[np.linalg.norm(centre, axis=1) <= width / 2]
    return float(np.max(KDTree(near).query(centre)[0]))
