"""Water beam-hardening correction: a polynomial that a spectrum gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .materials import attenuation
from .spectra import Detector, Spectrum

_POINTS = 200  # path lengths that the polynomial is fitted to


@dataclass(frozen=True, eq=False)
class WaterCorrection:
    """Turns polychromatic line integrals into those of one energy, for objects like water.

    Parameters
    ----------
    coefficients
        Of ``a1 p + a2 p^2 + ...``, ``(degree,)`` or one set a column, ``(column, degree)``.
    water
        Attenuation of water at that energy in 1/mm: what makes 0 HU afterwards.
    energy
        In keV.
    error
        Largest error of the fit, as a path length in mm of water.
    reach
        Path length in mm of water up to which it was fitted.
    limit
        Largest line integral that it was fitted to, one number or ``(column,)``.
    """

    coefficients: NDArray[np.float64]
    water: float
    energy: float
    error: float
    reach: float
    limit: NDArray[np.float64]

    def __call__(self, sinogram: Tensor) -> Tensor:
        """Correct line integrals ``(*batch, view, [row,] column)``.

        Beyond the fitted range the polynomial goes on as a straight line.

        Raises
        ------
        ValueError
            Another number of columns than the coefficients are for.
        """
        columns = self.coefficients.shape[:-1]
        if columns and columns != tuple(sinogram.shape[-1:]):
            raise ValueError(
                f"the correction is for {columns[0]} columns, the sinogram has "
                f"{tuple(sinogram.shape)}"
            )
        factors = torch.from_numpy(self.coefficients).to(sinogram).unbind(-1)
        inside = torch.minimum(sinogram, torch.from_numpy(self.limit).to(sinogram))
        value, slope = torch.zeros_like(inside), torch.zeros_like(inside)
        for factor in reversed(factors):
            value = value * inside + factor
        for order, factor in reversed(list(enumerate(factors, start=1))):
            slope = slope * inside + order * factor
        return value * inside + slope * (sinogram - inside)


def water_correction(
    spectrum: Spectrum,
    *,
    degree: int = 6,
    reach: float = 450.0,
    energy: float | None = None,
    detector: Detector = "integrating",
    bowtie: Mapping[str, Tensor] | None = None,
) -> WaterCorrection:
    """Polynomial that makes the line integrals of water proportional to its thickness.

    Bone hardens the beam more than water, which this leaves in the image.

    Parameters
    ----------
    spectrum
        What leaves the tube and its filters; see `tube_spectrum`, `read_spectrum`.
    degree
        Of the polynomial.
    reach
        Thickest water in mm.
    energy
        In keV, of the corrected line integrals. Default: the energy at which water attenuates as
        thin layers of it attenuate the spectrum: thin objects keep their values.
    detector
        ``"integrating"`` or ``"counting"``.
    bowtie
        Material and thickness ``(column,)`` in mm of a filter that was there in the blank scan too:
        each column then has a polynomial of its own.

    Raises
    ------
    ValueError
        A degree or reach out of range, a fit that misses by more than 1 % of the reach.

    References
    ----------
    G. T. Herman, Phys Med Biol 24, 81 (1979).
    """
    if not 1 <= degree <= 10 or not 10 <= reach <= 1000:
        raise ValueError(
            f"expected a degree of 1 to 10 and a reach of 10 to 1000 mm, got {degree} and {reach:g}"
        )
    energy = spectrum.effective_energy("water", detector) if energy is None else energy
    water = float(attenuation("water", energy))
    length = torch.linspace(0, reach, _POINTS + 1, dtype=torch.float64)[1:]
    paths: dict[str, Tensor] = {"water": length}
    shape = {m: thickness.double().cpu()[:, None] for m, thickness in (bowtie or {}).items()}
    for material, thickness in shape.items():
        paths[material] = paths.get(material, 0.0) + thickness
    blank = spectrum.line_integrals(shape, detector) if shape else 0.0
    measured = np.atleast_2d((spectrum.line_integrals(paths, detector) - blank).numpy())
    target = water * length.numpy()
    fits = np.array([_fit(p, target, degree) for p in measured])
    powers = measured[..., None] ** np.arange(1, degree + 1)
    error = float(np.abs((powers * fits[:, None]).sum(-1) - target).max()) / water
    if error > 0.01 * reach:
        raise ValueError(
            f"a polynomial of degree {degree} misses {error:.1f} mm of {reach:g} mm water: a "
            "higher degree, a shorter reach or a harder spectrum would do"
        )
    limit = measured.max(-1)
    if not bowtie:
        fits, limit = fits[0], limit[0]
    return WaterCorrection(fits, water, float(energy), error, reach, np.asarray(limit))


def _fit(
    measured: NDArray[np.float64], target: NDArray[np.float64], degree: int
) -> NDArray[np.float64]:
    """Least squares without a constant, thin and thick water alike."""
    scale = measured.max()
    powers = (measured[:, None] / scale) ** np.arange(1, degree + 1)
    found = np.linalg.lstsq(powers / target[:, None] ** 0.5, target**0.5, rcond=None)[0]
    return np.asarray(found / scale ** np.arange(1, degree + 1))
