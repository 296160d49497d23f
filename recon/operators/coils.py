"""Receive coils: the image seen through their sensitivities."""

from __future__ import annotations

from torch import Tensor

from .base import LinearOperator, Shape, require_trailing


class CoilSensitivity(LinearOperator):
    """Multiply an image by each coil's sensitivity; the adjoint combines with the conjugate maps.

    ``(*batch, [z,] y, x)`` to ``(*batch, coil, [z,] y, x)``.

    Parameters
    ----------
    maps
        Complex sensitivities ``(*batch, coil, [z,] y, x)``; gradients flow to them.
    ndim
        Axes of space: 3 for volumes.
    """

    maps: Tensor

    def __init__(self, maps: Tensor, ndim: int = 2) -> None:
        if not maps.is_complex():
            raise TypeError(f"maps must be complex, got {maps.dtype}")
        if ndim < 1 or maps.ndim <= ndim:
            raise ValueError(
                f"maps must be (*batch, coil, + {ndim} axes of space), got {tuple(maps.shape)}"
            )
        super().__init__(maps.shape[-ndim:], maps.shape[-ndim - 1 :])
        self.hold("maps", maps)

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, [z,] y, x)`` to coil images ``(*batch, coil, [z,] y, x)``."""
        require_trailing("image", x, self.domain_shape)
        self._check_batch("image", x.shape[: x.ndim - len(self.domain_shape)])
        return x.unsqueeze(-len(self.domain_shape) - 1) * self.maps

    def adjoint(self, y: Tensor) -> Tensor:
        """Coil images ``(*batch, coil, [z,] y, x)`` to the combined image."""
        require_trailing("coil images", y, self.range_shape)
        self._check_batch("coil images", y.shape[: y.ndim - len(self.range_shape)])
        return (self.maps.conj() * y).sum(-len(self.range_shape))

    def _check_batch(self, name: str, batch: Shape) -> None:
        own = self.maps.shape[: self.maps.ndim - len(self.range_shape)]
        aligned = batch[len(batch) - len(own) :]
        fits = all(m in (1, n) for m, n in zip(own, aligned, strict=False))
        if len(own) > len(batch) or not fits:
            raise ValueError(f"{name} has batch {tuple(batch)}, the maps have {tuple(own)}")
