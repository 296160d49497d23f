"""Noise of photon counting and of the electronics, for a stated dose."""

from __future__ import annotations

import torch
from torch import Tensor

from .corrections import line_integrals


def simulate_counts(
    sinogram: Tensor,
    photons: float | Tensor | None = None,
    *,
    blank: float | Tensor | None = None,
    dose: float | Tensor = 1.0,
    electronic_noise: float = 0.0,
    seed: int | torch.Generator = 0,
) -> Tensor:
    """Detector readings of a scan: Poisson photon counts plus Gaussian electronic noise.

    The reading of a ray with line integral p is ``Poisson(dose * photons * exp(-p)) + N(0, s^2)``,
    so that its variance is its mean plus s^2. Photons are proportional to tube current times
    exposure time: a scan simulated at a quarter of the mAs has ``dose=0.25``. The readout noise
    does not depend on the dose, which is why it matters at low dose.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``, without unit.
    photons
        Mean photons a reading without object at dose 1: a number, or what broadcasts to the
        sinogram, such as one value a column behind a bow-tie filter.
    blank
        Instead of `photons`: a measured blank scan in photons, frames ``(frame, [row,] column)`` at
        dose 1, of which the mean is taken.
    dose
        Tube current relative to that of `photons` or `blank`: a number, or ``(view,)`` for a
        modulated current.
    electronic_noise
        Standard deviation in photons; readings below zero then occur.
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
        Photons or doses that are not positive or do not fit, negative electronic noise, NaN.

    References
    ----------
    J. Nuyts et al., Phys Med Biol 58, R63 (2013).
    """
    sinogram = torch.as_tensor(sinogram)
    if electronic_noise < 0:
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}")
    if not bool(torch.isfinite(sinogram).all()):
        raise ValueError("sinogram holds NaN or infinity")
    level = _unattenuated(sinogram, photons, blank) * _per_view(dose, sinogram)
    generator = (
        seed
        if isinstance(seed, torch.Generator)
        else torch.Generator(sinogram.device).manual_seed(seed)
    )
    expected = (level * torch.exp(-sinogram.double())).expand(sinogram.shape)
    counts = torch.poisson(expected, generator=generator)
    if electronic_noise:
        noise = torch.randn(
            counts.shape, dtype=counts.dtype, device=counts.device, generator=generator
        )
        counts = counts + electronic_noise * noise
    return counts.to(sinogram.dtype)


def _unattenuated(
    sinogram: Tensor, photons: float | Tensor | None, blank: float | Tensor | None
) -> Tensor:
    """Mean photons without object at dose 1, float64, broadcasting to the sinogram."""
    if (photons is None) == (blank is None):
        raise ValueError("give photons (mean without object), or blank (a scan without object)")
    given = torch.as_tensor(photons if blank is None else blank, device=sinogram.device).double()
    name = "photons" if blank is None else "blank"
    if blank is not None and given.ndim > 1:
        given = given.mean(dim=0)
    if not bool((given > 0).all()) or not bool(torch.isfinite(given).all()):
        raise ValueError(f"{name} must be positive, got a minimum of {float(given.min()):g}")
    return _broadcastable(name, given, sinogram)


def _per_view(dose: float | Tensor, sinogram: Tensor) -> Tensor:
    """The dose, one value or one a view, broadcasting to the sinogram."""
    given = torch.as_tensor(dose, device=sinogram.device).double()
    if not bool((given > 0).all()) or not bool(torch.isfinite(given).all()):
        raise ValueError(f"dose must be positive, got a minimum of {float(given.min()):g}")
    if given.ndim == 1:
        views = [n for n in sinogram.shape[-3:-1] if n == len(given)]
        if len(views) != 1:
            raise ValueError(
                f"dose has {len(given)} values, expected one a view of {tuple(sinogram.shape)}"
            )
        rows = sinogram.ndim - 1 - list(sinogram.shape).index(len(given), max(sinogram.ndim - 3, 0))
        given = given.reshape(-1, *(1,) * rows)
    return _broadcastable("dose", given, sinogram)


def _broadcastable(name: str, given: Tensor, sinogram: Tensor) -> Tensor:
    try:
        given.expand(sinogram.shape)
    except RuntimeError as error:
        raise ValueError(
            f"{name} has shape {tuple(given.shape)}, which does not broadcast to the sinogram's "
            f"{tuple(sinogram.shape)}"
        ) from error
    return given
