"""The encoding of parallel MR imaging: coil sensitivities, then Fourier samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .base import LinearOperator, Shape, require_same
from .coils import CoilSensitivity
from .fourier import Fourier

if TYPE_CHECKING:
    from .nufft import NonUniformFourier


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
        ``(*batch, sample, ndim)`` in cycles per pixel, last axis ordered as the image axes; or a
        `NonUniformFourier` operator, to share its plan among several maps.
    weights
        Non-Cartesian: positive ``(*batch, sample)``, such as a density compensation. The operator
        becomes ``W^(1/2) A``: least squares weighted by W, for data multiplied by its root.
    ndim
        Axes of space: 3 for volumes. A trajectory's last axis decides where there is one.

    References
    ----------
    K. P. Pruessmann et al., Magn Reson Med 42, 952 (1999) and 46, 638 (2001).
    """

    mask: Tensor | None
    weights: Tensor | None
    _shifted: Tensor | None

    def __init__(
        self,
        maps: Tensor,
        *,
        mask: Tensor | None = None,
        trajectory: Tensor | NonUniformFourier | None = None,
        weights: Tensor | None = None,
        ndim: int = 2,
    ) -> None:
        if mask is not None and trajectory is not None:
            raise ValueError("Sense takes a mask (Cartesian) or a trajectory, not both")
        if weights is not None and trajectory is None:
            raise ValueError("weights are for the samples of a trajectory")
        if isinstance(trajectory, Tensor):
            from .nufft import NonUniformFourier

            shape = maps.shape[maps.ndim - trajectory.shape[-1] :]
            trajectory = NonUniformFourier(trajectory, tuple(shape))
        if trajectory is not None:
            ndim = len(trajectory.domain_shape)
        coils = CoilSensitivity(maps, ndim)
        encoding = Fourier(coils.domain_shape) if trajectory is None else trajectory
        require_same("image_shape", encoding.domain_shape, "maps", coils.domain_shape)
        super().__init__(coils.domain_shape, (coils.range_shape[0], *encoding.range_shape))
        self.coils, self.encoding, self.dtype = coils, encoding, encoding.dtype
        self.register_buffer("weights", weights, persistent=False)
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
        return self._weighted(y if self.mask is None else y * self.mask)

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space to the coil-combined image."""
        y = self._weighted(y if self.mask is None else y * self.mask)
        return self.coils.adjoint(self.encoding.adjoint(y))

    def _weighted(self, y: Tensor) -> Tensor:
        return y if self.weights is None else y * self.weights.sqrt().unsqueeze(-2)

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A: without a shift (Cartesian), or by the trajectory's fast normal operator."""
        z = self.coils(x)
        if not isinstance(self.encoding, Fourier):
            z = self.encoding.normal(z, self.weights)
        elif self._shifted is not None:
            k = torch.fft.fftn(z, dim=self._axes, norm="ortho")
            z = torch.fft.ifftn(k.mul_(self._shifted), dim=self._axes, norm="ortho")
        return self.coils.adjoint(z)

    def norm(self, *arguments: Any, **options: Any) -> float:
        """Upper bound of the largest singular value if Cartesian, else by power iteration.

        The bound is ``max_r sqrt(sum_c |maps|^2)``, tight where low frequencies are measured.
        """
        if isinstance(self.encoding, Fourier):
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
