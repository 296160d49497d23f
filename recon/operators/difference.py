"""Finite differences, the gradient of total variation."""

from __future__ import annotations

from torch import Tensor

from .base import LinearOperator, Shape, linear_map, require_trailing


class FiniteDifference(LinearOperator):
    """Forward differences along each axis, zero at the far edge (no flux through it).

    ``(*batch, *shape)`` to ``(*batch, len(shape), *shape)``, real or complex, in units of the
    image per voxel. The norm is below ``2 sqrt(len(shape))``.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, (len(shape), *shape))

    def forward(self, x: Tensor) -> Tensor:
        """Image to its differences ``(*batch, axis, *shape)``."""
        require_trailing("image", x, self.domain_shape)
        return linear_map(x, self._difference, self._negative_divergence)

    def adjoint(self, y: Tensor) -> Tensor:
        """Differences to the image: the negative divergence."""
        require_trailing("differences", y, self.range_shape)
        return linear_map(y, self._negative_divergence, self._difference)

    def _difference(self, x: Tensor) -> Tensor:
        ndim = len(self.domain_shape)
        out = x.new_zeros((*x.shape[: x.ndim - ndim], *self.range_shape))
        for axis, n in enumerate(self.domain_shape):
            d = out.select(-ndim - 1, axis).narrow(axis - ndim, 0, n - 1)
            d.copy_(x.narrow(axis - ndim, 1, n - 1)).sub_(x.narrow(axis - ndim, 0, n - 1))
        return out

    def _negative_divergence(self, y: Tensor) -> Tensor:
        ndim = len(self.domain_shape)
        out = y.new_zeros((*y.shape[: y.ndim - ndim - 1], *self.domain_shape))
        for axis, n in enumerate(self.domain_shape):
            d = y.select(-ndim - 1, axis).narrow(axis - ndim, 0, n - 1)
            out.narrow(axis - ndim, 1, n - 1).add_(d)
            out.narrow(axis - ndim, 0, n - 1).sub_(d)
        return out
