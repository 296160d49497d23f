"""The image that CT networks start from: analytic where the views allow it."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, ConeBeam, FanBeam, HelicalBeam, ParallelBeam
from ..ct import fbp, fdk
from ..ct.redundancy import angular_range
from ..operators import LinearOperator, XRayTransform
from ..solvers import conjugate_gradient
from .scaling import unit_norm

ITERATIONS, WEIGHT = 10, 1e-3  # of least squares, where no analytic method applies


def start_image(A: LinearOperator, y: Tensor) -> Tensor:
    """Filtered back projection, FDK, or a few steps of least squares; no gradient.

    Parameters
    ----------
    A
        An `XRayTransform`, or any real operator.
    y
        Line integrals ``(*batch, view, [row,] column)``.

    Returns
    -------
    Tensor
        ``(*batch, [z,] y, x)``, 1/mm.
    """
    with torch.no_grad():
        if isinstance(A, XRayTransform) and isinstance(A.geometry, CircularBeam):
            covered, needed = angular_range(A.geometry)
            if isinstance(A.geometry, ParallelBeam | FanBeam) and covered >= needed:
                return fbp(y, A.geometry, A.volume)
            circle = isinstance(A.geometry, ConeBeam) and not isinstance(A.geometry, HelicalBeam)
            if circle and covered >= needed:
                return fdk(y, A.geometry, A.volume)
        scaled, norm = unit_norm(A, y)
        return conjugate_gradient(
            scaled, y / norm, iterations=ITERATIONS, regularization=WEIGHT
        )  # fmt: skip
