"""The fully sampled centre of k-space, and least squares over the neighbourhoods in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .centre import resize


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
    gaps = torch.nonzero((resize(kspace, limits) == 0).all(0)).cpu()
    offset = gaps - torch.tensor([n // 2 for n in limits])
    # The smallest size of a box about the centre that reaches each gap, along each axis.
    reached = torch.where(offset < 0, -2 * offset, 2 * offset + 1)

    def free(sizes: Tensor, limit: int) -> int:
        return min(limit, int(sizes.min()) - 1) if len(sizes) else limit

    size = free(reached.amax(1), max(limits))
    sizes = [min(size, limit) for limit in limits]
    for axis, limit in enumerate(limits):  # a readout axis is longer than the others
        others = [i for i in range(len(limits)) if i != axis]
        inside = (reached[:, others] <= torch.tensor([sizes[i] for i in others])).all(1)
        sizes[axis] = free(reached[inside, axis], limit)
    return resize(kspace, sizes) if size else kspace[..., :0]


def require_coil_axes(name: str, data: Tensor, ndim: int) -> None:
    """Raise a `ValueError` unless `data` is complex with a coil axis and `ndim` axes of space."""
    if not data.is_complex() or ndim not in (2, 3) or data.ndim <= ndim:
        axes = "[kz,] ky, kx" if name == "kspace" else "[z,] y, x"
        raise ValueError(
            f"{name} must be complex (*batch, coil, {axes}), got {data.dtype} "
            f"{tuple(data.shape)} with {ndim} axes of space"
        )


def require_coils(method: str, kspace: Tensor, ndim: int) -> None:
    """Raise a `ValueError` unless `kspace` is complex, of `ndim` axes, and of several coils."""
    require_coil_axes("kspace", kspace, ndim)
    if kspace.shape[-ndim - 1] < 2:
        raise ValueError(f"{method} needs several coils, kspace {tuple(kspace.shape)} has one")


def calibration_data(
    kspace: Tensor, size: int | Sequence[int], widths: Sequence[int], method: str
) -> Tensor:
    """Fully sampled centre ``(coil, [kz,] ky, kx)``, scaled to a largest magnitude of one."""
    data = calibration_region(kspace, size)
    if any(n < w for n, w in zip(data.shape[1:], widths, strict=True)):
        raise ValueError(
            f"the fully sampled centre of k-space is {tuple(data.shape[1:])}, {method} with "
            f"kernel {tuple(widths)} needs at least that: measure calibration lines, or give a "
            "reference"
        )
    return data / data.abs().max().clamp_min(torch.finfo(data.real.dtype).tiny)


def _shifted(data: Tensor, offset: Sequence[int], widths: Sequence[int]) -> Tensor:
    """Samples of ``(coil, *space)`` at `offset` from the middle of each window, ``(coil, P)``."""
    for axis, (o, w, n) in enumerate(zip(offset, widths, data.shape[1:], strict=True)):
        data = data.narrow(axis + 1, o + w // 2, n - w + 1)
    return data.flatten(1)


def normal_equations(
    data: Tensor, offsets: Sequence[Sequence[int]], widths: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Gram matrix of the sources, ordered (offset, coil), and their products with the middle.

    ``(source, source)`` and ``(source, coil)``, in double precision.
    """
    sources = torch.cat([_shifted(data, offset, widths) for offset in offsets]).mT
    target = _shifted(data, [0] * len(widths), widths).mT
    return (sources.mH @ sources).to(torch.complex128), (sources.mH @ target).to(torch.complex128)


def solve_regularized(gram: Tensor, rhs: Tensor, regularization: float) -> Tensor:
    """Solve ``(G + lambda mean(eigenvalue) I) w = rhs`` for a positive semidefinite G."""
    size = gram.diagonal().real.mean().clamp_min(torch.finfo(torch.float64).tiny)
    damped = gram.clone()
    damped.diagonal().add_(max(regularization, 1e-12) * size)
    weights: Tensor = torch.cholesky_solve(rhs, torch.linalg.cholesky(damped))
    return weights


def kernel_widths(default: int, kernel: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Odd widths of a kernel along each axis."""
    kernel = default if kernel is None else kernel
    widths = (kernel,) * ndim if isinstance(kernel, int) else tuple(kernel)
    if len(widths) != ndim or min(widths) < 1 or any(w % 2 == 0 for w in widths):
        raise ValueError(f"kernel must be odd, one number or {ndim}, got {kernel}")
    return widths
