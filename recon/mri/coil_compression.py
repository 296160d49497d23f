"""Fewer virtual coils that keep nearly all of the signal."""

from __future__ import annotations

from types import EllipsisType

import torch
from torch import Tensor

from ..operators import Fourier


def compression_matrices(
    kspace: Tensor,
    coils: int,
    *,
    geometric: bool = False,
    calibration: int = 24,
    ndim: int = 2,
) -> Tensor:
    """Matrices from coils to virtual coils, by the singular vectors of the centre of k-space.

    Parameters
    ----------
    kspace
        Complex Cartesian ``(*batch, coil, [kz,] ky, kx)``, zero where nothing was measured; or
        samples ``(*batch, coil, sample)`` with ``ndim=1``, all of which are used. The batch
        shares the matrices.
    coils
        Number of virtual coils.
    geometric
        One matrix for each position along the readout (the last axis), which must be measured as
        a whole, each aligned with its neighbour: far fewer coils do for a large array.
    calibration
        Width of the centre of k-space that is used, along the phase encodings.
    ndim
        Axes after the coil axis.

    Returns
    -------
    Tensor
        ``(virtual coil, coil)`` with orthonormal rows, whitened noise stays white; geometric:
        ``(x, virtual coil, coil)``. The virtual coils are sorted by their signal.

    Raises
    ------
    ValueError
        More virtual coils than coils, no signal.

    References
    ----------
    M. Buehrer et al., Magn Reson Med 57, 1131 (2007); T. Zhang et al., Magn Reson Med 69, 571
    (2013).
    """
    axis = kspace.ndim - ndim - 1
    if not kspace.is_complex() or axis < 0:
        raise ValueError(
            f"kspace must be complex (*batch, coil, + {ndim} axes), got {kspace.dtype} "
            f"{tuple(kspace.shape)}"
        )
    if not 1 <= coils <= kspace.shape[axis]:
        raise ValueError(f"coils must lie between 1 and {kspace.shape[axis]}, got {coils}")
    data = kspace.reshape(-1, *kspace.shape[axis:]).movedim(1, 0)  # (coil, batch, ...)
    largest = data.abs().max()
    if not float(largest):
        raise ValueError("kspace is zero: there is no signal to compress")
    if ndim > 1:
        data = _centre(data, calibration, ndim, whole_readout=geometric)
    data = data / largest
    if not geometric:
        flat = data.flatten(1)
        return _singular(flat @ flat.mH, coils)
    if ndim < 2:
        raise ValueError("geometric compression needs Cartesian readouts, got samples")
    lines = Fourier(data.shape[-1:]).adjoint(data).flatten(1, -2)  # (coil, line, x)
    covariance = torch.einsum("clx,dlx->xcd", lines, lines.conj())
    return _aligned(torch.stack([_singular(c, coils) for c in covariance]))


def compress_coils(kspace: Tensor, matrices: Tensor, *, ndim: int = 2) -> Tensor:
    """K-space of the virtual coils: ``(*batch, coil, ...)`` to ``(*batch, virtual coil, ...)``.

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, *samples)`` with `ndim` axes of samples.
    matrices
        From `compression_matrices`; geometric ones need whole readouts, along the last axis.
    ndim
        Axes after the coil axis.

    Raises
    ------
    ValueError
        Matrices of another number of coils or another length of the readout.
    """
    axis = kspace.ndim - ndim - 1
    if axis < 0 or matrices.shape[-1] != kspace.shape[axis]:
        raise ValueError(
            f"matrices {tuple(matrices.shape)} take {matrices.shape[-1]} coils, kspace has shape "
            f"{tuple(kspace.shape)} with {ndim} axes after the coils"
        )
    matrices = matrices.to(kspace)
    if matrices.ndim == 2:
        flat = kspace.flatten(axis + 1)
        return (matrices @ flat).reshape(*flat.shape[:axis], -1, *kspace.shape[axis + 1 :])
    if matrices.shape[0] != kspace.shape[-1]:
        raise ValueError(
            f"matrices are for {matrices.shape[0]} positions along the readout, kspace has "
            f"{kspace.shape[-1]}"
        )
    line = Fourier(kspace.shape[-1:])
    images = line.adjoint(kspace).movedim((axis, -1), (-1, 0))  # (x, ..., coil)
    mixed = (images.flatten(1, -2) @ matrices.mT).reshape(*images.shape[:-1], -1)
    return line(mixed.movedim((-1, 0), (axis, -1)))


def _centre(data: Tensor, calibration: int, ndim: int, *, whole_readout: bool) -> Tensor:
    """Middle of k-space; of the readout too, unless it is wanted as a whole."""
    limits = [min(calibration, n) for n in data.shape[-ndim:]]
    if whole_readout:
        limits[-1] = data.shape[-1]
    starts = [n // 2 - m // 2 for n, m in zip(data.shape[-ndim:], limits, strict=True)]
    cut: tuple[EllipsisType | slice, ...] = (
        ...,
        *(slice(a, a + m) for a, m in zip(starts, limits, strict=True)),
    )
    centre = data[cut]
    return centre if bool((centre != 0).any()) else data


def _singular(covariance: Tensor, coils: int) -> Tensor:
    """Conjugated leading eigenvectors as rows, ``(virtual coil, coil)``."""
    vectors: Tensor = torch.linalg.eigh(covariance)[1]
    return vectors.flip(1)[:, :coils].mH


def _aligned(matrices: Tensor) -> Tensor:
    """Turn each matrix towards the one before it: virtual coils that are smooth along x.

    Where the order of singular values changes along x, plain singular vectors jump. Starts from
    the middle, where there is signal.
    """
    aligned = matrices.clone()
    middle = len(matrices) // 2
    ways = (range(middle + 1, len(matrices)), 1), (range(middle - 1, -1, -1), -1)
    for places, step in ways:
        for x in places:
            u, _, vh = torch.linalg.svd(aligned[x - step] @ matrices[x].mH)
            aligned[x] = u @ vh @ matrices[x]
    return aligned
