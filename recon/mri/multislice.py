"""Slices measured at once, told apart by kernels in k-space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from ..operators.multiband import slice_phases
from .calibration import calibration_data, normal_equations, require_coils, solve_regularized


def split_slice_grappa(
    kspace: Tensor,
    reference: Tensor,
    shifts: Sequence[float] | Tensor,
    *,
    calibration: int | Sequence[int] = 48,
    kernel: int = 5,
    step: int = 1,
    regularization: float = 1e-3,
) -> Tensor:
    """Separate slices that were excited together, with kernels that also block each other's signal.

    Parameters
    ----------
    kspace
        Complex ``(coil, ky, kx)`` of all slices at once, zero where nothing was measured.
    reference
        K-space of every slice by itself, ``(slice, coil, ky, kx)``: its centre is enough.
    shifts
        ``(slice,)`` in fields of view along y; see `MultibandSense`.
    calibration
        Largest size of the fully sampled centre that is used, for both axes or for each.
    kernel
        Width of the neighbourhood: along kx in samples, along ky in measured lines; odd.
    step
        Lines from one measured line to the next, where the slices are also undersampled: the
        separated slices lack the same lines, for `grappa` to fill in.
    regularization
        Tikhonov weight, relative to the mean eigenvalue of the calibration's normal equations.

    Returns
    -------
    Tensor
        ``(slice, coil, ky, kx)``, without the shifts.

    Raises
    ------
    ValueError
        A single coil, references that do not fit, no fully sampled centre as large as the kernel.

    References
    ----------
    S. F. Cauley et al., Magn Reson Med 72, 93 (2014).
    """
    require_coils("split-slice GRAPPA", kspace, 2)
    if reference.ndim != 4 or reference.shape[1] != kspace.shape[0] or kspace.ndim != 3:
        raise ValueError(
            f"expected kspace (coil, ky, kx) and reference (slice, coil, ky, kx), got "
            f"{tuple(kspace.shape)} and {tuple(reference.shape)}"
        )
    if len(shifts) != len(reference) or kernel % 2 == 0 or step < 1:
        raise ValueError(
            f"expected one shift a slice, an odd kernel and step 1 or more, got {len(shifts)} "
            f"shifts for {len(reference)} slices, kernel {kernel}, step {step}"
        )
    reach = kernel // 2
    widths = (2 * reach * step + 1, kernel)
    offsets = [(step * y, x) for y, x in product(range(-reach, reach + 1), repeat=2)]
    with torch.no_grad():
        weights = _weights(reference, shifts, offsets, widths, calibration, regularization)
        coils, ny, nx = kspace.shape
        padded = torch.nn.functional.pad(kspace, (reach, reach, reach * step, reach * step))
        separated = kspace.new_zeros((len(reference) * coils, ny * nx))
        blocks = weights.to(kspace).reshape(len(offsets), coils, -1)
        for (dy, dx), block in zip(offsets, blocks, strict=True):
            moved = padded[:, reach * step + dy :][:, :ny, reach + dx :][:, :, :nx]
            separated += block.mT @ moved.reshape(coils, -1)
        separated = separated.reshape(len(reference), coils, ny, nx)
        measured = (kspace != 0).any(0)
        return separated * measured * slice_phases(shifts, ny, kspace).conj()


def _weights(
    reference: Tensor,
    shifts: Sequence[float] | Tensor,
    offsets: Sequence[tuple[int, int]],
    widths: Sequence[int],
    calibration: int | Sequence[int],
    regularization: float,
) -> Tensor:
    """Weights ``(offset * coil, slice * coil)``: each slice's from itself, none from the others."""
    scale = reference.abs().amax((1, 2, 3))  # calibration_data brings each slice to 1
    total: Tensor | None = None
    products = []
    for slab, shift, size in zip(reference, torch.as_tensor(shifts), scale, strict=True):
        data = calibration_data(slab, calibration, widths, "split-slice GRAPPA")
        data = data * slice_phases(shift[None], data.shape[1], data)[0] * (size / scale.max())
        gram, rhs = normal_equations(data, offsets, widths)
        total = gram if total is None else total + gram
        products.append(rhs)
    assert total is not None
    return solve_regularized(total, torch.cat(products, 1), regularization)
