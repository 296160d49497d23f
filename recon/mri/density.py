"""Density compensation of non-Cartesian samples, and gridding with it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import NonUniformFourier


def density_compensation(
    trajectory: Tensor, image_shape: tuple[int, ...], *, iterations: int = 40
) -> Tensor:
    """Weights ``(*batch, sample)`` that make ``A^H W A`` close to the identity.

    Each weight is the part of k-space that its sample stands for, in cells of the image's own
    Cartesian grid: one on a fully sampled grid. Pipe and Menon's iteration ``w / (K w)``, where
    the convolution K has the Fourier transform of a triangle over the field of view: positive,
    about one cell wide, and applied by the transform itself.

    Parameters
    ----------
    trajectory
        ``(*batch, sample, ndim)`` in cycles per pixel in [-0.5, 0.5).
    image_shape
        ``([z,] y, x)``.
    iterations
        Number of corrections.

    Returns
    -------
    Tensor
        ``(*batch, sample)``, real, of the trajectory's precision.

    References
    ----------
    J. G. Pipe, P. Menon, Magn Reson Med 41, 179 (1999).
    """
    encoding = NonUniformFourier(trajectory, tuple(image_shape))
    window = torch.ones((), dtype=trajectory.dtype, device=trajectory.device)
    for n in image_shape:
        distance = torch.arange(n, device=trajectory.device).sub(n // 2).abs().to(window)
        window = window[..., None] * (1 - distance / (n // 2 + 1))
    weights = torch.ones(trajectory.shape[:-1], dtype=trajectory.dtype, device=trajectory.device)
    with torch.no_grad():
        for _ in range(iterations):
            spread = encoding(window * encoding.adjoint(weights + 0j)).real
            # Accuracy ends near the tolerance of the transform: keep the quotient finite.
            weights = weights / spread.clamp_min(1e-3 * float(spread.max()))
    return weights


def gridding(
    kspace: Tensor,
    trajectory: Tensor | NonUniformFourier,
    image_shape: tuple[int, ...],
    density: Tensor | None = None,
) -> Tensor:
    """Coil images from non-Cartesian samples: the density-compensated adjoint.

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, sample)``.
    trajectory
        ``(*batch, sample, ndim)``, or one for all ``(sample, ndim)``; or its transform.
    image_shape
        ``([z,] y, x)``.
    density
        Weights ``(*batch, sample)`` or ``(sample,)``; default: `density_compensation`.

    Returns
    -------
    Tensor
        Complex ``(*batch, coil, [z,] y, x)``.

    Raises
    ------
    ValueError
        Weights for another number of samples.

    References
    ----------
    J. I. Jackson et al., IEEE Trans Med Imaging 10, 473 (1991).
    """
    encoding = trajectory
    if not isinstance(encoding, NonUniformFourier):
        encoding = NonUniformFourier(encoding, tuple(image_shape))
    if density is None:
        density = density_compensation(encoding.trajectory, image_shape)
    if density.shape[-1] != kspace.shape[-1]:
        raise ValueError(
            f"density {tuple(density.shape)} and kspace {tuple(kspace.shape)} differ in samples"
        )
    return encoding.adjoint(kspace * density.to(kspace.real.dtype).unsqueeze(-2))
