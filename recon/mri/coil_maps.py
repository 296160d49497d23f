"""Coil sensitivity maps from the centre of k-space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from .calibration import calibration_data, require_coil_axes
from .eigenvectors import dominant, virtual_coils

_CHUNK = 1 << 17  # entries of the coil-by-coil matrices held at once,
_PATCHES = 1 << 21  # and of the calibration's patches


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
        correlation = _correlation(_kernel_projection(data, widths, threshold), widths)
        out = kspace.new_empty((maps, kspace.shape[0], *shape))
        for place, matrices in _image_space(correlation, shape):
            values, vectors = dominant(matrices, principal, iterations)
            inner = (principal[:, :1].mH @ vectors)[:, 0]
            turn = torch.polar((values > crop).to(values), -inner.angle())
            vectors = vectors * turn[:, None]
            out[(..., *place)] = vectors.permute(2, 1, 0).reshape(out[(..., *place)].shape)
        return out if maps > 1 else out[0]


def _kernel_projection(data: Tensor, widths: Sequence[int], threshold: float) -> Tensor:
    """Projection onto the span of the calibration's patches, ``(coil*kernel, coil*kernel)``."""
    patches = data
    for axis, width in enumerate(widths):
        patches = patches.unfold(axis + 1, width, 1)
    ndim, size = len(widths), data.shape[0] * math.prod(widths)
    order = (0, *range(ndim + 1, 2 * ndim + 1), *range(1, ndim + 1))
    gram = data.new_zeros((size, size))
    planes = max(1, _PATCHES // (size * math.prod(patches.shape[2 : ndim + 1])))
    for part in torch.split(patches, planes, 1):  # they overlap: all at once take much memory
        columns = part.permute(order).reshape(size, -1)
        gram.addmm_(columns, columns.mH)
    values, vectors = torch.linalg.eigh(gram)
    del gram
    kept = vectors[:, int((values <= threshold**2 * values[-1]).sum()) :]
    projection: Tensor = kept @ kept.mH
    return projection


def _correlation(projection: Tensor, widths: Sequence[int]) -> Tensor:
    """Average the projection over the window's positions: ``(coil, coil, 2 width - 1, ...)``."""
    coils = projection.shape[0] // math.prod(widths)
    blocks = projection.reshape(coils, *widths, coils, *widths)
    out = projection.new_zeros((coils, coils, *(2 * w - 1 for w in widths)))
    for position in product(*(range(w) for w in widths)):
        window = out
        for axis, (i, w) in enumerate(zip(position, widths, strict=True)):
            window = window.narrow(axis + 2, w - 1 - i, w)
        block = blocks
        for i in position:
            block = block.select(1, i)
        window += block
    return out / math.prod(widths)


def _image_space(
    correlation: Tensor, shape: Sequence[int]
) -> Iterator[tuple[tuple[int | slice, ...], Tensor]]:
    """Fourier series of the correlation, ``(pixel, coil, coil)``, some rows at a time."""
    bases = []
    for n, size in zip(shape, correlation.shape[2:], strict=True):
        offset, pixel = torch.arange(size) - size // 2, torch.arange(n) - n // 2
        turns = (pixel[:, None] * offset[None, :]) % n
        angle = -2 * torch.pi * turns.double() / n
        bases.append(torch.polar(torch.ones_like(angle), angle).to(correlation))
    coils, (height, width) = correlation.shape[0], shape[-2:]
    rows = max(1, _CHUNK // (coils * coils * width))
    planes = range(shape[0]) if len(shape) == 3 else [None]
    for plane in planes:
        slab = correlation
        if plane is not None:
            slab = torch.tensordot(correlation, bases[0][plane], dims=([2], [0]))
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            values = (bases[-2][start:stop] @ slab) @ bases[-1].mT
            place: tuple[int | slice, ...] = (slice(start, stop), slice(None))
            place = place if plane is None else (plane, *place)
            yield place, values.flatten(2).permute(2, 0, 1).contiguous()
