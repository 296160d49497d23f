"""Image and coil maps at once, from undersampled data without a calibration region."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import Fourier, LinearOperator
from ..solvers.common import Callback
from ..solvers.normal_equations import solve_positive

_INNER_TOLERANCE = 1e-2  # residual at which the conjugate gradients of a step end
_SIZE = 100.0  # norm that the data are scaled to: the first regularisation weight is 1
_SOBOLEV = 220.0, 16  # (1 + a |k|^2)^l weights the coils' Fourier coefficients, k in cycles/pixel


def nlinv(
    A: LinearOperator,
    y: Tensor,
    *,
    iterations: int = 10,
    reduction: float = 0.5,
    inner: int = 60,
    callback: Callback | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve ``y_c = A (maps_c image)`` for the image and smooth coil maps together.

    Regularised Gauss-Newton: each step linearises the product and solves for both by conjugate
    gradients, with half the regularisation of the step before. A Sobolev norm keeps the maps
    smooth. Needs no fully sampled centre, but a well sampled one: of a regular lattice alone, an
    image with its aliases explains the data as well as the image does.

    Parameters
    ----------
    A
        Encoding of one coil's image, ``(*batch, [z,] y, x)`` to samples: `Fourier` followed by
        `Sampling`, or `NonUniformFourier`.
    y
        Data of every coil, ``(coil, *A.range_shape)``; no batch.
    iterations
        Gauss-Newton steps: more of them show more detail, and more noise.
    reduction
        Factor of the regularisation from step to step.
    inner
        Conjugate gradient steps in each, at most.
    callback
        ``callback(iteration, image, change)`` after each step.

    Returns
    -------
    tuple
        The image, complex ``([z,] y, x)`` of root-sum-of-squares intensity, and the maps
        ``(coil, [z,] y, x)`` of unit length in each pixel.

    Raises
    ------
    ValueError
        Data that do not fit A, data that are zero.

    References
    ----------
    M. Uecker et al., Magn Reson Med 60, 674 (2008).
    """
    if y.ndim != 1 + len(A.range_shape) or tuple(y.shape[1:]) != A.range_shape:
        raise ValueError(f"data must be (coil, *{A.range_shape}), got {tuple(y.shape)}")
    # In two steps: squares of data as small as 1e-30 must not underflow.
    largest = float(y.abs().max())
    if not largest:
        raise ValueError("the data are zero: there is nothing to reconstruct")
    size = largest * float(torch.linalg.vector_norm(y / largest))
    with torch.no_grad():
        smooth = _Smooth(A.domain_shape, y)
        rhs = A.adjoint(y / (size / _SIZE))
        image = torch.ones(A.domain_shape, dtype=y.dtype, device=y.device)
        coils = torch.zeros_like(rhs)
        weight = 1.0
        for iteration in range(iterations):
            before = image
            image, coils = _step(A, smooth, rhs, image, coils, weight, inner)
            weight *= reduction
            if callback is not None:
                change = torch.linalg.vector_norm(image - before)
                callback(iteration, image, float(change / torch.linalg.vector_norm(image)))
        maps = smooth(coils)
        length = torch.linalg.vector_norm(maps, dim=0)
        maps = maps / length.clamp_min(torch.finfo(length.dtype).tiny)
        return image * length * (size / _SIZE), maps


class _Smooth:
    """Maps from weighted Fourier coefficients: the coils' Sobolev norm is that of these."""

    def __init__(self, shape: tuple[int, ...], like: Tensor) -> None:
        self.fourier = Fourier(shape)
        square = torch.zeros((), dtype=like.real.dtype, device=like.device)
        for n in shape:
            k = (torch.arange(n, device=like.device) - n // 2).to(square) / n
            square = square[..., None] + k * k
        scale, power = _SOBOLEV
        self.weights = (1 + scale * square) ** -power

    def __call__(self, coefficients: Tensor) -> Tensor:
        return self.fourier.adjoint(coefficients * self.weights)

    def adjoint(self, maps: Tensor) -> Tensor:
        return self.fourier(maps) * self.weights


def _step(
    A: LinearOperator,
    smooth: _Smooth,
    rhs: Tensor,
    image: Tensor,
    coils: Tensor,
    weight: float,
    inner: int,
) -> tuple[Tensor, Tensor]:
    """One Gauss-Newton step; image and coils are one vector, the image before the coils."""
    maps = smooth(coils)
    start = torch.cat([image[None], coils])

    def derivative_adjoint(z: Tensor) -> Tensor:
        return torch.cat([(maps.conj() * z).sum(0, keepdim=True), smooth.adjoint(image.conj() * z)])

    def system(v: Tensor) -> Tensor:
        z = A.normal(v[0] * maps + image * smooth(v[1:]))
        return derivative_adjoint(z).add_(v, alpha=weight)

    # The penalty is on the distance from the first guess: image 1, coils 0.
    guess = torch.zeros_like(start)
    guess[0] = 1
    residual = derivative_adjoint(rhs - A.normal(image * maps)) - weight * (start - guess)
    moved = start + solve_positive(system, residual, start.ndim, inner, _INNER_TOLERANCE)
    return moved[0], moved[1:]
