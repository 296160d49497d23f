"""Coil sensitivity maps from the centre of k-space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from .centre import resize
from .eigenvectors import dominant

_CHUNK = 1 << 17  # entries of the coil-by-coil matrices held at once


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
    virtual coil u of the calibration data (first principal component): ``u^H maps`` is real and
    positive. Memory beside the maps stays within about a hundred megabytes at any matrix size.

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
    if not kspace.is_complex() or ndim not in (2, 3) or kspace.ndim <= ndim:
        raise ValueError(
            "kspace must be complex (*batch, coil, [kz,] ky, kx), "
            f"got {kspace.dtype} {tuple(kspace.shape)} with {ndim} axes of space"
        )
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
        data = calibration_region(kspace, calibration)
        shape = tuple(kspace.shape[1:])
        widths = tuple(min(kernel, n) for n in shape)
        if any(n < w for n, w in zip(data.shape[1:], widths, strict=True)):
            raise ValueError(
                f"the fully sampled centre of k-space is {tuple(data.shape[1:])}, "
                f"ESPIRiT with kernel {kernel} needs at least {widths}"
            )
        data = data / data.abs().max().clamp_min(torch.finfo(data.real.dtype).tiny)
        principal = torch.linalg.eigh(data.flatten(1) @ data.flatten(1).mH)[1].flip(1)[:, :maps]
        correlation = _correlation(_kernel_projection(data, widths, threshold), widths)
        out = kspace.new_empty((maps, kspace.shape[0], *shape))
        for place, matrices in _image_space(correlation, shape):
            values, vectors = dominant(matrices, principal, iterations)
            inner = (principal[:, :1].mH @ vectors)[:, 0]
            turn = torch.polar((values > crop).to(values), -inner.angle())
            vectors = vectors * turn[:, None]
            out[(..., *place)] = vectors.permute(2, 1, 0).reshape(out[(..., *place)].shape)
        return out if maps > 1 else out[0]


def calibration_region(kspace: Tensor, calibration: int | Sequence[int] = 24) -> Tensor:
    """Crop to the largest fully sampled box about the centre of k-space, as a view.

    Parameters
    ----------
    kspace
        Complex ``(coil, [kz,] ky, kx)``, zero where nothing was measured.
    calibration
        Largest size wanted, for all axes or for each.
    """
    shape = kspace.shape[1:]
    wanted = [calibration] * len(shape) if isinstance(calibration, int) else list(calibration)
    limits = [min(w, n) for w, n in zip(wanted, shape, strict=True)]
    mask = (resize(kspace, limits) != 0).any(0)

    def full(sizes: Sequence[int]) -> bool:
        return bool(resize(mask, sizes).all())

    size = max(
        (s for s in range(1, max(limits) + 1) if full([min(s, m) for m in limits])), default=0
    )
    sizes = [min(size, limit) for limit in limits]
    for axis, limit in enumerate(limits):  # a readout axis is longer than the others
        for longer in range(limit, sizes[axis], -1):
            if size and full([*sizes[:axis], longer, *sizes[axis + 1 :]]):
                sizes[axis] = longer
                break
    return resize(kspace, sizes) if size else kspace[..., :0]


def _kernel_projection(data: Tensor, widths: Sequence[int], threshold: float) -> Tensor:
    """Projection onto the span of the calibration's patches, ``(coil*kernel, coil*kernel)``."""
    patches = data
    for axis, width in enumerate(widths):
        patches = patches.unfold(axis + 1, width, 1)
    ndim = len(widths)
    order = (0, *range(ndim + 1, 2 * ndim + 1), *range(1, ndim + 1))
    columns = patches.permute(order).reshape(data.shape[0] * _volume(widths), -1)
    values, vectors = torch.linalg.eigh(columns @ columns.mH)
    kept = vectors[:, values > threshold**2 * values[-1]]
    projection: Tensor = kept @ kept.mH
    return projection


def _correlation(projection: Tensor, widths: Sequence[int]) -> Tensor:
    """Average the projection over the window's positions: ``(coil, coil, 2 width - 1, ...)``."""
    coils = projection.shape[0] // _volume(widths)
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
    return out / _volume(widths)


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


def _volume(widths: Sequence[int]) -> int:
    return int(torch.tensor(widths).prod())
