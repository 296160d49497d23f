"""The encoding of parallel MR imaging: coil sensitivities, then Fourier samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import LinearOperator, Shape
from .coils import CoilSensitivity
from .fourier import Fourier


class Sense(LinearOperator):
    """Image to the k-space of every coil, Cartesian or along a trajectory.

    ``(*batch, [z,] y, x)`` to ``(*batch, coil, [kz,] ky, kx)`` or ``(*batch, coil, sample)``.

    Parameters
    ----------
    maps
        Complex sensitivities ``(*batch, coil, [z,] y, x)``.
    mask
        Cartesian: boolean ``(*batch, [kz,] ky, kx)``, true where measured; axes of length 1
        broadcast. Default: everything was measured.
    trajectory
        ``(*batch, sample, ndim)`` in cycles per pixel, last axis ordered as the image axes.
    ndim
        Axes of space. Default: the trajectory's, else all of the maps' axes but the first.

    References
    ----------
    K. P. Pruessmann et al., Magn Reson Med 42, 952 (1999) and 46, 638 (2001).
    """

    mask: Tensor | None
    _shifted: Tensor | None

    def __init__(
        self,
        maps: Tensor,
        *,
        mask: Tensor | None = None,
        trajectory: Tensor | None = None,
        ndim: int | None = None,
    ) -> None:
        if mask is not None and trajectory is not None:
            raise ValueError("Sense takes a mask (Cartesian) or a trajectory, not both")
        if trajectory is not None:
            ndim = trajectory.shape[-1]
        coils = CoilSensitivity(maps, ndim)
        encoding: LinearOperator
        if trajectory is not None:
            from .nufft import NonUniformFourier

            encoding = NonUniformFourier(trajectory, coils.domain_shape)
            range_shape = (coils.range_shape[0], *encoding.range_shape)
        else:
            encoding = Fourier(coils.domain_shape)
            range_shape = coils.range_shape
        super().__init__(coils.domain_shape, range_shape)
        self.coils, self.encoding = coils, encoding
        self.cartesian = trajectory is None
        self._axes = tuple(range(-len(coils.domain_shape), 0))
        # F^H M F is a circular convolution and commutes with the shifts of the centred transform:
        # once the mask itself is shifted, the normal operator needs none.
        centred, shifted = None, None
        if mask is not None:
            centred = _coil_mask(mask, coils.domain_shape).to(maps.real.dtype)
            shifted = torch.fft.ifftshift(centred, dim=self._axes)
        self.register_buffer("mask", centred, persistent=False)
        self.register_buffer("_shifted", shifted, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Image to k-space, zero where nothing was measured."""
        y = self.encoding(self.coils(x))
        return y if self.mask is None else y * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space to the coil-combined image."""
        y = y if self.mask is None else y * self.mask
        return self.coils.adjoint(self.encoding.adjoint(y))

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A: without a shift (Cartesian), or by the trajectory's fast normal operator."""
        z = self.coils(x)
        if not self.cartesian:
            z = self.encoding.normal(z)
        elif self._shifted is not None:
            k = torch.fft.fftn(z, dim=self._axes, norm="ortho")
            z = torch.fft.ifftn(k.mul_(self._shifted), dim=self._axes, norm="ortho")
        return self.coils.adjoint(z)

    def norm(self, *arguments: Any, **options: Any) -> float:
        """Upper bound of the largest singular value if Cartesian, else by power iteration.

        The bound is ``max_r sqrt(sum_c |maps|^2)``, tight where low frequencies are measured.
        """
        if self.cartesian:
            return float(torch.linalg.vector_norm(self.coils.maps, dim=self._axes[0] - 1).max())
        return super().norm(*arguments, **options)


def _coil_mask(mask: Tensor, shape: Shape) -> Tensor:
    """Boolean mask ``(*batch, [kz,] ky, kx)`` with an axis of length 1 for the coils."""
    if mask.is_complex() or mask.is_floating_point():
        raise TypeError(f"mask must be boolean, got {mask.dtype}")
    trailing = mask.shape[mask.ndim - len(shape) :]
    if mask.ndim < len(shape) or any(m not in (1, n) for m, n in zip(trailing, shape, strict=True)):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit the maps' axes {tuple(shape)}")
    return mask.unsqueeze(-len(shape) - 1)
