"""The non-uniform Fourier transform of an image along a trajectory, as an operator."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from ...kernels.nufft import Plan
from .base import LinearOperator, linear_map


class NonUniformFourier(LinearOperator):
    """Samples of an image's Fourier transform along a trajectory.

    Images ``(*frames, *batch, *image_shape)`` to samples ``(*frames, *batch, sample)``; centred
    and orthonormal as `Fourier`. Gradients of any order to image, samples and trajectory.

    Parameters
    ----------
    trajectory : (*frames, sample, ndim), cycles per pixel in [-0.5, 0.5)
        Last axis ordered as the image axes. Leading axes are frames with a trajectory each.
    image_shape : ([z,] y, x)
    tolerance : relative error of the transform
    """

    trajectory: Tensor

    def __init__(
        self, trajectory: Tensor, image_shape: tuple[int, ...], *, tolerance: float = 1e-3
    ) -> None:
        trajectory = torch.as_tensor(trajectory)
        plan = Plan(trajectory, image_shape, tolerance=tolerance)
        super().__init__(plan.image_shape, (plan.samples,))
        self.tolerance = tolerance
        if isinstance(trajectory, torch.nn.Parameter):
            self.register_parameter("trajectory", trajectory)
        else:
            self.register_buffer("trajectory", trajectory)
        self._plan, self._planned = plan, self._state()

    @property
    def plan(self) -> Plan:
        """The plan of the trajectory as it stands: an optimiser's step makes a new one."""
        if self._planned != self._state():
            self._plan = Plan(self.trajectory, self.domain_shape, tolerance=self.tolerance)
            self._planned = self._state()
        return self._plan

    def forward(self, x: Tensor) -> Tensor:
        """Apply A: images to samples."""
        return _transform(x, self.trajectory, self.plan, False)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H: samples to images, without density compensation."""
        return _transform(y, self.trajectory, self.plan, True)

    def normal(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Apply A^H W A with real `weights` ``(*frames, sample)`` or ``(sample,)``, or none."""
        if self.trajectory.requires_grad or (weights is not None and weights.requires_grad):
            y = self(x)
            return self.adjoint(y if weights is None else self._spread(weights, y) * y)
        plan = self.plan

        def apply(image: Tensor) -> Tensor:
            return cast(Tensor, plan.normal(image, weights))

        return linear_map(x, apply, apply)

    def _spread(self, weights: Tensor, y: Tensor) -> Tensor:
        """Weights with an axis for each batch axis of samples `y`."""
        frames = weights.shape[:-1]
        batch = y.ndim - 1 - len(frames)
        return weights.reshape(*frames, *[1] * batch, weights.shape[-1])

    def _state(self) -> tuple[int, int]:
        return id(self.trajectory), self.trajectory._version


class _Transform(torch.autograd.Function):
    """``A(k) x`` or ``A(k)^H x``, differentiable in both: each derivative is a transform again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, trajectory: Tensor, plan: Plan, adjoint: bool) -> Tensor:
        ctx.save_for_backward(x, trajectory)
        ctx.plan, ctx.adjoint = plan, adjoint
        return cast(Tensor, plan.adjoint(x) if adjoint else plan.forward(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, trajectory = ctx.saved_tensors
        gradient, by_x, by_trajectory = gradients[0], None, None
        if ctx.needs_input_grad[0]:
            by_x = _transform(gradient, trajectory, ctx.plan, not ctx.adjoint)
        if ctx.needs_input_grad[1]:
            image, samples = (gradient, x) if ctx.adjoint else (x, gradient)
            by_trajectory = _by_trajectory(image, samples, trajectory, ctx.plan)
        return by_x, by_trajectory, None, None


def _transform(x: Tensor, trajectory: Tensor, plan: Plan, adjoint: bool) -> Tensor:
    return cast(Tensor, _Transform.apply(x, trajectory, plan, adjoint))  # type: ignore[no-untyped-call]


def _by_trajectory(image: Tensor, samples: Tensor, trajectory: Tensor, plan: Plan) -> Tensor:
    """Gradient of Re <samples, A(k) image>: d/dk_d = Re conj(samples) A(k) (-2 pi i n_d image)."""
    shape, frames = plan.image_shape, len(plan.frames)
    components = []
    for axis, size in enumerate(shape):
        n = torch.arange(size, dtype=trajectory.dtype, device=image.device) - size // 2
        n = n.reshape([size] + [1] * (len(shape) - 1 - axis))
        slope = _transform((-2j * math.pi) * n * image, trajectory, plan, False)
        component = (samples.conj() * slope).real
        batch = list(range(frames, component.ndim - 1))
        components.append(component.sum(batch) if batch else component)
    return torch.stack(components, -1).to(trajectory.dtype)
