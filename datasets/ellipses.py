"""Phantoms made of ellipses and ellipsoids: their image, k-space and line integrals in closed form.

Positions are in mm and ordered as the image axes, (y, x) or (z, y, x); frequencies are in cycles
per mm in the same order. Overlapping shapes add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

from ..kernels.chords import chords
from ..kernels.ct.geometry import Geometry, VolumeGrid
from .rays import rays

Array = NDArray[np.float64]
S = TypeVar("S", "Ellipse", "Ellipsoid")


@dataclass(frozen=True)
class _Shape:
    """An ellipse or ellipsoid of constant value: an affine map of the unit ball.

    Parameters
    ----------
    value
        What it adds to the image inside.
    center, semi_axes
        In mm, in axis order.
    angle
        Turn in the (x, y) plane in radians, from the x axis towards the y axis.
    """

    value: float
    center: tuple[float, ...]
    semi_axes: tuple[float, ...]
    angle: float = 0.0

    ndim: ClassVar[int]

    def __post_init__(self) -> None:
        for name in ("center", "semi_axes"):
            mm = tuple(float(v) for v in getattr(self, name))
            if len(mm) != self.ndim or not np.isfinite(mm).all():
                raise ValueError(f"{name} needs {self.ndim} finite mm, got {getattr(self, name)}")
            object.__setattr__(self, name, mm)
        if min(self.semi_axes) <= 0:
            raise ValueError(f"semi_axes must be positive mm, got {self.semi_axes}")

    def _rotate(self, *vector: Array) -> tuple[Array, ...]:
        """Turn a vector's components, given in axis order, into the frame of the semi-axes."""
        *z, y, x = vector
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return *z, cos * y - sin * x, cos * x + sin * y

    def _to_unit_ball(self, *vector: Array) -> tuple[Array, ...]:
        rotated = self._rotate(*vector)
        return tuple(v / a for v, a in zip(rotated, self.semi_axes, strict=True))

    @property
    def extent(self) -> tuple[float, ...]:
        """Half the size of the bounding box in mm."""
        *z, y, x = self.semi_axes
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return *z, float(np.hypot(cos * y, sin * x)), float(np.hypot(sin * y, cos * x))

    def contains(self, *position: Array) -> NDArray[np.bool_]:
        """Whether points lie inside; coordinates in mm, one array an axis, broadcast together."""
        offset = [p - c for p, c in zip(position, self.center, strict=True)]
        return _squared_norm(self._to_unit_ball(*offset)) <= 1

    def kspace(self, frequency: Array) -> NDArray[np.complex128]:
        """Fourier integral at ``(..., ndim)`` cycles per mm, in value times mm^ndim."""
        k = np.moveaxis(np.asarray(frequency, dtype=np.float64), -1, 0)
        stretched = [f * a for f, a in zip(self._rotate(*k), self.semi_axes, strict=True)]
        s = 2 * np.pi * np.sqrt(_squared_norm(stretched))
        phase = -2 * np.pi * sum(f * c for f, c in zip(k, self.center, strict=True))
        scale = self.value * float(np.prod(self.semi_axes))
        return np.asarray(scale * self._ball(s) * np.exp(1j * phase))

    @staticmethod
    def _ball(s: Array) -> Array:
        """Fourier integral of the unit ball at the angular frequency s."""
        raise NotImplementedError

    @property
    def to_unit_ball(self) -> Array:
        """Matrix that maps vectors, in axis order, to those in the frame of the unit ball."""
        return np.stack([np.stack(self._to_unit_ball(*e)) for e in np.eye(self.ndim)], axis=1)


@dataclass(frozen=True)
class Ellipse(_Shape):
    """Ellipse of a `value`; `center` and `semi_axes` in mm as (y, x), `angle` from x towards y."""

    ndim = 2

    @staticmethod
    def _ball(s: Array) -> Array:
        s = np.maximum(s, 1e-9)
        return np.asarray(2 * np.pi * j1(s) / s)


@dataclass(frozen=True)
class Ellipsoid(_Shape):
    """Ellipsoid of a `value`; `center`, `semi_axes` in mm as (z, y, x), `angle` about z."""

    ndim = 3

    @staticmethod
    def _ball(s: Array) -> Array:
        # sin s - s cos s cancels near zero: there the series is exact to 1e-16.
        near = s < 0.03
        t = np.where(near, 1.0, s)
        far = (np.sin(t) - t * np.cos(t)) / t**3
        return 4 * np.pi * np.where(near, 1 / 3 - s**2 / 30 + s**4 / 840, far)


@dataclass(frozen=True, repr=False)
class _Phantom(Generic[S]):
    """A sum of shapes.

    Parameters
    ----------
    name
        What it shows.
    shapes
        The ellipses (2D) or ellipsoids (3D).
    """

    name: str
    shapes: tuple[S, ...]

    ndim: ClassVar[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(self.shapes))
        if not self.shapes or any(shape.ndim != self.ndim for shape in self.shapes):
            raise ValueError(f"phantom {self.name!r} needs shapes of {self.ndim} dimensions")

    @property
    def extent(self) -> tuple[float, ...]:
        """Size in mm of the smallest box about the origin that holds the phantom."""
        reach = [np.abs(s.center) + np.array(s.extent) for s in self.shapes]
        return tuple(float(2 * r) for r in np.max(reach, axis=0))

    @property
    def radius(self) -> float:
        """Radius in mm of a circle (a cylinder along z) about the origin that holds the phantom."""
        return max(
            float(np.linalg.norm(s.center[-2:])) + max(s.semi_axes[-2:]) for s in self.shapes
        )

    def image(self, volume: VolumeGrid, *, subsamples: int = 8) -> Array:
        """Mean value in each voxel, ``([nz,] ny, nx)``, of subsamples^ndim points a voxel."""
        self._require_ndim("volume", volume.ndim)
        image = np.zeros(volume.shape)
        for shape in self.shapes:
            box, points = [], []
            for axis, (center, reach) in enumerate(zip(shape.center, shape.extent, strict=True)):
                step, positions = volume.spacing[axis], volume.positions(axis)
                inside = np.flatnonzero(np.abs(positions - center) < reach + step)
                if not inside.size:
                    break
                box.append(slice(int(inside[0]), int(inside[-1]) + 1))
                fine = (np.arange(subsamples) + 0.5) / subsamples - 0.5
                points.append((positions[box[-1], None] + step * fine).ravel())
            else:
                covered = shape.contains(*np.ix_(*points))
                blocks = [n for p in points for n in (len(p) // subsamples, subsamples)]
                mean = covered.reshape(blocks).mean(axis=tuple(range(1, 2 * self.ndim, 2)))
                image[tuple(box)] += shape.value * mean
        return image

    def kspace(self, frequency: Array) -> NDArray[np.complex128]:
        """Fourier integral at ``(..., ndim)`` cycles per mm, in value times mm^ndim."""
        self._require_ndim("frequency", np.shape(frequency)[-1])
        total = np.zeros(np.shape(frequency)[:-1], dtype=np.complex128)
        for shape in self.shapes:
            total += shape.kspace(frequency)
        return total

    def line_integrals(self, geometry: Geometry) -> Array:
        """Line integrals along the rays through the detector pixels' centres, `geometry.shape`."""
        self._require_ndim("geometry", geometry.ndim)
        point, direction = rays(geometry)
        total = np.empty(geometry.shape)
        chords(
            point.reshape(-1, self.ndim),
            direction.reshape(-1, self.ndim),
            np.array([shape.center for shape in self.shapes]),
            np.array([shape.to_unit_ball for shape in self.shapes]),
            np.array([shape.value for shape in self.shapes]),
            total.reshape(-1),
        )
        return total

    def _require_ndim(self, name: str, ndim: int) -> None:
        if ndim != self.ndim:
            raise ValueError(f"{self} has {self.ndim} dimensions, the {name} has {ndim}")

    def __repr__(self) -> str:
        size = " x ".join(f"{e:.4g}" for e in self.extent)
        return f"{type(self).__name__}({self.name}, {len(self.shapes)} shapes, {size} mm)"


class EllipsePhantom(_Phantom[Ellipse]):
    """A 2D phantom: a `name` and a tuple of `Ellipse` shapes that add up."""

    ndim = 2


class EllipsoidPhantom(_Phantom[Ellipsoid]):
    """A 3D phantom: a `name` and a tuple of `Ellipsoid` shapes that add up."""

    ndim = 3


def mr_grid(shape: Sequence[int], field_of_view: Sequence[float]) -> VolumeGrid:
    """Return the grid of an MR image: index N//2 of each axis at the origin.

    Parameters
    ----------
    shape
        ``([nz,] ny, nx)``.
    field_of_view
        Extent in mm, in axis order.
    """
    if len(shape) != len(field_of_view):
        raise ValueError(f"matrix {tuple(shape)} and field of view {tuple(field_of_view)} differ")
    spacing = tuple(f / n for n, f in zip(shape, field_of_view, strict=True))
    center = tuple(((n - 1) / 2 - n // 2) * d for n, d in zip(shape, spacing, strict=True))
    return VolumeGrid(tuple(shape), spacing, center)


def _squared_norm(vector: Sequence[Array]) -> Array:
    return np.asarray(sum(v * v for v in vector))
