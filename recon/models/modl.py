"""MoDL: a denoiser and data consistency in turn, on any linear operator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..arrays import item_scale
from ..operators import LinearOperator
from ..solvers import data_consistency
from ..solvers.common import item_dot
from .channels import from_channels, in_own_precision, to_channels
from .drunet import DRUNet
from .network import Network
from .scaling import unit_norm

FIRST_WEIGHT = 0.05  # Tikhonov weight of the first image, in units of |A|^2
# before training, where a denoiser alone does best: weight of each step, levels of first and last
START_WEIGHT = 0.15
START_SIGMA = 0.05, 0.015
USUAL_NOISE = 0.02  # of data over |A|, in units of the image's robust maximum
NOISE_RANGE = 0.2, 10.0  # times the usual: less and more count as these


class MoDL(Network):
    """Unrolled ``x = argmin |A x - y|^2 + w_k |x - D x|^2`` with one shared denoiser D.

    Works on any `LinearOperator` on images or volumes (which are denoised slice by slice):
    Cartesian or non-Cartesian MR, CT, and operators that learn. The least-squares steps are
    differentiated implicitly (`data_consistency`). Each step has its own weight and noise level,
    which also follow how densely the operator samples and how noisy the data are, so that one
    network serves quiet and noisy scans of several accelerations. Homogeneous in data and noise.

    Parameters
    ----------
    unrolls
        Steps.
    iterations
        Conjugate-gradient iterations of a step, at most.
    chans, blocks
        Width of each level, and residual blocks a level, of the `DRUNet` denoiser.
    complex_images
        Whether images are complex (MR) or real (CT).

    References
    ----------
    H. K. Aggarwal et al., IEEE TMI 38, 394 (2019).
    """

    steering = "log_weight", "log_sigma"

    def __init__(
        self,
        unrolls: int = 10,
        iterations: int = 8,
        chans: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        complex_images: bool = True,
    ) -> None:
        super().__init__()
        self.iterations, self.complex_images = iterations, complex_images
        channels = 2 if complex_images else 1
        self.denoiser = DRUNet(channels, channels, chans, blocks)
        # logarithms of weight and noise level: a constant, and slopes by those of density and noise
        levels = torch.linspace(math.log(START_SIGMA[0]), math.log(START_SIGMA[1]), unrolls)
        self.log_weight = nn.Parameter(torch.zeros(unrolls, 3))
        self.log_sigma = nn.Parameter(torch.zeros(unrolls, 3))
        with torch.no_grad():
            self.log_weight[:, 0] = math.log(START_WEIGHT)
            self.log_weight[:, 2] = 2.0  # least squares: the prior counts as the noise's variance
            self.log_sigma[:, 0] = levels

    def forward(
        self,
        A: LinearOperator,
        y: Tensor,
        initial: Tensor | None = None,
        noise: float | Tensor | None = None,
    ) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        A
            Image ``(*batch, *domain_shape)`` to data, such as `Sense` or `XRayTransform`.
        y
            Data ``(*batch, *A.range_shape)``.
        initial
            Image to start from, ``(*batch, *A.domain_shape)``. Default: regularised least squares.
        noise
            Standard deviation of the data's noise, of the real part where they are complex: one
            number, or ``(*batch,)``. Default: unknown, taken for a fiftieth of the image's maximum.

        Returns
        -------
        Tensor
            ``(*batch, *A.domain_shape)``.

        Raises
        ------
        TypeError
            Complex data for a network of real images, or the other way round.
        ValueError
            A zero operator, noise of another batch or below zero.
        """
        scaled, norm = unit_norm(A, y)
        data = scaled.adjoint(y) / norm
        if data.is_complex() != self.complex_images:
            kind = "complex" if self.complex_images else "real"
            raise TypeError(f"this network is for {kind} images, the data give {data.dtype}")
        ndim = len(A.domain_shape)
        with torch.no_grad():
            if initial is None:
                first_weight = torch.full_like(data.real[..., :1, :1], FIRST_WEIGHT)
                x = self._consistent(scaled, data, torch.zeros_like(data), first_weight)
            else:
                x = initial.to(data)
            scale = item_scale(x, ndim)
            density = _density(scaled, data, ndim).log()
            noisy = torch.zeros_like(density)
            if noise is not None:
                noisy = noisy + _noisy(noise, norm * scale, ndim)
        x, data = x / scale, data / scale
        for weight, sigma in zip(self.log_weight, self.log_sigma, strict=True):
            level = (sigma[0] + sigma[1] * density + sigma[2] * noisy).exp()
            prior = self.stage(self._denoise, x, level)
            strength = (weight[0] + weight[1] * density + weight[2] * noisy).exp()
            x = self._consistent(scaled, data, prior, strength)
        return x * scale

    def _consistent(self, A: LinearOperator, data: Tensor, prior: Tensor, weight: Tensor) -> Tensor:
        # all iterations, without a look at the residual, for which a GPU would have to wait
        return data_consistency(A, data, prior, weight, iterations=self.iterations, tolerance=0.0)

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Take away the noise that the network finds, slice by slice."""
        slices = x.reshape(-1, 1, *x.shape[-2:])
        levels = sigma.expand(*x.shape[:-2], 1, 1).reshape(-1)
        channels = to_channels(slices) if self.complex_images else slices
        noise = in_own_precision(self.denoiser, channels, levels)
        noise = from_channels(noise) if self.complex_images else noise
        return x - noise.reshape(x.shape)


def _density(A: LinearOperator, like: Tensor, ndim: int) -> Tensor:
    """Mean eigenvalue of A^H A for each item, by one random probe (Hutchinson's estimate).

    For coil maps of unit length and a mask it is the fraction of k-space that was sampled.
    """
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, like.shape, generator=generator) * 2 - 1
    probe = signs.to(like.device, like.dtype)
    mean = item_dot(probe, A.normal(probe), ndim) / math.prod(like.shape[-ndim:])
    return mean.clamp_min(1e-6)


def _noisy(noise: float | Tensor, unit: Tensor, ndim: int) -> Tensor:
    """Logarithm of each item's noise over the usual one."""
    deviation = torch.as_tensor(noise).to(unit)
    if isinstance(noise, float | int) and not noise >= 0:
        raise ValueError(f"noise must be 0 or more, got {noise}")
    if deviation.shape not in ((), unit.shape[: unit.ndim - ndim]):
        raise ValueError(
            f"noise must be one number or {tuple(unit.shape[: unit.ndim - ndim])}, as the batch, "
            f"got {tuple(deviation.shape)}"
        )
    deviation = deviation.reshape(*deviation.shape, *[1] * ndim)
    return (deviation / (USUAL_NOISE * unit)).clamp(*NOISE_RANGE).log()
