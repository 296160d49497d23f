"""Thermal noise of the receive coils: its covariance, and whitening by it."""

from __future__ import annotations

import torch
from torch import Tensor


def noise_covariance(noise: Tensor) -> Tensor:
    """Covariance between coils, ``(coil, coil)`` Hermitian, from noise-only samples.

    Parameters
    ----------
    noise
        Complex ``(coil, sample)``.

    Raises
    ------
    ValueError
        Fewer samples than coils, or a coil without noise.
    """
    if noise.ndim != 2 or not noise.is_complex() or noise.shape[1] <= noise.shape[0]:
        raise ValueError(
            "noise must be complex (coil, sample) with more samples than coils, "
            f"got {noise.dtype} {tuple(noise.shape)}"
        )
    centred = noise - noise.mean(1, keepdim=True)
    covariance = centred @ centred.mH / (noise.shape[1] - 1)
    dead = (covariance.diagonal().real <= 0).nonzero().flatten().tolist()
    if dead:
        raise ValueError(f"noise of coil {', '.join(map(str, dead))} is constant: a dead coil?")
    return covariance


def whiten(kspace: Tensor, noise: Tensor, *, ndim: int = 2) -> Tensor:
    """Mix coils so that their noise is uncorrelated with unit variance.

    Solves ``L y = k`` with the Cholesky factor ``L L^H`` of the covariance.

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, *samples)`` with `ndim` axes of samples.
    noise
        Noise-only samples ``(coil, sample)`` from the same receive chain.
    ndim
        Axes after the coil axis: 1 for trajectories, 2 or 3 for a matrix.

    Returns
    -------
    Tensor
        As `kspace`; the variance of one is that of complex samples, half of it in either part.

    Raises
    ------
    ValueError
        Noise of another number of coils, or what `noise_covariance` refuses.

    References
    ----------
    K. P. Pruessmann et al., Magn Reson Med 46, 638 (2001).
    """
    coils = kspace.shape[kspace.ndim - ndim - 1]
    if noise.shape[0] != coils:
        raise ValueError(
            f"kspace {tuple(kspace.shape)} has {coils} coils before its last {ndim} axes, "
            f"noise {tuple(noise.shape)} has {noise.shape[0]}"
        )
    factor = torch.linalg.cholesky(noise_covariance(noise)).to(kspace.dtype)
    flat = kspace.flatten(kspace.ndim - ndim)
    white: Tensor = torch.linalg.solve_triangular(factor, flat, upper=False)
    return white.reshape(kspace.shape)
