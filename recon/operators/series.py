"""Series of images: frames that a solver sees as one unknown, and what they are sums of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .base import LinearOperator, Shape, require_trailing


class Series(LinearOperator):
    """An operator of one image as an operator of a whole series, frame by frame.

    ``(*batch, frame, *domain_shape)`` to ``(*batch, frame, *range_shape)``: penalties may then tie
    the frames together. No batch where the frames have trajectories of their own.

    Parameters
    ----------
    operator
        Takes ``(frame, *domain_shape)``, such as a `Sense` with a mask or trajectory a frame.
    frames
        Their number.
    """

    def __init__(self, operator: LinearOperator, frames: int) -> None:
        if frames < 1:
            raise ValueError(f"a series needs 1 frame or more, got {frames}")
        super().__init__((frames, *operator.domain_shape), (frames, *operator.range_shape))
        self.operator, self.dtype = operator, operator.dtype

    def forward(self, x: Tensor) -> Tensor:
        """Series of images to series of data."""
        require_trailing("series", x, self.domain_shape)
        return self.operator(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Series of data to series of images."""
        require_trailing("data", y, self.range_shape)
        return self.operator.adjoint(y)

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A to each frame."""
        require_trailing("series", x, self.domain_shape)
        return self.operator.normal(x)

    def norm(self, *arguments: Any, **options: Any) -> float:
        """Largest singular value of all frames."""
        batch = (*options.pop("batch", ()), self.domain_shape[0])
        return self.operator.norm(*arguments, batch=batch, **options)


class Superposition(LinearOperator):
    """The sum of `count` parts: ``(*batch, count, *shape)`` to ``(*batch, *shape)``."""

    def __init__(self, shape: tuple[int, ...], count: int = 2) -> None:
        super().__init__((count, *shape), shape)

    def forward(self, x: Tensor) -> Tensor:
        """Add the parts."""
        require_trailing("parts", x, self.domain_shape)
        return x.sum(-1 - len(self.range_shape))

    def adjoint(self, y: Tensor) -> Tensor:
        """Give each part the sum."""
        require_trailing("sum", y, self.range_shape)
        axis = -1 - len(self.range_shape)
        return y.unsqueeze(axis).repeat_interleave(self.domain_shape[0], axis)


class TemporalBasis(LinearOperator):
    """Coefficient images of a temporal basis to the series that they make.

    ``(*batch, K, *shape)`` to ``(*batch, frame, *shape)``: frame t is ``sum_k basis[k, t] x_k``.

    Parameters
    ----------
    basis
        Real or complex ``(K, frame)``.
    shape
        Axes of an image.
    """

    basis: Tensor

    def __init__(self, basis: Tensor, shape: Shape) -> None:
        if basis.ndim != 2:
            raise ValueError(f"basis has shape {tuple(basis.shape)}, expected (K, frame)")
        super().__init__((basis.shape[0], *shape), (basis.shape[1], *shape))
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Coefficient images to the series."""
        require_trailing("coefficients", x, self.domain_shape)
        return self._mixed(self.basis.mT, x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Each basis function's share of the series."""
        require_trailing("series", y, self.range_shape)
        return self._mixed(self.basis.conj(), y)

    def _mixed(self, matrix: Tensor, images: Tensor) -> Tensor:
        shape = self.domain_shape[1:]
        mixed = torch.matmul(matrix.to(images.dtype), images.flatten(-len(shape)))
        return mixed.reshape(*mixed.shape[:-1], *shape)
