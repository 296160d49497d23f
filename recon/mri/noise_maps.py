"""How much noise each pixel has: g-factors in closed form, and any method by pseudo replicas."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..operators.sampling import checked_mask

_CHUNK = 1 << 21  # entries of the coil-by-alias matrices held at once


def sense_g_factor(maps: Tensor, mask: Tensor, *, ndim: int = 2) -> Tensor:
    """Noise amplification of least-squares SENSE on a regular lattice of samples, exact.

    ``g = sqrt([E^H E]^-1_pp [E^H E]_pp)`` with the sensitivities E of the pixels that fold onto
    one another. The noise of the image is ``g sqrt(R)`` times that of the full scan.

    Parameters
    ----------
    maps
        Complex sensitivities for whitened coils ``(coil, [z,] y, x)``; a pixel where all are zero
        holds no object.
    mask
        Bool ``([kz,] ky, kx)``, axes of length 1 broadcast: a lattice (every second line, a
        CAIPIRINHA pattern) that fits the matrix a whole number of times, without a fully sampled
        centre.
    ndim
        Axes of space: 3 for volumes.

    Returns
    -------
    Tensor
        ``([z,] y, x)``, at least 1; 0 where the maps are.

    Raises
    ------
    ValueError
        Shapes that do not fit, a mask that is no lattice, more aliases than coils.

    References
    ----------
    K. P. Pruessmann et al., Magn Reson Med 42, 952 (1999).
    """
    if not maps.is_complex() or maps.ndim != ndim + 1:
        raise ValueError(
            f"maps must be complex (coil, [z,] y, x), got {maps.dtype} {tuple(maps.shape)}"
        )
    shape = tuple(maps.shape[1:])
    shifts = aliases(checked_mask(mask, shape, "the maps' axes").expand(shape))
    if shifts is None:
        raise ValueError(
            "the mask is no lattice that fits the matrix a whole number of times: "
            "use pseudo_replicas"
        )
    if len(shifts) > maps.shape[0]:
        raise ValueError(f"{len(shifts)} pixels fold onto each other in {maps.shape[0]} coils")
    axes = tuple(range(1, ndim + 1))
    folded = torch.stack([torch.roll(maps, tuple(s), axes) for s in shifts.tolist()])
    folded = folded.flatten(2).permute(2, 1, 0)  # (pixel, coil, alias)
    size = max(1, _CHUNK // (folded.shape[1] * folded.shape[2]))
    parts = (folded[first : first + size] for first in range(0, len(folded), size))
    g = torch.cat([_amplification(part.to(torch.complex128)) for part in parts])
    return g.reshape(shape).to(maps.real.dtype)


def aliases(mask: Tensor) -> Tensor | None:
    """Shifts ``(alias, ndim)`` in pixels, zero first, of the copies that a lattice folds together.

    None if the mask's point spread function is not that of a lattice.
    """
    axes = tuple(range(mask.ndim))
    spread = torch.fft.ifftn(torch.fft.ifftshift(mask, dim=axes).double(), dim=axes).abs()
    if not float(spread.max()):
        return None
    spread = spread / spread.flatten()[0]
    peaks = spread > 0.5
    # All copies as strong as the image itself, and nothing between them.
    if not bool(((spread[peaks] - 1).abs() < 1e-6).all() and (spread[~peaks] < 1e-6).all()):
        return None
    shifts: Tensor = peaks.nonzero()
    return shifts


def _amplification(E: Tensor) -> Tensor:
    """The factor of the first alias of each pixel, from its sensitivities (pixel, coil, alias)."""
    gram = E.mH @ E
    power = gram.diagonal(dim1=1, dim2=2).real
    largest = power.amax(1, keepdim=True)
    empty = power <= 1e-12 * largest  # no object there: it takes no part
    gram = gram + torch.diag_embed(torch.where(empty, largest.clamp_min(1e-300), 1e-12 * largest))
    inverse = torch.linalg.inv(gram)[:, 0, 0].real
    g = (inverse * power[:, 0]).clamp_min(1).sqrt()
    return torch.where(empty[:, 0], 0.0, g)


def pseudo_replicas(
    reconstruct: Callable[[Tensor], Tensor],
    kspace: Tensor,
    mask: Tensor | None = None,
    *,
    replicas: int = 128,
    seed: int = 0,
) -> Tensor:
    """Standard deviation of an image's noise: reconstructions with more noise of known variance.

    Works for any method. Dividing an image by it gives SNR units, dividing it by that of the full
    scan and ``sqrt(R)`` a g-factor.

    Parameters
    ----------
    reconstruct
        From k-space to an image ``(*batch, [z,] y, x)``, complex or magnitude.
    kspace
        Whitened, complex: its noise has unit variance, half of it in the real part.
    mask
        Bool, true where measured, broadcasting to `kspace`. Default: where it is non-zero.
    replicas
        Number of reconstructions: the standard deviation is known to ``1 / sqrt(2 replicas)`` of
        itself, a complex image's to ``1 / sqrt(4 replicas)``.
    seed
        Of the noise.

    Returns
    -------
    Tensor
        Standard deviation in one channel (the real part of a complex image), as the image.

    References
    ----------
    P. M. Robson et al., Magn Reson Med 60, 895 (2008); P. Kellman, E. R. McVeigh, Magn Reson Med
    54, 1439 (2005) for SNR units.
    """
    if replicas < 2:
        raise ValueError(f"replicas must be 2 or more, got {replicas}")
    generator = torch.Generator().manual_seed(seed)
    measured = kspace != 0 if mask is None else mask
    with torch.no_grad():
        image = reconstruct(kspace)
        total, squares = torch.zeros_like(image), torch.zeros_like(image.abs())
        for _ in range(replicas):
            noise = torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
            change = reconstruct(kspace + noise.to(kspace.device) * measured) - image
            total += change
            squares += change.abs() ** 2
        variance = (squares - total.abs() ** 2 / replicas) / (replicas - 1)
        parts = 2 if image.is_complex() else 1
        return (variance.clamp_min(0) / parts).sqrt()


def snr_units(image: Tensor, g: Tensor, maps: Tensor, acceleration: float) -> Tensor:
    """Magnitude of a SENSE image over the standard deviation of its noise in one channel.

    Parameters
    ----------
    image
        Least-squares SENSE image of whitened k-space, ``(*batch, [z,] y, x)``.
    g
        Its g-factor ``([z,] y, x)``.
    maps
        Sensitivities ``(coil, [z,] y, x)``.
    acceleration
        R, pixels for every measured sample.

    Returns
    -------
    Tensor
        As the image, real; 0 where g is.

    References
    ----------
    P. Kellman, E. R. McVeigh, Magn Reson Med 54, 1439 (2005).
    """
    noise = g * math.sqrt(acceleration / 2)
    power = torch.linalg.vector_norm(maps, dim=0) * image.abs()
    return torch.where(noise > 0, power / torch.where(noise > 0, noise, 1), 0)
