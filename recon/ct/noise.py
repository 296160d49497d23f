"""Noise of photon counting and of the electronics, for a stated dose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..arrays import NORMAL_QUARTILE
from .corrections import reference_reading
from .spectra import Detector, Spectrum, device_of


def simulate_counts(
    sinogram: Tensor | Mapping[str, Tensor],
    photons: float | Tensor | None = None,
    *,
    blank: float | Tensor | None = None,
    dose: float | Tensor = 1.0,
    electronic_noise: float = 0.0,
    spectrum: Spectrum | None = None,
    detector: Detector = "integrating",
    seed: int | torch.Generator = 0,
) -> Tensor:
    """Detector readings of a scan: Poisson photon counts plus Gaussian electronic noise.

    The reading of a ray with line integral p is ``Poisson(dose * photons * exp(-p)) + N(0, s^2)``,
    so that its variance is its mean plus s^2. Photons are proportional to tube current times
    exposure time: a scan simulated at a quarter of the mAs has ``dose=0.25``. The readout noise
    does not depend on the dose, which is why it matters at low dose.

    With a spectrum, photons of each energy are drawn behind the materials on their way, a bow-tie
    filter among them; an integrating detector adds up their energies, so that its noise exceeds
    that of as many photons of one energy.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``, without unit. With a spectrum, path
        lengths in mm of each material, ``{"water": w, "bone": b}``, which broadcast together.
    photons
        Mean photons a reading without object at dose 1: a number, or what broadcasts to the
        sinogram, such as one value a column behind a bow-tie filter.
    blank
        Instead of `photons`: a measured blank scan in photons, ``(column,)``, ``(row, column)`` or
        frames of them, which are averaged.
    dose
        Tube current relative to that of `photons` or `blank`: a number, or what broadcasts to the
        sinogram, such as ``(view, 1)`` for a modulated current.
    electronic_noise
        Standard deviation in photons; readings below zero then occur.
    spectrum
        What leaves the tube. Default: photons of one energy.
    detector
        With a spectrum: ``"integrating"`` (readings in photons of its mean energy) or
        ``"counting"``.
    seed
        A seed or a generator.

    Returns
    -------
    Tensor
        Readings in photons, shaped and typed as the sinogram. Their line integrals are
        ``line_integrals(readings, dose * photons)``.

    Raises
    ------
    ValueError
        Photons or doses that are not positive or do not fit, negative electronic noise, NaN, path
        lengths without a spectrum.

    References
    ----------
    J. Nuyts et al., Phys Med Biol 58, R63 (2013); B. R. Whiting et al., Med Phys 33, 3290 (2006).
    """
    paths = sinogram if isinstance(sinogram, Mapping) else None
    if (paths is None) != (spectrum is None):
        raise ValueError(
            "a spectrum needs path lengths of materials, {material: mm}, and these a spectrum"
        )
    data = torch.as_tensor(sinogram) if paths is None else _total(paths)
    if electronic_noise < 0:
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}")
    if not data.is_floating_point():
        data = data.float()
    if not bool(torch.isfinite(data).all()):
        raise ValueError("sinogram holds NaN or infinity")
    if (photons is None) == (blank is None):
        raise ValueError("give photons (mean without object), or blank (a scan without object)")
    level = checked_level("dose", dose, data)
    if photons is not None:
        level = level * checked_level("photons", photons, data)
    else:
        level = level * checked_level("blank", reference_reading("blank", blank, data), data)
    generator = generator_of(seed, data)
    if paths is None or spectrum is None:
        parts: Iterator[tuple[float, float, Tensor]] = iter([(1.0, 1.0, data.double())])
    else:
        parts = _by_energy(paths, spectrum, detector)
    counts = torch.zeros(data.shape, dtype=torch.float64, device=data.device)
    for share, size, integrals in parts:
        expected = (share * level * torch.exp(-integrals)).expand(counts.shape)
        counts += size * torch.poisson(expected, generator=generator)
    if electronic_noise:
        noise = torch.randn(
            counts.shape, dtype=counts.dtype, device=counts.device, generator=generator
        )
        counts = counts + electronic_noise * noise
    return counts.to(data.dtype)


def apparent_photons(sinogram: Tensor) -> float:
    """Photons a reading without object that would explain the noise of line integrals.

    Counting makes the variance of a line integral p ``exp(p) / photons``. Second differences of
    neighbouring columns show it where the object is smooth; their median hardly minds edges.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``, three columns or more.

    Raises
    ------
    ValueError
        Fewer columns; negative line integrals and none above zero.
    """
    if sinogram.shape[-1] < 3:
        raise ValueError(f"needs three detector columns or more, got {tuple(sinogram.shape)}")
    if bool(sinogram.any()) and not bool((sinogram > 0).any()):  # zeros alone are a scan of air
        raise ValueError("no line integral is above zero: their noise tells of no photons")
    left, middle, right = sinogram[..., :-2], sinogram[..., 1:-1], sinogram[..., 2:]
    scaled = (left - 2 * middle + right) * torch.exp(-middle / 2)
    inside = middle > 0.05 * middle.max()
    object_only = scaled[inside] if bool(inside.any()) else scaled
    deviation = float(object_only.abs().median()) / (NORMAL_QUARTILE * 6**0.5)
    return 1 / max(deviation, 1e-6) ** 2


def _total(paths: Mapping[str, Tensor]) -> Tensor:
    """Path length in all materials: what their shapes broadcast to, and NaN in any of them."""
    home = device_of(paths)
    lengths = [torch.as_tensor(path, device=home) for path in paths.values()]
    return sum(lengths[1:], lengths[0])


def _by_energy(
    paths: Mapping[str, Tensor], spectrum: Spectrum, detector: Detector
) -> Iterator[tuple[float, float, Tensor]]:
    """Share of the photons of each energy, what one adds to the reading, and line integrals."""
    spectrum.weights(detector)  # refuses other detectors
    for energy, share, integrals in zip(
        spectrum.energies, spectrum.fluence, spectrum.each_energy(paths), strict=True
    ):
        size = float(energy) / spectrum.mean_energy if detector == "integrating" else 1.0
        yield float(share), size, integrals


def generator_of(seed: int | torch.Generator, data: Tensor) -> torch.Generator:
    """A generator on the device of the data."""
    if isinstance(seed, torch.Generator):
        return seed
    return torch.Generator(data.device).manual_seed(seed)


def checked_level(name: str, value: float | Tensor, sinogram: Tensor) -> Tensor:
    """Check a level that broadcasts to the sinogram; in float64."""
    level = torch.as_tensor(value, device=sinogram.device).double()
    if not bool((level > 0).all()) or not bool(torch.isfinite(level).all()):
        raise ValueError(f"{name} must be positive and finite, got from {float(level.min()):g}")
    try:
        level.expand(sinogram.shape)
    except RuntimeError as error:
        raise ValueError(
            f"{name} has shape {tuple(level.shape)}, which does not broadcast to the sinogram's "
            f"{tuple(sinogram.shape)}"
        ) from error
    return level
