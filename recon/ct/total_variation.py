"""Total-variation reconstruction of CT by the primal-dual method."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from ..operators.difference import FiniteDifference
from ..solvers import Term, primal_dual
from ..solvers.common import Callback
from ..solvers.proximal import group_soft_threshold


def tv(
    A: LinearOperator,
    y: Tensor,
    *,
    weight: float = 1e-3,
    iterations: int = 150,
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
    A. Chambolle and T. Pock, J Math Imaging Vis 40, 120 (2011); E. Y. Sidky et al., Phys Med Biol
    57, 3065 (2012).
    """
    gradient = FiniteDifference(A.domain_shape)
    axis = -len(A.domain_shape) - 1  # of the differences: all at one pixel shrink together
    batch = y.shape[: y.ndim - len(A.range_shape)]
    norm = 1.02 * A.norm(dtype=y.dtype, device=y.device)
    strength = weight * norm**2 * _scale(A, y)

    def shrink(v: Tensor, t: float) -> Tensor:
        return group_soft_threshold(v, t * strength, axis)

    return primal_dual(
        A,
        y,
        [Term(gradient, shrink, norm=2 * math.sqrt(len(A.domain_shape)))],
        iterations=iterations,
        nonnegative=nonnegative,
        initial=y.new_zeros((*batch, *A.domain_shape)) if initial is None else initial,
        norm=norm,
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
