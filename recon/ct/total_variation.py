"""Total-variation reconstruction of CT."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from ..solvers.common import Callback
from ..solvers.proximal_gradient import fista
from ..solvers.total_variation import TotalVariationProx


def tv(
    A: LinearOperator,
    y: Tensor,
    *,
    weight: float = 1e-3,
    iterations: int = 60,
    initial: Tensor | None = None,
    nonnegative: bool = True,
    callback: Callback | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + lambda TV(x)`` (isotropic total variation).

    Lambda is ``weight * |A|^2 * s`` with s the image's scale (the 99th percentile of the
    least-squares multiple of A^H y): the same weight gives the same picture
    whatever the units of the image, the spacing or the number of views.

    Parameters
    ----------
    A
        Projection operator.
    y
        Line integrals ``(*batch, *A.range_shape)``.
    weight
        Regularisation, without unit.
    initial
        Where to start ``(*batch, *A.domain_shape)``, such as an FBP image.
    nonnegative
        Keep the image at or above zero.
    callback
        Called with (iteration, x, relative change) after every step.

    Returns
    -------
    Tensor
        Image ``(*batch, *A.domain_shape)``.

    References
    ----------
    A. Beck, M. Teboulle, IEEE Trans Image Process 18, 2419 (2009); E. Y. Sidky, X. Pan, Phys Med
    Biol 53, 4777 (2008).
    """
    norm = 1.02 * A.norm(dtype=y.dtype, device=y.device)
    strength = weight * norm**2 * _scale(A, y)
    return fista(
        A,
        y,
        TotalVariationProx(A.domain_shape, strength, nonnegative=nonnegative),
        iterations=iterations,
        step=1 / norm**2,
        initial=initial,
        callback=callback,
    )


def _scale(A: LinearOperator, y: Tensor) -> float:
    """The image's scale: the 99th percentile of the best multiple of A^H y."""
    back = A.adjoint(y)
    ray = torch.linalg.vector_norm(A(back))
    if not ray > 0:
        return 0.0
    estimate = back * (torch.linalg.vector_norm(back) / ray) ** 2
    rank = max(1, int(0.99 * estimate.numel()))
    return float(estimate.abs().flatten().kthvalue(rank).values)
