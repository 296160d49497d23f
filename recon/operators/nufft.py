"""The non-uniform Fourier transform of an image along a trajectory, as an operator."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from ...kernels.nufft import Plan
from ...kernels.nufft.plan import LEAST_TOLERANCE
from .base import LinearOperator, linear_map, require_same, version_of
from .off_resonance import TimeSegments


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
    field_map : image_shape, Hz, and readout_time : (sample,), s
        Off-resonance: each voxel's signal turns by ``exp(-2 pi i field_map readout_time)``. Time
        segments are added until they reach the tolerance; the field map may need gradients.
    memory_limit : bytes the working grid may take; None allows half of what is free

    References
    ----------
    Off-resonance in time segments: Fessler et al., IEEE Trans Signal Process 53, 3393 (2005).
    """

    trajectory: Tensor

    def __init__(
        self,
        trajectory: Tensor,
        image_shape: tuple[int, ...],
        *,
        tolerance: float = 1e-3,
        field_map: Tensor | None = None,
        readout_time: Tensor | None = None,
        memory_limit: int | None = None,
    ) -> None:
        if not isinstance(trajectory, Tensor):
            raise TypeError(f"trajectory is {type(trajectory).__name__}, expected a torch tensor")
        plan = Plan(trajectory, image_shape, tolerance=tolerance, memory_limit=memory_limit)
        super().__init__(plan.image_shape, (plan.samples,))
        self.tolerance, self.memory_limit = tolerance, memory_limit
        if tolerance < LEAST_TOLERANCE["complex64"]:
            self.dtype = torch.complex128
        if isinstance(trajectory, torch.nn.Parameter):
            self.register_parameter("trajectory", trajectory)
        else:
            self.register_buffer("trajectory", trajectory)
        self._plan: Plan | None = plan
        self._planned: tuple[Any, ...] | None = self._state()
        if (field_map is None) != (readout_time is None):
            raise ValueError("off-resonance needs both field_map (Hz) and readout_time (s)")
        self.segments = None
        if field_map is not None and readout_time is not None:
            require_same("field_map", field_map.shape, "image_shape", plan.image_shape)
            require_same("readout_time", readout_time.shape, "samples", (plan.samples,))
            self.segments = TimeSegments(field_map, readout_time, tolerance)

    @property
    def plan(self) -> Plan:
        """The plan of the trajectory as it stands: an optimiser's step makes a new one."""
        if self._plan is None or self._planned != self._state():
            self._plan = Plan(
                self.trajectory,
                self.domain_shape,
                tolerance=self.tolerance,
                memory_limit=self.memory_limit,
            )
            self._planned = self._state()
        return self._plan

    def forward(self, x: Tensor) -> Tensor:
        """Apply A: images to samples."""
        plan = self.plan
        if self.segments is None:
            return _transform(x, self.trajectory, plan, False)
        self.segments.refresh()
        axis = -1 - len(self.domain_shape)
        turned = self.segments.turn(x.unsqueeze(axis), -1)
        parts = _transform(turned, self.trajectory, plan, False)
        return (parts * self.segments.weights.to(parts.dtype)).sum(-2)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^H: samples to images, without density compensation."""
        plan = self.plan
        if self.segments is None:
            return _transform(y, self.trajectory, plan, True)
        self.segments.refresh()
        parts = y.unsqueeze(-2) * self.segments.weights.to(y.dtype).conj()
        images = _transform(parts, self.trajectory, plan, True)
        return self.segments.turn(images, 1).sum(-1 - len(self.domain_shape))

    def normal(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Apply A^H W A with real `weights` ``(*frames, sample)`` or ``(sample,)``, or none."""
        weighted = weights is not None and weights.requires_grad
        if self.trajectory.requires_grad or weighted or self.segments is not None:
            y = self(x)
            return self.adjoint(y if weights is None else self.spread(weights, y) * y)
        plan = self.plan

        def apply(image: Tensor) -> Tensor:
            return cast(Tensor, plan.normal(image, weights))

        return linear_map(x, apply, apply)

    def spread(self, weights: Tensor, y: Tensor) -> Tensor:
        """Weights ``(*frames, sample)`` with an axis for each batch axis of samples `y`."""
        frames = weights.shape[:-1]
        batch = y.ndim - 1 - len(frames)
        return weights.reshape(*frames, *[1] * batch, weights.shape[-1])

    def _state(self) -> tuple[Any, ...]:
        k = self.trajectory
        return k.data_ptr(), version_of(k), k.device, k.dtype

    def _apply(self, *arguments: Any, **options: Any) -> NonUniformFourier:
        self._plan = None  # torch may move a parameter's data and leave no other trace
        return cast(NonUniformFourier, super()._apply(*arguments, **options))  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        # the plan is of this very tensor: a copy makes its own at its first use
        return {**self.__dict__, "_plan": None, "_planned": None}


class _Transform(torch.autograd.Function):
    """``A(k) x`` or ``A(k)^H x``, differentiable in both: each derivative is a transform again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, trajectory: Tensor, plan: Plan, adjoint: bool) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, trajectory)
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
        n = torch.arange(size, dtype=image.real.dtype, device=image.device) - size // 2
        n = n.reshape([size] + [1] * (len(shape) - 1 - axis))
        slope = _transform((-2j * math.pi) * n * image, trajectory, plan, False)
        component = (samples.conj() * slope).real
        batch = list(range(frames, component.ndim - 1))
        components.append(component.sum(batch) if batch else component)
    return torch.stack(components, -1).to(trajectory.dtype)
