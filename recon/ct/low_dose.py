"""Low-dose insertion: what a scan would have measured with less tube current."""

from __future__ import annotations

import torch
from torch import Tensor

from .noise import checked_level, generator_of
from .starvation import photon_integrals


def thin_counts(
    counts: Tensor,
    dose: float | Tensor,
    *,
    electronic_noise: float = 0.0,
    seed: int | torch.Generator = 0,
) -> Tensor:
    """Readings at a share of the dose, made of the readings themselves.

    Each photon is kept with probability `dose`. Thinned Poisson counts are Poisson counts: mean and
    variance are those of a scan at that dose, and the noise that the scan had is in them. The
    electronic noise does not shrink with the dose, so that what thinning took of it is added.

    Parameters
    ----------
    counts
        Readings less the dark scan in photons, ``(*batch, view, [row,] column)``.
    dose
        Share of the dose in (0, 1]: a number, or what broadcasts to the counts, such as
        ``(view, 1)`` for a modulated current.
    electronic_noise
        Standard deviation in photons, which the readings have already.
    seed
        A seed or a generator.

    Returns
    -------
    Tensor
        Readings in photons, shaped and typed as `counts`.

    Raises
    ------
    ValueError
        A dose outside (0, 1], negative electronic noise, NaN.

    References
    ----------
    S. Zabic et al., Med Phys 40, 031102 (2013); L. Yu et al., J Comput Assist Tomogr 36, 477
    (2012).
    """
    counts = torch.as_tensor(counts)
    if electronic_noise < 0:
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}")
    if not bool(torch.isfinite(counts).all()):
        raise ValueError("counts hold NaN or infinity")
    share = checked_level("dose", dose, counts)
    if float(share.max()) > 1:
        raise ValueError(
            f"dose must be a share of the scan's, at most 1, got {float(share.max()):g}: noise "
            "cannot be taken away"
        )
    generator = generator_of(seed, counts)
    reading = counts.double()
    whole = reading.round().clamp_min(0)
    share = share.expand(reading.shape)
    kept = torch.binomial(whole, share.contiguous(), generator=generator)
    thinned = kept + share * (reading - whole)
    if electronic_noise:
        lost = electronic_noise * (1 - share.square()).sqrt()
        noise = torch.randn(
            reading.shape, dtype=reading.dtype, device=reading.device, generator=generator
        )
        thinned = thinned + lost * noise
    return thinned.to(counts.dtype)


def lower_dose(
    sinogram: Tensor,
    photons: float | Tensor,
    dose: float | Tensor,
    *,
    electronic_noise: float = 0.0,
    seed: int | torch.Generator = 0,
) -> Tensor:
    """Line integrals of a scan as they would be at a share of its dose.

    Parameters
    ----------
    sinogram
        Line integrals of the scan with its noise, ``(*batch, view, [row,] column)``.
    photons
        Noise-equivalent photons a reading without object at the scan's own dose: a number, or what
        broadcasts to the sinogram, such as ``(column,)`` behind a bow-tie filter. One over the
        variance of the line integrals in air, or `detector_gain` tells them.
    dose, electronic_noise, seed
        As `thin_counts`.

    Returns
    -------
    Tensor
        Line integrals, shaped and typed as the sinogram; rays with few photons are treated as
        `line_integrals` does.

    Raises
    ------
    ValueError
        As `thin_counts`; photons that are not positive.
    """
    sinogram = torch.as_tensor(sinogram)
    level = checked_level("photons", photons, sinogram)
    counts = level * torch.exp(-sinogram.double())
    thinned = thin_counts(counts, dose, electronic_noise=electronic_noise, seed=seed)
    level = (level * checked_level("dose", dose, sinogram)).expand(sinogram.shape)
    axes = min(sinogram.ndim, 2)
    return photon_integrals(thinned, level, electronic_noise, axes).to(sinogram.dtype)
