"""GRAPPA: missing samples of k-space as weighted sums of their measured neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..operators.sampling import checked_mask
from .calibration import (
    calibration_data,
    kernel_widths,
    normal_equations,
    require_coils,
    solve_regularized,
)

_CHUNK = 1 << 21  # gathered samples held at once
_FREQUENT = 1 / 256  # a neighbourhood of at least this part of the missing samples is typical
_FEW = 8  # neighbourhoods that are cheaper to calibrate one by one than together


@dataclass(frozen=True)
class _Neighbourhood:
    """Missing samples with alike measured neighbours."""

    offsets: NDArray[np.int64]  # (source, ndim), of the neighbours
    places: NDArray[np.int64]  # (target, ndim) in k-space; 0 on axes that are measured as a whole
    along: NDArray[np.int64]  # (position, ndim), to add to each place: all of those axes


def grappa(
    kspace: Tensor,
    mask: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    calibration: int | Sequence[int] = 48,
    kernel: int | Sequence[int] | None = None,
    regularization: float = 1e-2,
    ndim: int = 2,
) -> Tensor:
    """Fill in missing Cartesian samples from their neighbours in all coils.

    Any sampling: regular, CAIPIRINHA, with or without a calibration centre, variable density.
    Samples with alike measured neighbours share weights, which the calibration data give; where
    samples are scattered, nearly each needs its own, and `spirit` is faster. Nothing
    is filled in more than a gap between lines outside the box that was measured (partial Fourier,
    asymmetric echoes), and what has no measured neighbour stays zero.

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, [kz,] ky, kx)``, zero where nothing was measured.
    mask
        Bool ``([kz,] ky, kx)``, true where measured; axes of length 1 broadcast. Default: where
        any coil is non-zero.
    reference
        K-space of a separate calibration scan, ``(coil, [kz,] ky, kx)`` of any matrix on the same
        field of view, or with the batch of `kspace`. Default: `kspace` itself.
    calibration
        Largest size of the fully sampled centre that is used, for all axes or for each.
    kernel
        Width of the neighbourhood in samples, for all axes or for each. Default: 7; 5 in 3D.
    regularization
        Tikhonov weight, relative to the mean eigenvalue of the calibration's normal equations.
    ndim
        Axes of space: 3 for volumes.

    Returns
    -------
    Tensor
        K-space as `kspace`; measured samples are unchanged.

    Raises
    ------
    ValueError
        A single coil, no fully sampled centre as large as the kernel, a mask of another matrix.

    References
    ----------
    M. A. Griswold et al., Magn Reson Med 47, 1202 (2002); F. A. Breuer et al., Magn Reson Med 53,
    684 (2005).
    """
    widths = kernel_widths(7 if ndim == 2 else 5, kernel, ndim)
    require_coils("GRAPPA", kspace, ndim)
    if mask is None:
        mask = (kspace != 0).flatten(0, -ndim - 1).any(0)
    shape = tuple(kspace.shape[-ndim:])
    mask = checked_mask(mask, shape, "kspace").expand(shape)
    if reference is None:
        reference = kspace
    elif reference.shape[-ndim - 1] != kspace.shape[-ndim - 1]:
        raise ValueError(
            f"reference {tuple(reference.shape)} and kspace {tuple(kspace.shape)} differ in coils"
        )
    items = kspace.reshape(-1, *kspace.shape[-ndim - 1 :])
    references = reference.reshape(-1, *reference.shape[-ndim - 1 :])
    if len(references) not in (1, len(items)):
        raise ValueError(f"{len(references)} references for a batch of {len(items)}")
    filled = kspace.new_empty(items.shape)
    groups = list(_neighbourhoods(mask, widths))
    with torch.no_grad():
        for i, item in enumerate(items):
            data = calibration_data(references[i % len(references)], calibration, widths, "GRAPPA")
            filled[i] = _fill(item, data, groups, widths, regularization)
    return filled.reshape(kspace.shape)


def _neighbourhoods(mask: Tensor, widths: Sequence[int]) -> Iterator[_Neighbourhood]:
    """Group the missing samples by which neighbours were measured.

    A rare neighbourhood (at the rim of the calibration centre or of k-space, beyond which k-space
    is zero) is served by the typical one that it contains, if there is one.
    """
    measured = mask.numpy(force=True)
    whole = [bool((measured == measured.any(a, keepdims=True)).all()) for a in range(mask.ndim)]
    plan = measured.any(tuple(np.flatnonzero(whole)), keepdims=True)
    box, missing = np.argwhere(plan), np.argwhere(~plan)
    if len(box):
        # Regular lines may end up to one gap before the matrix does.
        gaps = [np.diff(np.unique(places), prepend=places.min()).max() for places in box.T]
        first, last = box.min(0) - np.maximum(gaps, 1) + 1, box.max(0) + np.maximum(gaps, 1) - 1
        missing = missing[((missing >= first) & (missing <= last)).all(1)]
    if not len(box) or not len(missing):
        return
    plan_widths = [1 if full else w for w, full in zip(widths, whole, strict=True)]
    offsets = _window(plan_widths)
    near = _lookup(np.pad(plan, [(w // 2, w // 2) for w in plan_widths], constant_values=True),
                   missing + np.array(plan_widths) // 2, offsets)  # fmt: skip
    along = _grid([np.arange(n if full else 1) for n, full in zip(mask.shape, whole, strict=True)])
    beside = _window([w if full else 1 for w, full in zip(widths, whole, strict=True)])
    for pattern, chosen in _groups(near):
        sources = (offsets[pattern][:, None] + beside).reshape(-1, mask.ndim)
        if len(sources):
            yield _Neighbourhood(sources, missing[chosen], along)


def _groups(near: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Rows ``(target, offset)`` that are served alike: which offsets, and the rows' numbers."""
    packed = np.packbits(near, axis=1)
    packed = np.pad(packed, [(0, 0), (0, -packed.shape[1] % 8)]).view(np.uint64)
    keys = packed[:, 0] if packed.shape[1] == 1 else packed.view(f"V{8 * packed.shape[1]}")[:, 0]
    _, first, group, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    patterns, frequent = near[first], counts >= _FREQUENT * len(near)
    typical = np.flatnonzero(frequent)
    if len(typical):
        lacking = patterns[typical].astype(np.float32) @ (~patterns.T).astype(np.float32)
        size = np.where(lacking == 0, patterns[typical].sum(1)[:, None], 0)  # (typical, pattern)
        served = np.where(frequent | (size.max(0) == 0), np.arange(len(patterns)),
                          typical[size.argmax(0)])  # fmt: skip
        group = served[group]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order])) + 1
    for rows in np.split(order, starts):
        yield patterns[group[rows[0]]], rows


def _lookup(
    grid: NDArray[np.bool_], places: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Values of `grid` at every place plus every offset, ``(place, offset)``."""
    steps = np.array(grid.strides) // grid.itemsize
    found: NDArray[np.bool_] = grid.ravel()[(places @ steps)[:, None] + offsets @ steps]
    return found


def _window(widths: Sequence[int]) -> NDArray[np.int64]:
    """Offsets of a neighbourhood about its middle, ``(offset, ndim)``."""
    return _grid([np.arange(w) - w // 2 for w in widths])


def _grid(axes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.array(list(product(*axes)), dtype=np.int64)


def _fill(
    kspace: Tensor,
    data: Tensor,
    groups: Sequence[_Neighbourhood],
    widths: Sequence[int],
    regularization: float,
) -> Tensor:
    """One item ``(coil, [kz,] ky, kx)`` with its missing samples."""
    coils, reach = kspace.shape[0], [w // 2 for w in widths]
    sizes = zip(kspace.shape[1:], reach, strict=True)
    padded = kspace.new_zeros((*(n + 2 * r for n, r in sizes), coils))
    inner = padded[tuple(slice(r, n - r) for n, r in zip(padded.shape[:-1], reach, strict=True))]
    inner.copy_(kspace.movedim(0, -1))
    flat = padded.view(-1, coils)
    steps = np.array(padded.stride()[:-1]) // coils

    def flat_index(places: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(places @ steps).to(kspace.device)

    found = []
    for group, weights in zip(groups, _weights(data, groups, widths, regularization), strict=True):
        near, weights = flat_index(group.offsets), weights.to(kspace)
        along, places = flat_index(group.along), flat_index(group.places + reach)
        size = max(1, _CHUNK // (len(weights) * len(along)))
        for first in range(0, len(places), size):
            targets = (places[first : first + size, None] + along).flatten()
            gathered = flat[targets[:, None] + near].reshape(len(targets), -1)
            found.append((targets, gathered @ weights))
    for targets, values in found:
        flat[targets] = values
    return inner.movedim(-1, 0)


def _weights(
    data: Tensor,
    groups: Sequence[_Neighbourhood],
    widths: Sequence[int],
    regularization: float,
) -> Iterator[Tensor]:
    """Weights ``(source * coil, coil)`` of each neighbourhood, sources ordered as its offsets."""
    if len(groups) <= _FEW:
        for group in groups:
            yield solve_regularized(
                *normal_equations(data, group.offsets.tolist(), widths), regularization
            )
        return
    window = _window(widths)
    gram, rhs = normal_equations(data, window.tolist(), widths)
    coil = torch.arange(data.shape[0], device=data.device)
    steps = np.cumprod([1, *widths[:0:-1]])[::-1]  # of the window, to number its offsets
    for group in groups:
        numbers = torch.from_numpy((group.offsets + np.array(widths) // 2) @ steps)
        chosen = (numbers.to(data.device)[:, None] * len(coil) + coil).flatten()
        yield solve_regularized(gram[chosen[:, None], chosen], rhs[chosen], regularization)
