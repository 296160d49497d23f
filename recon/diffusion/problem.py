"""An inverse problem in the units of samplers: A of unit norm, images of order one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..arrays import NORMAL_QUARTILE, as_tensor, item_scale
from ..ct.hounsfield import WATER
from ..models import EDMDenoiser
from ..models.scaling import unit_norm
from ..operators import LinearOperator
from ..operators.wavelet import Wavelet
from ..solvers import conjugate_gradient, data_consistency
from .prior import Denoiser

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


def make_problem(
    prior: EDMDenoiser | Denoiser,
    A: LinearOperator,
    y: Tensor,
    noise: float | None,
    scale: float | None,
    initial: Tensor | None,
) -> Problem:
    """The problem in the prior's units; see `sample` for what is found where nothing is given."""
    y = as_tensor(y)
    if isinstance(prior, EDMDenoiser) and y.is_complex() != prior.complex_images:
        kinds = ("real", "complex")
        raise ValueError(
            f"the prior is of {kinds[prior.complex_images]} images, the data are "
            f"{kinds[y.is_complex()]}: a prior of another modality"
        )
    if initial is not None and tuple(initial.shape) != tuple(A.domain_shape):
        raise ValueError(
            f"the initial image has shape {tuple(initial.shape)}, the operator's images "
            f"{tuple(A.domain_shape)}"
        )
    if noise is None or (scale is None and initial is None):
        with torch.no_grad():
            rough = conjugate_gradient(A, y, iterations=5)
    if noise is None:
        noise = apparent_noise(A, rough)
    if scale is None:
        scale = 1.0
        if isinstance(prior, EDMDenoiser):
            image = rough if initial is None else initial
            complex_images = prior.complex_images
            scale = float(item_scale(image, image.ndim)) if complex_images else WATER
    return Problem(A, y, noise, scale)


def apparent_noise(A: LinearOperator, image: Tensor) -> float:
    """Standard deviation of data (real part) that explains an image's finest wavelet coefficients.

    Least squares turn noise of variance s^2 into ``s^2 trace((A^H A)^+) / pixels``. The trace of
    the inverse is that of an operator that sees a part of all directions, all of them alike: so do
    masks, and coils nearly.

    Parameters
    ----------
    A
        The scan's operator.
    image
        ``A.domain_shape``, by least squares.
    """
    wavelet = Wavelet(tuple(image.shape[-2:]), "db4")
    level = float(wavelet(image)[wavelet.finest].abs().flatten().median())
    # medians of the magnitude of normal noise of unit variance in either part
    level /= math.sqrt(2 * math.log(2)) if image.is_complex() else NORMAL_QUARTILE
    probe = torch.randn(image.shape, dtype=image.dtype, generator=torch.Generator().manual_seed(0))
    probe = probe.to(image.device)
    trace = float(A(probe).abs().square().sum())
    squared = float(A.normal(probe).abs().square().sum())  # trace of (A^H A)^2
    if not trace > 0:
        raise ValueError(f"the operator {A} is zero: no ray or sample sees the image")
    return level * math.sqrt(probe.numel() * (squared / trace) ** 2 / trace)
