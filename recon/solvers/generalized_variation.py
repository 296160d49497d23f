"""The proximal map of second-order total generalised variation."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import lengths
from ..operators.base import Shape
from ..operators.difference import FiniteDifference
from .proximal import non_negative

RATIO = 2.0  # of the weights of second to first order, as in Knoll's paper


class GeneralizedVariationProx:
    """``prox(v, t) = argmin_x |x - v|^2 / 2 + t weight TGV(x)``.

    ``TGV(x) = min_w |D x - w|_1 + 2 |E w|_1`` with the gradient D and the symmetrised gradient E of
    vector fields: ramps are free, where total variation makes stairs of them. A few primal-dual
    steps start where the last call ended: one object serves one problem.

    Parameters
    ----------
    shape
        Axes of space, the last of ``(*batch, *shape)``.
    weight
        Of the total generalised variation.
    nonnegative
        Keep x >= 0.
    steps
        Primal-dual steps a call.

    References
    ----------
    K. Bredies, K. Kunisch, T. Pock, SIAM J Imaging Sci 3, 492 (2010); F. Knoll et al., Magn Reson
    Med 65, 480 (2011).
    """

    def __init__(
        self, shape: Shape, weight: float, *, nonnegative: bool = False, steps: int = 10
    ) -> None:
        self.gradient = FiniteDifference(shape)
        self.weight, self.nonnegative, self.steps = weight, nonnegative, steps
        d = len(shape)
        # |(D x - w, E w)|^2 <= this |(x, w)|^2, as |D|^2 and |E|^2 are below 4 d
        self._rate = ((8 * d + 1 + (16 * d + 1) ** 0.5) / 2) ** -0.5
        self._state: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def __call__(self, v: Tensor, t: float | Tensor) -> Tensor:
        """Apply the map to ``(*batch, *shape)``; with a t for each voxel, in that metric."""
        mean = float(t.mean()) if isinstance(t, Tensor) else t
        strength, metric = mean * self.weight, mean / t if isinstance(t, Tensor) else 1.0
        if strength == 0:
            return self._project(v)
        d = len(self.gradient.domain_shape)
        if self._state is None:
            p = torch.zeros_like(self.gradient(v))
            self._state = v.clone(), torch.zeros_like(p), p, torch.zeros_like(self.gradient(p))
        x, w, p, q = self._state
        x_ahead, w_ahead, rate = x, w, self._rate
        for _ in range(self.steps):
            p = _clipped(p + rate * (self.gradient(x_ahead) - w_ahead), strength, (-d - 1,))
            q = q + rate * _symmetric(self.gradient(w_ahead), d)
            q = _clipped(q, RATIO * strength, (-d - 2, -d - 1))
            pull = rate * metric
            x_new = (x - rate * self.gradient.adjoint(p)).add_(pull * v).div_(1 + pull)
            x_new = self._project(x_new)
            w_new = w + rate * (p - self.gradient.adjoint(_symmetric(q, d)))
            x_ahead, w_ahead = 2 * x_new - x, 2 * w_new - w
            x, w = x_new, w_new
        self._state = x, w, p, q
        return x

    def _project(self, x: Tensor) -> Tensor:
        return non_negative(x) if self.nonnegative else x


def _symmetric(field: Tensor, d: int) -> Tensor:
    """Symmetric part of ``(*batch, d, d, *shape)``."""
    return (field + field.transpose(-d - 2, -d - 1)) / 2


def _clipped(v: Tensor, radius: float, dim: tuple[int, ...]) -> Tensor:
    """Project vectors along `dim` onto the ball of a radius."""
    return v.div_((lengths(v, dim) / radius).clamp_min_(1))
