"""Series of images: frames that a solver sees as one unknown, and what they are sums of."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .base import LinearOperator, require_trailing


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
