"""Coil sensitivity maps from the centre of k-space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .calibration import calibration_data, require_coil_axes
from .eigenvectors import dominant, eigenvectors_above, virtual_coils

_CHUNK = 1 << 17  # entries of the coil-by-coil matrices held at once,
_PATCHES = 1 << 21  # and of the calibration's patches, or of the kernels' spectra


def espirit(
    kspace: Tensor,
    *,
    calibration: int | Sequence[int] = 24,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.0,
    maps: int = 1,
    ndim: int = 2,
    iterations: int = 4,
) -> Tensor:
    """ESPIRiT sensitivity maps: eigenvectors, with eigenvalue near 1, of the calibration's kernels.

    Each pixel's vector over the coils has unit length. Its phase is relative to the dominant
    virtual coil u of the calibration data (first principal component, whose largest entry is
    real): ``u^H maps`` is real and positive. Memory beside the maps does not grow with the matrix:
    64 MB, and four matrices of ``(coils kernel^ndim)^2`` entries (a few MB in 2D, 0.4 GB for 16
    coils in 3D).

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, [kz,] ky, kx)``, zero where nothing was measured.
    calibration
        Largest size of the fully sampled centre that is used, for all axes or for each.
    kernel
        Width of the kernels in k-space samples.
    threshold
        Kernels with singular values below this part of the largest are noise.
    crop
        Set maps to zero where their eigenvalue is below this (0.8 hides the background).
    maps
        Number of sets; more than one explains fields of view that fold onto themselves.
    ndim
        Axes of space: 3 for volumes.
    iterations
        Steps of subspace iteration with the eighth power of each pixel's matrix.

    Returns
    -------
    Tensor
        ``(*batch, coil, [z,] y, x)``; with several sets ``(*batch, maps, coil, [z,] y, x)``.

    Raises
    ------
    ValueError
        No fully sampled centre at least as large as the kernel.

    References
    ----------
    M. Uecker et al., Magn Reson Med 71, 990 (2014).
    """
    require_coil_axes("kspace", kspace, ndim)
    batch = kspace.shape[: kspace.ndim - ndim - 1]
    if batch:
        items = [
            espirit(
                item, calibration=calibration, kernel=kernel, threshold=threshold, crop=crop,
                maps=maps, ndim=ndim, iterations=iterations,
            )
            for item in kspace.reshape(-1, *kspace.shape[-ndim - 1 :])
        ]  # fmt: skip
        return torch.stack(items).reshape(*batch, *items[0].shape)
    if not 1 <= maps <= kspace.shape[0]:
        raise ValueError(f"maps must lie between 1 and {kspace.shape[0]} coils, got {maps}")

    with torch.no_grad():
        shape = tuple(kspace.shape[1:])
        widths = tuple(min(kernel, n) for n in shape)
        data = calibration_data(kspace, calibration, widths, "ESPIRiT")
        principal = virtual_coils(data.flatten(1), maps)
        correlation = _correlation(_signal_kernels(data, widths, threshold), widths)
        out = kspace.new_empty((maps, kspace.shape[0], *shape))
        pixels, first = out.flatten(2), 0
        for entries in _image_space(correlation, shape):
            values, vectors = dominant(entries, principal, iterations)
            last = first + entries.shape[1]
            torch.mul(vectors, (values > crop)[:, None], out=pixels[..., first:last])
            first = last
        return out if maps > 1 else out[0]


def _signal_kernels(data: Tensor, widths: Sequence[int], threshold: float) -> Tensor:
    """Orthonormal kernels that span the calibration's patches, ``(kernel, coil, *widths)``."""
    patches = data
    for axis, width in enumerate(widths):
        patches = patches.unfold(axis + 1, width, 1)
    ndim, size = len(widths), data.shape[0] * math.prod(widths)
    count = math.prod(patches.shape[1 : ndim + 1])
    order = (0, *range(ndim + 1, 2 * ndim + 1), *range(1, ndim + 1))
    if count < size:  # the smaller Gram matrix, of the patches, has the same eigenvalues
        columns = patches.permute(order).reshape(size, count)
        gram = columns.mH @ columns
    else:
        gram = data.new_zeros((size, size))
        planes = max(1, _PATCHES // (size * math.prod(patches.shape[2 : ndim + 1])))
        for part in torch.split(patches, planes, 1):  # they overlap: all at once take much memory
            columns = part.permute(order).reshape(size, -1)
            gram.addmm_(columns, columns.mH)
    kept = eigenvectors_above(gram, threshold**2)
    del gram
    if count < size:
        kept = columns @ kept
        kept /= torch.linalg.vector_norm(kept, dim=0)
    return kept.mT.reshape(-1, data.shape[0], *widths)


def _correlation(kernels: Tensor, widths: Sequence[int]) -> Tensor:
    """Correlations of the kernels between coils, averaged over the window's positions.

    ``(pair, 2 width - 1, ...)``; pairs of coils are those of a lower triangle, row by row. They are
    products of the kernels' spectra on a grid that holds every shift.
    """
    coils, sizes = kernels.shape[1], [2 * w - 1 for w in widths]
    axes = tuple(range(-len(widths), 0))
    power = kernels.new_zeros((math.prod(sizes), coils, coils))
    for part in torch.split(kernels, max(1, _PATCHES // (coils * math.prod(sizes)))):
        spectra = torch.fft.ifftn(part, s=sizes, dim=axes, norm="forward")
        spectra = spectra.flatten(2).permute(2, 1, 0).contiguous()
        power.baddbmm_(spectra, spectra.mH)
    rows, columns = torch.tril_indices(coils, coils, device=kernels.device)
    pairs = power[:, rows, columns].mT.reshape(-1, *sizes)
    correlation = torch.fft.ifftn(pairs, dim=axes) / math.prod(widths)
    centred: Tensor = torch.fft.fftshift(correlation, dim=axes)
    return centred


def _image_space(correlation: Tensor, shape: Sequence[int]) -> Iterator[Tensor]:
    """Fourier series of the correlation, ``(pair, pixel)``, some rows at a time, in order."""
    bases = []
    for n, size in zip(shape, correlation.shape[1:], strict=True):
        offset, pixel = torch.arange(size) - size // 2, torch.arange(n) - n // 2
        turns = (pixel[:, None] * offset[None, :]) % n
        angle = -2 * torch.pi * turns.double() / n
        bases.append(torch.polar(torch.ones_like(angle), angle).to(correlation))
    pairs = len(correlation)
    rows = max(1, _CHUNK // (pairs * shape[-1]))
    for plane in range(shape[0]) if len(shape) == 3 else [None]:
        slab = correlation
        if plane is not None:
            slab = torch.tensordot(correlation, bases[0][plane], dims=([1], [0]))
        lines = bases[-2] @ slab
        for part in torch.split(lines, rows, 1):
            yield (part.reshape(-1, part.shape[-1]) @ bases[-1].mT).reshape(pairs, -1)
