"""Cartesian undersampling."""

from __future__ import annotations

from torch import Tensor

from .base import LinearOperator, Shape, require_trailing


class Sampling(LinearOperator):
    """Keep the measured samples of a grid and set the others to zero: ``y = mask x``.

    ``(*batch, *shape)`` to ``(*batch, *shape)``.

    Parameters
    ----------
    mask
        Boolean, true where measured; axes of length 1 broadcast.
    shape
        Axes acted on; default: those of the mask.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, shape: Shape | None = None) -> None:
        shape = tuple(mask.shape if shape is None else shape)
        super().__init__(shape, shape)
        mask = checked_mask(mask, shape, "the samples")
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Zero what was not measured in ``(*batch, *shape)``."""
        require_trailing("samples", x, self.domain_shape)
        return x * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """Zero what was not measured: the operator is its own adjoint."""
        return self(y)

    def normal(self, x: Tensor) -> Tensor:
        """Zero what was not measured: masking twice is masking once."""
        return self(x)


def checked_mask(mask: Tensor, shape: Shape, of: str, *, batched: bool = False) -> Tensor:
    """The mask as booleans; raises unless it broadcasts to the axes `shape` of what `of` names.

    Axes before them, a batch of masks, are allowed if `batched`.
    """
    if mask.is_complex() or mask.is_floating_point():
        raise TypeError(f"mask must be boolean, got {mask.dtype}")
    trailing = mask.shape[max(0, mask.ndim - len(shape)) :]
    fits = len(trailing) == len(shape) and (batched or mask.ndim == len(shape))
    if not fits or any(m not in (1, n) for m, n in zip(trailing, shape, strict=True)):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit {of} {tuple(shape)}")
    return mask.bool()
