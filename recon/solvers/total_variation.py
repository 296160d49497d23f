"""The proximal map of isotropic total variation."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import lengths
from ..operators.base import Shape
from ..operators.difference import FiniteDifference
from .proximal import non_negative


class TotalVariationProx:
    """``prox(v, t) = argmin_x |x - v|^2 / 2 + t sum_j weight_j |D x|_j``, ``x >= 0`` if asked.

    The dual problem is solved by a few steps of fast gradient projection that start where the
    last call ended, so that an outer iteration makes the map exact as it converges: one
    object serves one problem.

    Parameters
    ----------
    shape
        Axes of space, the last of ``(*batch, *shape)``.
    weight
        Of the total variation: a number, or of each voxel, ``(*batch, *shape)``.
    nonnegative
        Keep x >= 0.
    steps
        Dual steps a call.

    References
    ----------
    A. Beck, M. Teboulle, IEEE Trans Image Process 18, 2419 (2009).
    """

    def __init__(
        self, shape: Shape, weight: float | Tensor, *, nonnegative: bool = False, steps: int = 8
    ) -> None:
        self.gradient = FiniteDifference(shape)
        self.weight, self.nonnegative, self.steps = weight, nonnegative, steps
        self._dual: Tensor | None = None

    def __call__(self, v: Tensor, t: float | Tensor) -> Tensor:
        """Apply the map to ``(*batch, *shape)``; with a t for each voxel, in that metric."""
        if _is_zero(t) or _is_zero(self.weight):
            return self._project(v)
        axis = -len(self.gradient.domain_shape) - 1
        p = self._dual
        if p is None:
            p = torch.zeros_like(self.gradient(v))
        rate = 1 / (4 * len(self.gradient.domain_shape) * self._largest(t))
        radius = self.weight
        if isinstance(radius, Tensor):
            radius = radius.clamp_min(torch.finfo(v.dtype).tiny).unsqueeze(axis)
        ahead, momentum = p, 1.0
        for _ in range(self.steps):
            new = self.gradient(self._primal(v, ahead, t)).mul_(rate).add_(ahead)
            new.div_(lengths(new, axis).div_(radius).clamp_min_(1))
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = torch.lerp(p, new, 1 + (momentum - 1) / following)
            p, momentum = new, following
        self._dual = p
        return self._primal(v, p, t)

    def _primal(self, v: Tensor, p: Tensor, t: float | Tensor) -> Tensor:
        return self._project(self.gradient.adjoint(p).mul_(-t).add_(v))

    def _largest(self, t: float | Tensor) -> float | Tensor:
        """Of a voxel and the next along each axis, ``(*batch, 1, *shape)``: it bounds the dual."""
        if not isinstance(t, Tensor):
            return t
        ndim = len(self.gradient.domain_shape)
        largest = t.clone()
        for axis, n in enumerate(self.gradient.domain_shape):
            here = largest.narrow(axis - ndim, 0, n - 1)
            torch.maximum(here, t.narrow(axis - ndim, 1, n - 1), out=here)
        return largest.unsqueeze(-ndim - 1)

    def _project(self, x: Tensor) -> Tensor:
        return non_negative(x) if self.nonnegative else x


def _is_zero(value: float | Tensor) -> bool:
    """Of a number: tensors are taken as they are, so that no card is waited for."""
    return not isinstance(value, Tensor) and value == 0
