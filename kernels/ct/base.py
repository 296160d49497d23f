"""The grid of an image, the base of all geometries, and the checks of their values."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class VolumeGrid:
    """The grid of an image: ``shape``, ``spacing`` and ``center`` in axis order ([z,] y, x).

    Parameters
    ----------
    shape
        ``(ny, nx)`` or ``(nz, ny, nx)``.
    spacing
        Voxel size in mm, a number or one value an axis.
    center
        Position of the middle of the grid in mm.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] = (1.0,)
    center: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if np.ndim(self.shape) != 1 or len(self.shape) not in (2, 3):
            raise ValueError(f"a volume has shape (ny, nx) or (nz, ny, nx), got {self.shape!r}")
        shape = tuple(checked_count("each size of a volume", n) for n in self.shape)
        spacing = _per_axis("spacing", self.spacing, len(shape))
        for value in spacing:
            checked_length("volume spacing", value)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "center", _per_axis("center", self.center, len(shape)))

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def extent(self) -> tuple[float, ...]:
        """Size of the grid in mm, from outer edge to outer edge."""
        return tuple(n * d for n, d in zip(self.shape, self.spacing, strict=True))

    def positions(self, axis: int) -> Array:
        """Coordinates in mm of the voxel centres along one axis (counted as in `shape`)."""
        n = self.shape[axis]
        return np.asarray((np.arange(n) - (n - 1) / 2) * self.spacing[axis] + self.center[axis])

    def __repr__(self) -> str:
        center = f", centre {_times(self.center)} mm" if any(self.center) else ""
        return f"VolumeGrid({_times(self.shape)}, {_times(self.spacing)} mm{center})"


@dataclass(frozen=True, eq=False, repr=False)
class Geometry:
    """Base of all geometries: frozen values that compare by content and slice by view.

    Pixel (j, i) lies at x, y that grow with i, j. At view angle t the columns of the detector grow
    along (cos t, sin t), the central ray runs along (-sin t, cos t), and the source of a fan or
    cone stands at source_to_isocenter * (sin t, -cos t): at angle 0 below the image, turning
    counter-clockwise where y points up. Rows grow along z. A positive offset shifts the detector
    along its own columns or rows.
    """

    _per_view: ClassVar[tuple[str, ...]] = ("angles",)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sinogram: ``(view, column)`` or ``(view, row, column)``."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Dimensions of the image: 2 or 3."""
        return len(self.shape)

    def default_volume(self) -> VolumeGrid:
        """Return a grid over all that some ray sees, at the detector's pitch at the isocentre."""
        raise NotImplementedError

    def to_astra(self) -> dict[str, Any]:
        """Return the ASTRA toolbox's dictionary of this geometry, by vectors; see `from_astra`.

        ASTRA's first image row lies at the largest y: give it ``image[::-1]``.
        """
        from .astra import to_astra

        return to_astra(self)

    def plot(self, volume: VolumeGrid | None = None, view: int = 0) -> Any:
        """Draw orbit, detector, rays and the image's grid; returns a matplotlib Figure."""
        from .picture import draw

        return draw(self, volume, view)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, views: int | slice | ArrayLike) -> Self:
        """Keep some views: ``geometry[::8]``, an index array or a mask."""
        index = views if isinstance(views, slice) else np.atleast_1d(np.asarray(views))
        kept = {name: frozen_array(name, getattr(self, name)[index]) for name in self._per_view}
        if not all(map(len, kept.values())):
            raise ValueError(f"no view is left of {len(self)}")
        result = copy.copy(self)  # its values were checked: a subset needs no second look
        set_fields(result, **kept)
        return result

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self.__dict__.update(state)

    def _key(self) -> tuple[Any, ...]:
        values = [getattr(self, f.name) for f in dataclasses.fields(self)]
        return tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))


def set_fields(geometry: Geometry, **values: Any) -> None:
    """Set fields of a frozen geometry while it is being made."""
    for name, value in values.items():
        object.__setattr__(geometry, name, value)


def frozen_array(name: str, value: ArrayLike) -> Array:
    """Return a read-only float64 copy; raise on what holds no finite real numbers."""
    if getattr(value, "requires_grad", False):
        raise ValueError(f"{name} requires a gradient, which no geometry gives: detach() it")
    array = _floats(name, value)
    if not np.isfinite(array).all():
        raise ValueError(f"NaN or infinity in {name}")
    array.flags.writeable = False
    return array


def checked_count(name: str, value: Any) -> int:
    """Return a positive whole number or raise."""
    number = _number(name, value)
    if isinstance(value, bool) or not np.isfinite(number) or number != int(number) or number < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value}")
    return int(number)


def checked_length(name: str, value: Any) -> float:
    """Return a positive and finite number or raise."""
    number = _number(name, value)
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive mm, got {value}")
    return number


def checked_number(name: str, value: Any) -> float:
    """Return a finite number or raise."""
    number = _number(name, value)
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value}")
    return number


def checked_bytes(memory_limit: Any) -> int:
    """Return a memory limit or raise."""
    if isinstance(memory_limit, bool) or not isinstance(memory_limit, int | np.integer):
        raise TypeError(f"memory_limit is a whole number of bytes, got {memory_limit!r}")
    return int(memory_limit)


def _number(name: str, value: Any) -> float:
    array = _floats(name, value)
    if array.ndim:
        raise ValueError(
            f"{name} must be one number for all views, got an array of shape {array.shape}: "
            "ModularBeam takes source and detector view by view"
        )
    return float(array)


def _floats(name: str, value: Any) -> Array:
    """A copy in float64 of what holds real numbers."""
    try:
        array = np.array(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
    except (TypeError, ValueError):  # ragged lists too
        raise TypeError(f"{name} must be real numbers, got {value!r:.100}") from None
    return array.astype(np.float64)


def _per_axis(name: str, value: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    values = tuple(float(v) for v in np.atleast_1d(_floats(name, value)))
    values = values * ndim if len(values) == 1 else values
    if len(values) != ndim or not np.isfinite(values).all():
        raise ValueError(f"{name} of a {ndim}D volume needs {ndim} finite values, got {value}")
    return values


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{v:g}" for v in values)
