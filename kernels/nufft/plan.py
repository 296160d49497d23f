"""The non-uniform Fourier transform: one plan per trajectory, many transforms."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arena import arena
from .arrays import is_torch, like, on_gpu, to_numpy
from .cpu_plan import CpuPlan
from .fft import fast_length
from .toeplitz import Toeplitz, toeplitz
from .window import choose, cost

LEAST_TOLERANCE = {"complex64": 1e-6, "complex128": 1e-12}
GREATEST_TOLERANCE = 0.1

# One convolution is built at a time: each takes every thread and grids of twice the image size.
_building = threading.Lock()


def _renew_lock() -> None:
    """Start with an open lock: a fork may have copied a closed one."""
    global _building
    _building = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Plan:
    """Non-uniform Fourier transform of images along a trajectory, for any number of coils.

    ``y_j = 1/sqrt(N) sum_n x_n exp(-2 pi i k_j . n)``, n from ``-(size // 2)`` on each axis.

    Parameters
    ----------
    trajectory : (*frames, sample, ndim) real
        Positions in cycles per pixel in [-0.5, 0.5), last axis ordered as the image axes. Leading
        axes are frames with a trajectory each: data then begin with the same axes.
    image_shape : ([z,] y, x)
    tolerance : relative l2 error against the exact sum, 1e-1 to 1e-12 (complex64: 1e-6)
    upsampling : of the grid; None chooses the cheapest that reaches the tolerance
    device : where to compute; None follows the trajectory
    memory_limit : bytes the working grid may take; None allows half of what is free

    Pickles and deep copies hold the arguments alone; tables are made where they are used.

    Raises
    ------
    ValueError
        Positions outside [-0.5, 0.5) or not finite, wrong shapes, a tolerance out of reach.
    TypeError
        Data that are not complex, or on another device than the plan.
    """

    def __init__(
        self,
        trajectory: Any,
        image_shape: tuple[int, ...],
        *,
        tolerance: float = 1e-3,
        upsampling: float | None = None,
        device: Any = None,
        memory_limit: int | None = None,
    ) -> None:
        self.image_shape = _checked_shape(image_shape)
        self.tolerance = _checked_tolerance(tolerance)
        if upsampling is not None and not 1.1 <= upsampling <= 4:
            raise ValueError(f"upsampling={upsampling}: expected a factor from 1.1 to 4")
        gpu = on_gpu(trajectory) if device is None else not str(device).startswith("cpu")
        if gpu:
            raise TypeError("the NUFFT runs on the CPU so far: move trajectory and data there")
        positions = _checked_positions(trajectory, len(self.image_shape))
        self.frames: tuple[int, ...] = positions.shape[:-2]
        self.samples: int = positions.shape[-2]
        width, grid_shape = choose(self.tolerance, self.image_shape, self.samples, upsampling)
        flat = positions.reshape(-1, self.samples, len(self.image_shape))
        self._transform = CpuPlan(flat, self.image_shape, grid_shape, width, memory_limit)
        self._options: dict[str, Any] = {"upsampling": upsampling, "memory_limit": memory_limit}
        self._convolution: tuple[NDArray[Any] | None, Toeplitz | None] = None, None

    @property
    def backend(self) -> str:
        """What computes: "numba" on the CPU, "cuda" on an NVIDIA GPU."""
        return self._transform.backend

    @property
    def memory(self) -> int:
        """Bytes that a complex64 call needs beside its input and output, for any coil count."""
        return self._transform.memory()

    @property
    def width(self) -> int:
        """Window width in grid cells."""
        return self._transform.width

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of the oversampled grid."""
        return self._transform.grid_shape

    def forward(self, x: Any) -> Any:
        """Images ``(*frames, *batch, *image_shape)`` to samples ``(*frames, *batch, sample)``."""
        images, batch = self._checked("image", x, self.image_shape)
        data = self._transform.forward(images)
        return like(data.reshape(*self.frames, *batch, self.samples), x)

    def adjoint(self, y: Any) -> Any:
        """Exact transpose of `forward`: samples to images."""
        data, batch = self._checked("samples", y, (self.samples,))
        images = self._transform.adjoint(data)
        return like(images.reshape(*self.frames, *batch, *self.image_shape), y)

    def normal(self, x: Any, weights: Any = None) -> Any:
        """``A^H W A x`` for images; real weights ``(*frames, sample)`` or ``(sample,)``."""
        images, batch = self._checked("image", x, self.image_shape)
        w = None if weights is None else self._checked_weights(weights, images.real.dtype)
        if len(self.image_shape) > 1 and self._convolution_is_cheaper():
            result = arena.empty(images.shape, images.dtype)
            self._toeplitz(w)(images, result)
        else:
            data = self._transform.forward(images)
            result = self._transform.adjoint(data if w is None else data * w)
        return like(result.reshape(*self.frames, *batch, *self.image_shape), x)

    def _convolution_is_cheaper(self) -> bool:
        pair = cost(self._transform.width, self.image_shape, self.grid_shape, self.samples)
        double = tuple(fast_length(2 * n) for n in self.image_shape)
        return cost(0, self.image_shape, double, 0) < pair

    def _toeplitz(self, weights: NDArray[Any] | None) -> Toeplitz:
        """The convolution for these weights, kept for the next call with the same ones."""
        convolution = self._kept(weights)
        if convolution is not None:
            return convolution
        with _building:
            convolution = self._kept(weights)  # another thread may have built it meanwhile
            if convolution is None:
                accuracy = max(self.tolerance / 2, LEAST_TOLERANCE["complex128"])
                convolution = toeplitz(self._transform, weights, accuracy)
                self._convolution = weights, convolution
        return convolution

    def _kept(self, weights: NDArray[Any] | None) -> Toeplitz | None:
        kept, convolution = self._convolution
        if weights is None or kept is None:
            return convolution if kept is weights else None
        return convolution if np.array_equal(kept, weights) else None

    def _checked_weights(self, weights: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        w = to_numpy("weights", weights)
        if w.shape not in ((self.samples,), (*self.frames, self.samples)):
            raise ValueError(
                f"weights have shape {w.shape}, expected ({self.samples},)"
                + (f" or {(*self.frames, self.samples)}" if self.frames else "")
            )
        if np.iscomplexobj(w):
            raise TypeError(f"weights are {w.dtype}, expected real")
        return w.astype(dtype).reshape(-1, 1, self.samples)

    def _checked(
        self, name: str, x: Any, trailing: tuple[int, ...]
    ) -> tuple[NDArray[Any], tuple[int, ...]]:
        """Return data as (frame, coil, *trailing) and the batch axes between."""
        array = to_numpy(name, x)
        expected = ", ".join([*map(str, self.frames), "*batch", *map(str, trailing)])
        ndim, frames = array.ndim - len(trailing), len(self.frames)
        if ndim < frames or array.shape[ndim:] != trailing or array.shape[:frames] != self.frames:
            raise ValueError(f"{name} has shape {array.shape}, expected ({expected})")
        if array.dtype.name not in LEAST_TOLERANCE:
            raise TypeError(f"{name} is {array.dtype}, expected complex64 or complex128")
        if self.tolerance < LEAST_TOLERANCE[array.dtype.name]:
            raise ValueError(
                f"tolerance={self.tolerance:g} is out of reach of {array.dtype} "
                f"({LEAST_TOLERANCE[array.dtype.name]:g} at best): give {name} as complex128"
            )
        batch = array.shape[frames:ndim]
        count = int(np.prod(batch))
        return array.reshape(self._transform.frames, count, *trailing), batch

    def __reduce__(self) -> tuple[Any, ...]:
        positions = self._transform.positions.reshape(*self.frames, self.samples, -1)
        make = functools.partial(type(self), tolerance=self.tolerance, **self._options)
        return make, (positions, self.image_shape)

    def __repr__(self) -> str:
        frames = f"{self.frames} frames, " if self.frames else ""
        return (
            f"Plan({frames}{self.samples} samples, image {self.image_shape}, grid "
            f"{self.grid_shape}, window {self.width}, tolerance {self.tolerance:g}, "
            f"{self.backend})"
        )


def _checked_shape(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(int(n) for n in image_shape)
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError(f"image_shape={image_shape}: expected 1 to 3 positive sizes")
    return shape


def _checked_tolerance(tolerance: float) -> float:
    if not LEAST_TOLERANCE["complex128"] <= tolerance <= GREATEST_TOLERANCE:
        raise ValueError(f"tolerance={tolerance}: expected a relative error from 1e-12 to 0.1")
    return float(tolerance)


def _checked_positions(trajectory: Any, ndim: int) -> NDArray[np.float64]:
    if is_torch(trajectory):
        trajectory = trajectory.detach().cpu().numpy()
    elif on_gpu(trajectory):
        trajectory = trajectory.get()
    k = np.asarray(trajectory)
    if not (np.issubdtype(k.dtype, np.floating) or np.issubdtype(k.dtype, np.integer)):
        raise TypeError(f"trajectory is {k.dtype}, expected real positions")
    if k.ndim < 2 or k.shape[-1] != ndim:
        raise ValueError(
            f"trajectory has shape {k.shape}, expected (*frames, sample, {ndim}): one coordinate "
            f"for each of the {ndim} image axes"
        )
    if 0 in k.shape:
        raise ValueError(f"trajectory has shape {k.shape}: there are no samples")
    k = np.array(k, np.float64, order="C")  # a copy: tables are filled at the first transform
    low, high = float(k.min()), float(k.max())
    if not np.isfinite(low + high):
        raise ValueError(f"trajectory holds {np.count_nonzero(~np.isfinite(k))} NaN or infinite")
    if low < -0.5 or high >= 0.5:
        raise ValueError(
            f"trajectory spans [{low:.4g}, {high:.4g}], expected cycles per pixel in [-0.5, 0.5): "
            "divide radians per pixel by 2 pi, multiples of 1/FOV by the matrix size"
        )
    return k
