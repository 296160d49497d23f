"""An inverse problem in the units of samplers: A of unit norm, images of order one."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.scaling import unit_norm
from ..operators import LinearOperator
from ..solvers import data_consistency

ITERATIONS = 10  # of conjugate gradients, where an estimate is to be exact
FLOOR = 1e-4  # least noise, in units of the image


class Problem:
    """Data ``y = A x + noise`` with white Gaussian noise, scaled.

    Parameters
    ----------
    A
        Any operator with a norm.
    y
        Data ``(*A.range_shape)``.
    noise
        Standard deviation of the noise, of the real part where data are complex.
    scale
        Unit of the image: what a value of one stands for.

    Raises
    ------
    ValueError
        Data that do not fit A, noise or scale out of range, an operator without a norm.
    """

    def __init__(self, A: LinearOperator, y: Tensor, noise: float, scale: float) -> None:
        if tuple(y.shape) != tuple(A.range_shape):
            raise ValueError(
                f"data have shape {tuple(y.shape)}, the operator gives {tuple(A.range_shape)}: one "
                "scan at a time"
            )
        if not 0 <= noise < float("inf") or not 0 < scale < float("inf"):
            raise ValueError(f"noise and scale must be positive and finite, got {noise}, {scale}")
        self.A, norm = unit_norm(A, y)
        self.scale = scale
        self.ndim = len(A.domain_shape)
        self.y = y / (norm * scale)
        self.noise = max(noise / (norm * scale), FLOOR)
        with torch.no_grad():
            self.adjoint_data = self.A.adjoint(self.y)

    def consistent(
        self, x: Tensor, deviation: float, iterations: int = ITERATIONS, data: Tensor | None = None
    ) -> Tensor:
        """Most likely image given the data and ``x +- deviation``: ``(sample, *domain)``.

        Parameters
        ----------
        x, deviation
            What is known apart from the data.
        iterations
            Conjugate gradient steps at most, from x.
        data
            ``A^H y`` of other data, ``(sample, *domain)``.
        """
        weight = x.real.new_full((1,) * x.ndim, (self.noise / deviation) ** 2)
        data = self.adjoint_data if data is None else data
        return data_consistency(
            self.A, data.expand(x.shape), x, weight, iterations=iterations, tolerance=1e-4
        )
