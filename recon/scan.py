"""What the scanner measured: `MRScan` and `CTScan`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import EllipsisType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..kernels.ct.geometry import Geometry, VolumeGrid
from .arrays import as_tensor, require_finite
from .ct.corrections import line_integrals
from .readouts import Readouts, readouts_of


class _Scan:
    """What MR and CT scans share: moving between devices, changed copies, memory."""

    header: Mapping[str, Any]

    def to(self, device: torch.device | str) -> Self:
        """The same scan with its tensors on another device, those of the header too."""
        moved: dict[str, Any] = {name: t.to(device) for name, t in self._tensors().items()}
        header = {
            key: value.to(device) if isinstance(value, Tensor | _Scan) else value
            for key, value in self.header.items()
        }
        return self.replace(**moved, header=header)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def _tensors(self) -> dict[str, Tensor]:
        values = vars(self).items()
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def memory(self) -> int:
        """Bytes of all its tensors."""
        return sum(t.nbytes for t in self._tensors().values())

    def _memory_text(self) -> str:
        tensors = self._tensors().values()
        size = float(self.memory)
        unit = "B"
        for larger in ("kB", "MB", "GB"):
            if size >= 1000:
                size, unit = size / 1000, larger
        return f"{size:.3g} {unit} on {'/'.join(sorted({t.device.type for t in tensors}))}"


@dataclass(frozen=True, eq=False, repr=False)
class MRScan(_Scan):
    """Raw MR data, ready to reconstruct. Arrays may be NumPy or torch; they become torch tensors.

    Parameters
    ----------
    kspace
        Complex. Cartesian ``(*batch, coil, [kz,] ky, kx)``, centred, zero where nothing was
        measured; non-Cartesian ``(*batch, coil, sample)``.
    mask
        Cartesian only: bool ``([kz,] ky, kx)`` or ``(*batch, [kz,] ky, kx)`` (axes of length 1
        broadcast), true where a sample was measured; k-space outside it is set to zero. Default:
        where any coil is non-zero.
    trajectory
        Non-Cartesian: ``(*batch, sample, ndim)`` or one for all, ``(sample, ndim)``, in cycles
        per pixel in [-0.5, 0.5), last axis ordered as the image axes (z, y, x).
    noise
        Noise-only samples ``(coil, sample)``, for prewhitening.
    image_shape
        Image matrix ``([z,] y, x)``. Its length says whether the encoding is 2D or 3D. Default:
        the last two axes of the k-space matrix; required with a trajectory. Smaller than the
        k-space matrix, the image is cropped to it (phase oversampling).
    spacing
        Voxel size in mm, ``(z, y, x)`` or ``(y, x)``; of 2D slices z is the step between slices.
    affine
        ``(4, 4)`` from voxel index (x, y, z) of the image matrix to patient position in mm
        (RAS+, as NIfTI). Default: the spacing along the diagonal, the image centred on 0.
    batch_axes
        What the batch axes are, such as ``("repetition", "slice")``.
    readout_length
        Samples per readout of non-Cartesian data, if they are all alike.
    header
        Anything else the file said.

    Raises
    ------
    TypeError
        Data that are not complex, a mask that is not boolean.
    ValueError
        Shapes that do not fit together, NaN or infinity, a trajectory outside [-0.5, 0.5).
    """

    kspace: Tensor
    mask: Tensor | None = None
    trajectory: Tensor | None = None
    noise: Tensor | None = None
    image_shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    affine: NDArray[np.float64] | None = None
    batch_axes: tuple[str, ...] = ()
    readout_length: int | None = None
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kspace = as_tensor(self.kspace)
        if not kspace.is_complex():
            raise TypeError(f"kspace must be complex, got {kspace.dtype}")
        require_finite("kspace", kspace)
        if self.trajectory is not None:
            if self.mask is not None:
                raise ValueError("a scan has a mask (Cartesian) or a trajectory, not both")
            self._set(trajectory=_checked_trajectory(self.trajectory, kspace))
        image_shape = tuple(int(n) for n in self.image_shape)
        if not image_shape:
            if self.trajectory is not None:
                raise ValueError("a scan with a trajectory needs image_shape=([z,] y, x)")
            image_shape = tuple(kspace.shape[-2:])
        if len(image_shape) not in (2, 3) or min(image_shape) < 1:
            raise ValueError(f"image_shape must be 2 or 3 positive sizes, got {image_shape}")
        self._set(kspace=kspace, image_shape=image_shape)
        if kspace.ndim < self._data_ndim + 1 or 0 in kspace.shape:
            axes = "sample" if self.trajectory is not None else "[kz,] ky, kx"
            raise ValueError(
                f"kspace must be (*batch, coil, {axes}) for a {self.ndim}D image, "
                f"got shape {tuple(kspace.shape)}"
            )
        if self.trajectory is not None and self.trajectory.shape[-1] != self.ndim:
            raise ValueError(
                f"trajectory has {self.trajectory.shape[-1]} axes, image_shape {image_shape} has "
                f"{self.ndim}"
            )
        if self.trajectory is None:
            mask = self._checked_mask()
            measured = mask.unsqueeze(-self.ndim - 1)
            outside = ~measured
            partly = self.mask is not None and bool(outside.any())
            if partly and bool(((kspace != 0) & outside).any()):
                kspace = kspace * measured
            self._set(mask=mask, kspace=kspace)
        if self.noise is not None:
            noise = as_tensor(self.noise)
            if noise.ndim != 2 or noise.shape[0] != self.coils or not noise.is_complex():
                raise ValueError(
                    f"noise must be complex (coil, sample) with {self.coils} coils, "
                    f"got {noise.dtype} {tuple(noise.shape)}"
                )
            require_finite("noise", noise)
            self._set(noise=noise)
        if self.batch_axes and len(self.batch_axes) != len(self.batch_shape):
            raise ValueError(f"batch_axes {self.batch_axes} name a batch of {self.batch_shape}")
        self._set(
            spacing=_checked_spacing(self.spacing or (1.0,) * self.ndim),
            affine=_checked_affine(self.affine),
        )

    def _checked_mask(self) -> Tensor:
        matrix = self.matrix
        if self.mask is None:
            return (self.kspace != 0).any(dim=-self.ndim - 1)
        mask = as_tensor(self.mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"mask must be boolean, got {mask.dtype}")
        full = (*self.batch_shape, *matrix)
        try:
            fits = torch.broadcast_shapes(mask.shape, full) == full  # type: ignore[no-untyped-call]
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"mask has shape {tuple(mask.shape)}, expected ([kz,] ky, kx) = {matrix} "
                f"or (*batch, [kz,] ky, kx) = {full}; axes of length 1 broadcast"
            )
        return mask

    @property
    def is_cartesian(self) -> bool:
        """Whether the samples lie on a grid."""
        return self.trajectory is None

    @property
    def ndim(self) -> int:
        """Dimensions of the encoding: 2 or 3."""
        return len(self.image_shape)

    @property
    def _data_ndim(self) -> int:
        return 1 if self.trajectory is not None else self.ndim

    @property
    def matrix(self) -> tuple[int, ...]:
        """The k-space matrix of Cartesian data, the image matrix otherwise."""
        return self.image_shape if not self.is_cartesian else tuple(self.kspace.shape[-self.ndim :])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Sizes of the axes before the coils (repetitions, slices, ...)."""
        return tuple(self.kspace.shape[: -self._data_ndim - 1])

    @property
    def coils(self) -> int:
        """Number of receive channels."""
        return int(self.kspace.shape[-self._data_ndim - 1])

    @property
    def field_of_view(self) -> tuple[float, ...]:
        """Extent of the image in mm, ordered as its axes."""
        sizes = zip(self.image_shape, self.spacing[-self.ndim :], strict=True)
        return tuple(n * d for n, d in sizes)

    @property
    def samples_per_pixel(self) -> float:
        """Measured samples of a coil for every pixel (grid point of a Cartesian scan)."""
        if self.mask is not None:
            return float(self.mask.float().mean())
        return self.kspace.shape[-1] / float(np.prod(self.image_shape))

    @property
    def acceleration(self) -> float:
        """How many times less was measured than a full scan.

        Cartesian: grid points over measured samples. Radial: Nyquist's spokes (``pi/2 N``,
        ``pi/2 N^2`` in 3D) over those measured; spirals: turns (``N/2``). Other trajectories:
        pixels over samples.
        """
        if self.trajectory is not None and (found := self._readouts.acceleration) is not None:
            return found
        return 1 / max(self.samples_per_pixel, 1e-12)

    @property
    def undersampled_axes(self) -> tuple[str, ...]:
        """Names of the axes of Cartesian k-space along which something is missing."""
        if self.mask is None:
            return ()
        names = ("kz", "ky", "kx")[-self.ndim :]
        places = range(self.mask.ndim - self.ndim, self.mask.ndim)
        return tuple(
            name
            for name, axis in zip(names, places, strict=True)
            if bool((self.mask != self.mask.any(axis, keepdim=True)).any())
        )

    def __repr__(self) -> str:
        batch = _batch_text(self.batch_shape, self.batch_axes)
        fov = " x ".join(f"{f:.4g}" for f in self.field_of_view)
        if self.is_cartesian:
            kind = f"Cartesian, {self.acceleration:.2f}x undersampled"
            if axes := " and ".join(self.undersampled_axes):
                kind += f" along {axes}"
            if self.acceleration < 1.005:
                kind = "Cartesian, fully sampled"
            elif self.mask is not None and not self.mask.any():
                kind = "Cartesian, no samples"
        else:
            kind = f"{self.trajectory_kind}, {self.kspace.shape[-1]} samples"
            kind += f" ({self.acceleration:.2f}x undersampled)" * (self.acceleration > 1.005)
        noise = "" if self.noise is None else f"noise {self.noise.shape[-1]} samples, "
        return (
            f"MRScan({' x '.join(map(str, self.matrix))} matrix, {self.coils} coils, {batch}"
            f"{kind}, field of view {fov} mm, {noise}{self._memory_text()})"
        )

    @property
    def trajectory_kind(self) -> str:
        """What the samples trace, found in the samples themselves."""
        if self.trajectory is None:
            return "Cartesian"
        return self._readouts.kind

    @cached_property
    def _readouts(self) -> Readouts:
        assert self.trajectory is not None
        return readouts_of(self.trajectory, self.image_shape, self.readout_length)


@dataclass(frozen=True, eq=False, repr=False)
class CTScan(_Scan):
    """Raw CT data, ready to reconstruct. Arrays may be NumPy or torch; they become torch tensors.

    Give line integrals (`sinogram`), or detector readings (`counts` and `blank`), of which the
    line integrals are taken.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``, without unit (1/mm times mm).
    geometry
        Where source and detector stood: `ParallelBeam`, `FanBeam`, `ConeBeam`, ... With a 2D
        geometry, batch axes are slices.
    counts
        Detector readings, shaped as the sinogram.
    blank
        Readings without object (white field, I0): a number, ``(column,)``, ``(row, column)``, or
        a stack of frames ``(*batch, frame, [row,] column)`` that is averaged.
    dark
        Readings without beam, shaped as `blank`.
    volume
        Grid to reconstruct on. Default: one that covers the field of view.
    slice_spacing
        Distance between the slices of a stack in mm.
    photons
        Photons that a ray would bring without object, where the scanner says it: broadcasts to
        the sinogram, such as ``(view, 1, column)``.
    affine
        ``(4, 4)`` from the CT frame (x, y, z in mm) to the patient's (RAS+). Default: head first,
        supine, the isocentre at the origin.
    header
        Anything else the file said.

    Raises
    ------
    TypeError
        Complex or integer line integrals.
    ValueError
        Shapes that do not fit together, NaN or infinity, counts without a blank scan.
    """

    sinogram: Tensor = None  # type: ignore[assignment]
    geometry: Geometry = None  # type: ignore[assignment]
    counts: Tensor | None = None
    blank: Tensor | None = None
    dark: Tensor | None = None
    volume: VolumeGrid | None = None
    slice_spacing: float = 1.0
    photons: Tensor | None = None
    affine: NDArray[np.float64] | None = None
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.geometry is None:
            raise ValueError("a CTScan needs a geometry, such as spinray.ParallelBeam(...)")
        if not isinstance(self.geometry, Geometry):
            raise TypeError(f"geometry must be a CT geometry, got {self.geometry!r:.100}")
        if self.volume is not None and not isinstance(self.volume, VolumeGrid):
            raise TypeError(f"volume must be a VolumeGrid, got {self.volume!r:.100}")
        if self.volume is not None and self.volume.ndim != self.geometry.ndim:
            raise ValueError(
                f"a {self.geometry.ndim}D geometry needs a {self.geometry.ndim}D volume, got "
                f"{self.volume}"
            )
        for name in ("counts", "blank", "dark"):
            if (value := getattr(self, name)) is not None:
                self._set(**{name: as_tensor(value)})
        if self.counts is not None:
            self._check_shape("counts", self.counts)
        if self.sinogram is None:
            if self.counts is None or self.blank is None:
                raise ValueError("a CTScan needs a sinogram, or counts and a blank scan")
            require_finite("counts", self.counts)
            sinogram = line_integrals(
                self.counts, self.blank, self.dark, detector_ndim=len(self.geometry.shape) - 1
            )
        else:
            sinogram = as_tensor(self.sinogram)
        if not sinogram.is_floating_point():
            raise TypeError(f"sinogram must be float32 or float64, got {sinogram.dtype}")
        self._check_shape("sinogram", sinogram)
        require_finite("sinogram", sinogram)
        self._set(sinogram=sinogram)
        if self.photons is not None:
            self._set(photons=_checked_photons(as_tensor(self.photons), sinogram))
        self._set(affine=_checked_affine(self.affine))
        if not self.slice_spacing > 0:
            raise ValueError(f"slice_spacing must be positive mm, got {self.slice_spacing}")

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again; readings and line integrals agree."""
        readings = {"counts", "blank", "dark"}
        if "sinogram" in changes and not readings & changes.keys():
            changes |= dict.fromkeys(readings)
        elif readings & changes.keys() and "sinogram" not in changes:
            changes["sinogram"] = None
        return super().replace(**changes)

    def __getitem__(self, views: slice) -> Self:
        """Some of the views: ``scan[::4]`` keeps every fourth."""
        rest = [slice(None)] * (len(self.geometry.shape) - 1)
        index: tuple[slice | EllipsisType, ...] = (..., views, *rest)
        changes: dict[str, Any] = {"sinogram": self.sinogram[index]}
        if self.counts is not None:
            changes["counts"] = self.counts[index]
        if self.photons is not None and self._has_views(self.photons):
            changes["photons"] = self.photons[index]
        return dataclasses.replace(self, geometry=self.geometry[views], **changes)

    def _has_views(self, reading: Tensor) -> bool:
        """Whether a reading that broadcasts to the sinogram differs from view to view."""
        ndim = len(self.geometry.shape)
        return reading.ndim >= ndim and reading.shape[-ndim] > 1

    def _check_shape(self, name: str, data: Tensor) -> None:
        shape = self.geometry.shape
        if tuple(data.shape[-len(shape) :]) != shape or 0 in data.shape:
            axes = "view, column" if len(shape) == 2 else "view, row, column"
            raise ValueError(
                f"{name} has shape {tuple(data.shape)}, the geometry expects (*batch, {axes}) "
                f"with {shape}"
            )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Sizes of the axes before the views (slices of a stack)."""
        return tuple(self.sinogram.shape[: -len(self.geometry.shape)])

    @property
    def grid(self) -> VolumeGrid:
        """The grid given with the scan, or one that covers the field of view."""
        return self.volume or self.geometry.default_volume()

    def __repr__(self) -> str:
        batch = _batch_text(self.batch_shape, ("slice",) if len(self.batch_shape) == 1 else ())
        kind = "counts and line integrals" if self.counts is not None else "line integrals"
        return f"CTScan({self.geometry}, {batch}{kind}, {self._memory_text()})"


def _checked_trajectory(trajectory: ArrayLike | Tensor, kspace: Tensor) -> Tensor:
    k = as_tensor(trajectory)
    if not k.is_floating_point() or k.ndim < 2 or k.shape[-1] not in (2, 3):
        raise ValueError(
            f"trajectory must be real (*batch, sample, 2 or 3), got {k.dtype} {tuple(k.shape)}"
        )
    if k.shape[-2] != kspace.shape[-1]:
        raise ValueError(
            f"trajectory has {k.shape[-2]} samples, kspace has {kspace.shape[-1]} a coil "
            f"(kspace {tuple(kspace.shape)}, trajectory {tuple(k.shape)})"
        )
    if k.ndim > 2 and tuple(k.shape[:-2]) != tuple(kspace.shape[:-2]):
        raise ValueError(
            f"trajectory batch {tuple(k.shape[:-2])} and kspace batch {tuple(kspace.shape[:-2])} "
            "differ: give one trajectory for all, or one for each"
        )
    require_finite("trajectory", k)
    low, high = float(k.min()), float(k.max())
    if low < -0.5 or high >= 0.5:
        raise ValueError(
            f"trajectory runs from {low:.4g} to {high:.4g}, expected cycles per pixel in "
            "[-0.5, 0.5): divide radians per pixel by 2 pi, or 1/FOV units by the matrix size"
        )
    return k


def _checked_photons(photons: Tensor, sinogram: Tensor) -> Tensor:
    shape = tuple(sinogram.shape)
    try:
        fits = torch.broadcast_shapes(photons.shape, shape) == shape  # type: ignore[no-untyped-call]
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"photons {tuple(photons.shape)} do not broadcast to the sinogram {shape}")
    require_finite("photons", photons)
    if float(photons.min()) < 0:
        raise ValueError(f"photons must not be negative, got {float(photons.min()):g}")
    return photons.to(sinogram.dtype)


def _checked_spacing(spacing: tuple[float, ...]) -> tuple[float, ...]:
    values = tuple(float(s) for s in spacing)
    if len(values) not in (2, 3) or not all(np.isfinite(v) and v > 0 for v in values):
        raise ValueError(f"spacing must be 2 or 3 positive mm ([z,] y, x), got {spacing}")
    return values


def _checked_affine(affine: ArrayLike | None) -> NDArray[np.float64] | None:
    if affine is None:
        return None
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"affine must be a finite (4, 4) matrix, got shape {matrix.shape}")
    matrix.flags.writeable = False
    return matrix


def _batch_text(shape: tuple[int, ...], names: tuple[str, ...]) -> str:
    if not shape:
        return ""
    if not names:
        return f"batch of {' x '.join(map(str, shape))}, "
    counts = [f"{n} {name}{'s' * (n > 1)}" for n, name in zip(shape, names, strict=True)]
    return ", ".join(counts) + ", "
