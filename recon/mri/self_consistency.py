"""SPIRiT: k-space that agrees with itself, every sample with its neighbours in all coils."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from types import EllipsisType

import torch
from torch import Tensor

from ..operators import Fourier, LinearOperator
from ..operators.coils import combine
from ..operators.sampling import checked_mask
from ..solvers import conjugate_gradient
from ..solvers.common import Callback
from .calibration import calibration_data, kernel_widths, normal_equations, require_coils


def spirit(
    kspace: Tensor,
    mask: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    calibration: int | Sequence[int] = 48,
    kernel: int | None = None,
    regularization: float = 1e-2,
    iterations: int = 20,
    ndim: int = 2,
    callback: Callback | None = None,
) -> Tensor:
    """Fill in missing Cartesian samples, of any pattern, so that calibrated kernels predict all.

    Minimises ``|(G - I) k|^2`` over the missing samples by conjugate gradients; the kernels' G acts
    in the image domain, three matrices over the coils in each pixel: ``3 coil^2`` images of memory.

    Parameters
    ----------
    kspace
        Complex ``(coil, [kz,] ky, kx)``, zero where nothing was measured.
    mask
        Bool ``([kz,] ky, kx)``, true where measured; axes of length 1 broadcast. Default: where
        any coil is non-zero.
    reference
        K-space of a separate calibration scan ``(coil, [kz,] ky, kx)``. Default: `kspace` itself.
    calibration
        Largest size of the fully sampled centre that is used, for all axes or for each.
    kernel
        Width of the neighbourhood in samples, odd. Default: 7; 5 in 3D.
    regularization
        Tikhonov weight of the kernels, relative to the mean eigenvalue of their equations.
    iterations
        Conjugate gradient steps: they also regularise.
    ndim
        Axes of space: 3 for volumes.
    callback
        ``callback(iteration, x, residual)`` after each step.

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
    M. Lustig, J. M. Pauly, Magn Reson Med 64, 457 (2010).
    """
    require_coils("SPIRiT", kspace, ndim)
    if kspace.ndim != ndim + 1:
        raise ValueError(f"kspace must be (coil, [kz,] ky, kx), got {tuple(kspace.shape)}")
    if mask is None:
        mask = (kspace != 0).any(0)
    shape = tuple(kspace.shape[1:])
    mask = checked_mask(mask, shape, "kspace").expand(shape)
    widths = kernel_widths(7 if ndim == 2 else 5, kernel, ndim)
    data = calibration_data(
        kspace if reference is None else reference, calibration, widths, "SPIRiT"
    )
    with torch.no_grad():
        kernels = _kernels(data, widths, regularization)
        # The scale keeps squares of tiny or huge data within their type's range.
        scale = kspace.abs().max().clamp_min(torch.finfo(kspace.real.dtype).tiny)
        A = _Inconsistency(kernels.to(kspace), mask)
        measured = kspace / scale
        missing = conjugate_gradient(
            A, -A.of_measured(measured), iterations=iterations, callback=callback
        )
        return torch.where(mask, kspace, missing * scale)


def _kernels(data: Tensor, widths: Sequence[int], regularization: float) -> Tensor:
    """Weights ``(target coil, source coil, *widths)``, without that of a sample for itself."""
    coils = data.shape[0]
    window = list(product(*(range(-(w // 2), w - w // 2) for w in widths)))
    gram, _ = normal_equations(data, window, widths)
    gram.diagonal().add_(max(regularization, 1e-12) * gram.diagonal().real.mean())
    inverse = torch.linalg.inv(gram)
    own = window.index((0,) * len(widths)) * coils + torch.arange(coils, device=data.device)
    # Least squares for one variable by all others, for each coil's own, from one inverse.
    weights = -inverse[:, own] / inverse[own, own]
    weights[own, torch.arange(coils, device=data.device)] = 0
    kernels: Tensor = weights.reshape(*widths, coils, coils).movedim((-1, -2), (0, 1))
    return kernels


class _Inconsistency(LinearOperator):
    """``(G - I)`` of the missing samples: k-space ``(coil, *space)`` to coil images."""

    def __init__(self, kernels: Tensor, mask: Tensor) -> None:
        shape, widths = tuple(mask.shape), kernels.shape[2:]
        super().__init__((len(kernels), *shape), (len(kernels), *shape))
        self.fourier, self.missing = Fourier(shape), ~mask
        padded = kernels.new_zeros((*kernels.shape[:2], *shape))
        middle: tuple[EllipsisType | slice, ...] = (
            ...,
            *(
                slice(n // 2 - w // 2, n // 2 + w - w // 2)
                for n, w in zip(shape, widths, strict=True)
            ),
        )
        padded[middle] = kernels
        matrices = self.fourier(padded) * mask.numel() ** 0.5
        matrices.diagonal(dim1=0, dim2=1).sub_(1)
        # (target, source, *space), conjugated: what `combine` sums coil images with
        self.rows = matrices.conj().resolve_conj().contiguous()
        self.columns = matrices.transpose(0, 1).contiguous()
        self.gram = torch.stack([self._mix(self.columns, column) for column in self.columns])

    def forward(self, x: Tensor) -> Tensor:
        return self.of_measured(x * self.missing)

    def of_measured(self, x: Tensor) -> Tensor:
        """``(G - I) F^H x`` of all samples."""
        return self._mix(self.rows, self.fourier.adjoint(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.fourier(self._mix(self.columns, y)) * self.missing

    def normal(self, x: Tensor) -> Tensor:
        images = self.fourier.adjoint(x * self.missing)
        return self.fourier(self._mix(self.gram, images)) * self.missing

    def _mix(self, matrices: Tensor, images: Tensor) -> Tensor:
        """Multiply each pixel's vector over the coils by its matrix, given conjugated."""
        ndim = len(self.domain_shape) - 1
        return torch.stack([combine(images, row, ndim) for row in matrices])
