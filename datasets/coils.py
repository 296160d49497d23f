"""Coil sensitivities as short Fourier series, so that coil k-space of a phantom is exact.

A map ``c(r) = sum_m a_m exp(2 pi i m . r / L)`` of period L turns the phantom's k-space F into the
finite sum ``sum_m a_m F(k - m / L)``. L is twice the field of view: inside it the maps need not
be periodic, and the shifts fall between the samples of a Cartesian grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..kernels.ct.geometry import VolumeGrid
from .ellipses import EllipsePhantom, EllipsoidPhantom

Complex = NDArray[np.complex128]

_ORDER = 2  # highest harmonic a map holds: fits a birdcage to 3 %, its root sum of squares to 1 %


@dataclass(frozen=True, eq=False, repr=False)
class CoilSeries:
    """Sensitivities of a receive array as Fourier series of period 2 x field of view.

    Parameters
    ----------
    coefficients
        ``(coil, [mz,] my, mx)``, complex; each harmonic axis runs from -order to order.
    field_of_view
        Extent in mm, in axis order.
    """

    coefficients: Complex
    field_of_view: tuple[float, ...]

    def __post_init__(self) -> None:
        coefficients = np.array(self.coefficients, dtype=np.complex128)
        if coefficients.ndim != len(self.field_of_view) + 1 or any(
            n % 2 == 0 for n in coefficients.shape[1:]
        ):
            raise ValueError(
                f"coefficients must be (coil, [mz,] my, mx) with odd numbers of harmonics for "
                f"{len(self.field_of_view)} axes, got shape {coefficients.shape}"
            )
        coefficients.flags.writeable = False
        object.__setattr__(self, "coefficients", coefficients)

    @property
    def coils(self) -> int:
        """Number of receive channels."""
        return len(self.coefficients)

    @property
    def orders(self) -> tuple[int, ...]:
        """Highest harmonic along each axis."""
        return tuple(n // 2 for n in self.coefficients.shape[1:])

    def maps(self, volume: VolumeGrid) -> Complex:
        """Sensitivities at the voxel centres, ``(coil, [nz,] ny, nx)``."""
        maps = self.coefficients
        for axis, (order, extent) in enumerate(zip(self.orders, self.field_of_view, strict=True)):
            wave = harmonics(order, volume.positions(axis) / extent)
            maps = np.tensordot(maps, wave, axes=(1, 1))  # pixels come last, axis by axis
        return maps

    def kspace(
        self, phantom: EllipsePhantom | EllipsoidPhantom, frequency: NDArray[np.float64]
    ) -> Complex:
        """Fourier integral of phantom times sensitivity, ``(coil, ...)``.

        Parameters
        ----------
        phantom
            With as many dimensions as the maps.
        frequency
            ``(..., ndim)`` in cycles per mm, in axis order.
        """
        step = 1 / (2 * np.array(self.field_of_view))
        total = np.zeros((self.coils, *frequency.shape[:-1]), dtype=np.complex128)
        for weights, harmonic in self._terms():
            total += np.multiply.outer(
                weights, phantom.kspace(frequency - step * np.array(harmonic))
            )
        return total

    def cartesian_kspace(
        self, phantom: EllipsePhantom | EllipsoidPhantom, shape: Sequence[int]
    ) -> Complex:
        """`kspace` on the grid of the field of view, ``(coil, [kz,] ky, kx)``, N//2 the centre.

        All shifts lie on a grid of half the step: 4 (8 in 3D) values a sample instead of one a
        harmonic.
        """
        steps = [
            (np.arange(2 * n - 1 + 2 * order) - 2 * (n // 2) - order) / (2 * extent)
            for n, order, extent in zip(shape, self.orders, self.field_of_view, strict=True)
        ]
        fine = phantom.kspace(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1))
        total = np.zeros((self.coils, *shape), dtype=np.complex128)
        for weights, harmonic in self._terms():
            first = zip(self.orders, harmonic, shape, strict=True)
            shifted = fine[tuple(slice(o - h, o - h + 2 * n - 1, 2) for o, h, n in first)]
            total += np.multiply.outer(weights, shifted)
        return total

    def _terms(self) -> Iterator[tuple[Complex, tuple[int, ...]]]:
        """Weight of each harmonic in every coil, ``(coil,)``, and the harmonic."""
        weights = self.coefficients.reshape(self.coils, -1).T
        harmonics = product(*(range(-order, order + 1) for order in self.orders))
        return zip(weights, harmonics, strict=True)

    def __repr__(self) -> str:
        size = " x ".join(f"{f:g}" for f in self.field_of_view)
        return f"CoilSeries({self.coils} coils, field of view {size} mm)"


def birdcage(coils: int, field_of_view: Sequence[float]) -> CoilSeries:
    """Birdcage array around the field of view, normalised to a root sum of squares of 1.

    Fitted to `sigpy.mri.birdcage_maps`; inside the inscribed ellipse the root sum of squares is
    1 to 1 % (0.3 % rms). One coil is uniform.

    Parameters
    ----------
    coils
        Number of receive channels; in 3D eight a ring.
    field_of_view
        Extent in mm, in axis order.
    """
    from sigpy.mri import birdcage_maps

    if coils < 1:
        raise ValueError(f"coils must be at least 1, got {coils}")
    ndim = len(field_of_view)
    if coils == 1:
        return CoilSeries(np.ones((1,) * (ndim + 1), dtype=np.complex128), tuple(field_of_view))
    n = 24 if ndim == 2 else 12
    target = birdcage_maps((coils, *(n,) * ndim)).reshape(coils, -1)
    axis = (np.arange(n) - n / 2) / n  # in fields of view, as birdcage_maps has them
    wave = waves = harmonics(_ORDER, axis)
    for _ in range(ndim - 1):
        waves = np.asarray(np.kron(waves, wave))
    radius = np.sqrt(sum(x**2 for x in np.meshgrid(*(axis,) * ndim))).ravel()
    weight = np.where(radius < 0.5, 1.0, 0.2)[:, None]  # the corners are mostly empty
    fitted = np.linalg.lstsq(weight * waves, weight * target.T, rcond=1e-6)[0]
    coefficients = np.asarray(fitted.T, dtype=np.complex128)
    shape = (coils, *(2 * _ORDER + 1,) * ndim)
    return CoilSeries(coefficients.reshape(shape), tuple(field_of_view))


def harmonics(order: int, position: NDArray[np.float64]) -> Complex:
    """``exp(i pi m x)`` for positions in fields of view, ``(position, harmonic)``."""
    phase = np.pi * np.multiply.outer(position, np.arange(-order, order + 1))
    return np.asarray(np.exp(1j * phase), dtype=np.complex128)
