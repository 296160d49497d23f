"""Attenuation coefficients of materials, from xraylib's tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..extras import extra_library

_REST_ENERGY = 510.999  # keV, of an electron

# What CT calls a material, and NIST's name of the compound that xraylib tabulates.
_NIST = {
    "water": "Water, Liquid",
    "air": "Air, Dry (near sea level)",
    "bone": "Bone, Cortical (ICRP)",
    "soft tissue": "Tissue, Soft (ICRP)",
    "fat": "Adipose Tissue (ICRP)",
    "pmma": "Polymethyl Methacralate (Lucite, Perspex)",
    "polyethylene": "Polyethylene",
    "polystyrene": "Polystyrene",
    "teflon": "Polytetrafluoroethylene (Teflon)",
}


def attenuation(
    material: str, energies: ArrayLike, *, density: float | None = None
) -> NDArray[np.float64]:
    """Linear attenuation coefficients in 1/mm: photoelectric, coherent and incoherent.

    Parameters
    ----------
    material
        A name such as ``"water"``, ``"bone"``, ``"pmma"``, one of NIST's compounds, an element
        (``"Al"``, ``"Fe"``) or a formula (``"Gd2O2S"``).
    energies
        Photon energies in keV, from 1 to 800, any shape.
    density
        In g/cm^3. Default: NIST's; formulas of several elements have none.

    Raises
    ------
    ValueError
        An unknown material, a formula without density, energies outside the tables.
    ImportError
        No xraylib.

    References
    ----------
    T. Schoonjans et al., Spectrochim Acta B 66, 776 (2011).
    """
    xraylib, name, energy = _looked_up(material, energies)
    density = _density(xraylib, name) if density is None else density
    if not density > 0:
        raise ValueError(f"density must be positive g/cm^3, got {density}")
    mass = np.array([xraylib.CS_Total_CP(name, float(e)) for e in energy.ravel()])
    return np.asarray(0.1 * density * mass.reshape(energy.shape))


def energy_absorption(material: str, energies: ArrayLike) -> NDArray[np.float64]:
    """Mass energy-absorption coefficients in cm^2/g of light materials: photons to kerma.

    All that photoelectrons take, and what electrons take of Compton scattering on the mean, by
    Klein and Nishina's formula; fluorescence and bremsstrahlung that leave are not taken off. The
    arguments and errors are those of `attenuation`.
    """
    xraylib, name, energy = _looked_up(material, energies)
    photoelectric, compton = (
        np.array([cross_section(name, float(e)) for e in energy.ravel()]).reshape(energy.shape)
        for cross_section in (xraylib.CS_Photo_CP, xraylib.CS_Compt_CP)
    )
    return np.asarray(photoelectric + compton * _recoil(energy))


def _recoil(energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of a photon's energy that the electron takes on the mean in Compton scattering."""
    cosine, weight = np.polynomial.legendre.leggauss(32)
    kept = 1 / (1 + energies[..., None] / _REST_ENERGY * (1 - cosine))
    likely = weight * kept**2 * (kept + 1 / kept - 1 + cosine**2)
    return np.asarray((likely * (1 - kept)).sum(-1) / likely.sum(-1))


def _looked_up(material: str, energies: ArrayLike) -> tuple[Any, str, NDArray[np.float64]]:
    """The library, its name of the material, and the energies."""
    xraylib = extra_library("xraylib", "spectra")
    energy = np.asarray(energies, dtype=np.float64)
    if energy.size and not (energy.min() >= 1 and energy.max() <= 800):
        raise ValueError(
            f"energies must lie in 1 to 800 keV, got {energy.min():g} to {energy.max():g}"
        )
    return xraylib, _NIST.get(material.lower(), material), energy


def _density(xraylib: Any, name: str) -> float:
    if name in xraylib.GetCompoundDataNISTList():
        return float(xraylib.GetCompoundDataNISTByName(name)["density"])
    try:
        elements = xraylib.CompoundParser(name)["Elements"]
    except ValueError as error:
        known = ", ".join(_NIST)
        raise ValueError(
            f"unknown material {name!r}: expected one of {known}, a compound of NIST's list, or a "
            "chemical formula"
        ) from error
    if len(elements) > 1:
        raise ValueError(f"a formula such as {name!r} needs its density in g/cm^3")
    return float(xraylib.ElementDensity(elements[0]))
