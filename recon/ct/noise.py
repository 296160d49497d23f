"""Noise of photon counting and of the electronics."""

from __future__ import annotations

import torch
from torch import Tensor


def simulate_counts(
    sinogram: Tensor,
    photons: float | Tensor,
    *,
    seed: int | torch.Generator = 0,
    electronic_noise: float = 0.0,
) -> Tensor:
    """Detector readings of a scan: Poisson photon counts plus Gaussian electronic noise.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``.
    photons
        Mean photons a reading without object, a number or what broadcasts to the sinogram, such
        as one value a column behind a bow-tie filter.
    seed
        A seed or a generator.
    electronic_noise
        Standard deviation in photons; readings below zero then occur.

    Returns
    -------
    Tensor
        Readings in photons, shaped and typed as the sinogram.

    Raises
    ------
    ValueError
        Photons that are not positive, negative electronic noise, NaN.
    """
    sinogram = torch.as_tensor(sinogram)
    blank = torch.as_tensor(photons, dtype=sinogram.dtype, device=sinogram.device)
    if not bool((blank > 0).all()):
        raise ValueError(f"photons must be positive, got a minimum of {float(blank.min()):g}")
    if electronic_noise < 0:
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}")
    if not bool(torch.isfinite(sinogram).all()):
        raise ValueError("sinogram holds NaN or infinity")
    generator = (
        seed
        if isinstance(seed, torch.Generator)
        else torch.Generator(sinogram.device).manual_seed(seed)
    )
    expected = (blank.double() * torch.exp(-sinogram.double())).expand(sinogram.shape)
    counts = torch.poisson(expected, generator=generator)
    if electronic_noise:
        noise = torch.randn(
            counts.shape, dtype=counts.dtype, device=counts.device, generator=generator
        )
        counts = counts + electronic_noise * noise
    return counts.to(sinogram.dtype)
