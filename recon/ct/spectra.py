"""X-ray spectra: of tungsten tubes, behind filters, as a detector weighs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from ..extras import extra_library
from .materials import attenuation, energy_absorption

Array = NDArray[np.float64]
Detector = Literal["integrating", "counting"]

# A clinical tube: inherent and fixed filtration, in mm.
FILTRATION: Mapping[str, float] = {"Al": 6.0}
ANODE_ANGLE = 8.0  # degrees


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Photons of each energy that leave the tube; the fluence is scaled to add up to one.

    Parameters
    ----------
    energies
        Centres of the energy bins in keV, growing, ``(energy,)``.
    fluence
        Photons in each bin, in any unit, ``(energy,)``.

    Raises
    ------
    ValueError
        Shapes that differ, energies that do not grow, fluence that is negative, NaN, or adds up to
        nothing.
    """

    energies: Array
    fluence: Array

    def __post_init__(self) -> None:
        energy, fluence = (np.array(a, dtype=np.float64) for a in (self.energies, self.fluence))
        if energy.ndim != 1 or energy.shape != fluence.shape or not energy.size:
            raise ValueError(
                f"a spectrum is (energy,) keV and (energy,) photons, got shapes {energy.shape} and "
                f"{fluence.shape}"
            )
        if not (np.isfinite(energy).all() and energy[0] > 0 and (np.diff(energy) > 0).all()):
            raise ValueError("the energies of a spectrum must be positive keV and grow")
        if not np.isfinite(fluence).all() or fluence.min() < 0:
            raise ValueError("the fluence of a spectrum must be finite and not negative")
        if not fluence.sum() > 0:
            raise ValueError("the fluence of a spectrum adds up to nothing: no photons")
        kept = fluence > 0
        for name, value in (("energies", energy), ("fluence", fluence / fluence.sum())):
            object.__setattr__(self, name, value[kept])

    def __repr__(self) -> str:
        low, high = self.energies[[0, -1]]
        return (
            f"Spectrum({len(self.energies)} energies from {low:g} to {high:g} keV, "
            f"mean {self.mean_energy:.1f} keV)"
        )

    @property
    def mean_energy(self) -> float:
        """In keV."""
        return float(self.energies @ self.fluence)

    def weights(self, detector: Detector = "integrating") -> Array:
        """Share of each energy in the signal without object, ``(energy,)``; they add up to one."""
        if detector not in ("integrating", "counting"):
            raise ValueError(f'detector must be "integrating" or "counting", got {detector!r}')
        response = self.fluence * (self.energies if detector == "integrating" else 1.0)
        return np.asarray(response / response.sum())

    def effective_energy(
        self, material: str = "water", detector: Detector = "integrating"
    ) -> float:
        """Energy in keV whose attenuation thin layers of a material have."""
        mean = self.weights(detector) @ attenuation(material, self.energies)
        low, high = self.energies[0], self.energies[-1]
        if low == high:
            return float(low)
        return float(brentq(lambda e: float(attenuation(material, e)) - mean, low, high))

    def half_value_layer(self, material: str = "Al") -> float:
        """Thickness in mm that halves the air kerma: the energy that air absorbs."""
        air = self.fluence * self.energies * energy_absorption("air", self.energies)
        mu = attenuation(material, self.energies)
        return float(brentq(lambda t: air @ np.exp(-mu * t) - air.sum() / 2, 0, 10 / mu.min()))

    def behind(self, filters: Mapping[str, float]) -> Spectrum:
        """The spectrum behind layers of materials in mm."""
        return Spectrum(self.energies, self.fluence * _through(filters, self.energies))

    def absorbed(self, material: str, thickness: float, density: float | None = None) -> Spectrum:
        """What a layer in mm absorbs of it, such as a scintillator."""
        mu = attenuation(material, self.energies, density=density)
        return Spectrum(self.energies, self.fluence * -np.expm1(-mu * thickness))

    def line_integrals(
        self, paths: Mapping[str, Tensor], detector: Detector = "integrating"
    ) -> Tensor:
        """Noiseless polychromatic line integrals: ``-log`` of the signal over the bare beam's.

        Parameters
        ----------
        paths
            Path lengths in mm in each material, broadcasting together.
        detector
            ``"integrating"`` weighs photons by their energy, ``"counting"`` does not.

        Returns
        -------
        Tensor
            Without unit, shaped as the paths, float64.
        """
        signal: Tensor | float = 0.0
        weights = self.weights(detector)
        for weight, part in zip(weights, self.each_energy(paths), strict=True):
            signal = signal + float(weight) * torch.exp(-part)
        return -torch.log(torch.as_tensor(signal))

    def each_energy(self, paths: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Line integrals of one energy after the other; all at once would fill the memory."""
        home = device_of(paths)
        lengths = [torch.as_tensor(path, device=home).double() for path in paths.values()]
        coefficients = np.array([attenuation(material, self.energies) for material in paths])
        for mu in coefficients.T:
            parts = [float(m) * length for m, length in zip(mu, lengths, strict=True)]
            yield sum(parts[1:], parts[0])


def device_of(paths: Mapping[str, Tensor]) -> torch.device:
    """Where path lengths of materials meet: on the card, if one of them is there."""
    if not paths:
        raise ValueError("paths names no material: expected {material: path lengths in mm}")
    devices = [torch.as_tensor(path).device for path in paths.values()]
    return next((d for d in devices if d.type != "cpu"), devices[0])


def tube_spectrum(
    kvp: float,
    filtration: Mapping[str, float] = FILTRATION,
    *,
    anode_angle: float = ANODE_ANGLE,
    step: float = 1.0,
) -> Spectrum:
    """Spectrum of a tungsten tube by SpekPy's model of electrons in the anode (casim).

    Parameters
    ----------
    kvp
        Tube voltage, 20 to 300 kV.
    filtration
        Thickness in mm of each filter. Default: 6 mm aluminium, a clinical scanner's.
    anode_angle
        In degrees.
    step
        Width of the energy bins in keV.

    Raises
    ------
    ValueError
        A voltage, angle or step out of range, filters that are unknown.
    ImportError
        No spekpy.

    References
    ----------
    G. Poludniowski et al., Med Phys 48, 3630 (2021); A. Omar et al., Med Phys 47, 4763 (2020).
    """
    if not 20 <= kvp <= 300:
        raise ValueError(f"the tube voltage must lie between 20 and 300 kVp, got {kvp:g}")
    if not (1 <= anode_angle <= 45 and 0.1 <= step <= 5):
        raise ValueError(
            "expected an anode angle of 1° to 45° and a step of 0.1 to 5 keV, got "
            f"{anode_angle:g}° and {step:g} keV"
        )
    tube = extra_library("spekpy", "spectra").Spek(
        kvp=float(kvp), th=float(anode_angle), dk=float(step)
    )
    energies, fluence = tube.get_spectrum(flu=True, diff=False)
    return Spectrum(energies, fluence).behind(filtration)


def read_spectrum(path: str | PathLike[str]) -> Spectrum:
    """Read a table of keV and photons: two columns, separated by commas, semicolons or blanks.

    Lines that do not start with a number are passed over.

    Raises
    ------
    ValueError
        A file that holds no such table; see `Spectrum`.
    """
    rows = []
    for line in Path(path).read_text().splitlines():
        words = line.replace(",", " ").replace(";", " ").split()
        try:
            rows.append([float(word) for word in words[:2]])
        except ValueError:
            continue
    table = [row for row in rows if len(row) == 2]
    if not table:
        raise ValueError(f"{path}: no table of keV and photons")
    try:
        return Spectrum(*np.array(table).T)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _through(filters: Mapping[str, float], energies: Array) -> Array:
    """Share of the photons that layers in mm let through, ``(energy,)``."""
    for material, thickness in filters.items():
        if not (np.isfinite(thickness) and thickness >= 0):
            raise ValueError(f"filter {material} must be 0 mm or more, got {thickness}")
    depth = [t * attenuation(material, energies) for material, t in filters.items()]
    return np.exp(-np.sum(depth, axis=0)) if depth else np.ones_like(energies)
