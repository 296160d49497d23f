"""Pointwise weights."""

from __future__ import annotations

from torch import Tensor

from .base import LinearOperator, require_trailing


class Diagonal(LinearOperator):
    """Multiply by weights ``(*shape)``, such as the square root of a density compensation.

    ``(*batch, *shape)`` to the same; the gradient flows to the weights too.
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__(tuple(weights.shape), tuple(weights.shape))
        self.hold("weights", weights)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the weights."""
        require_trailing("x", x, self.domain_shape)
        return x * self.weights

    def adjoint(self, y: Tensor) -> Tensor:
        """Multiply by the conjugate weights."""
        require_trailing("y", y, self.range_shape)
        return y * self.weights.conj()
