"""The non-uniform Fourier transform: one plan per trajectory, many transforms."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import is_torch, like, on_gpu, to_cuda, to_numpy
from ..threads import ForkLock
from .cpu_plan import CpuPlan
from .fft import fast_length
from .toeplitz import pairs, point_spread
from .window import choose, cost

LEAST_TOLERANCE = {"complex64": 1e-6, "complex128": 1e-12}
GREATEST_TOLERANCE = 0.1
SINGLE_ABOVE = 1e-5  # tolerances of `normal` in 3D that are well served by single precision

# One convolution is built at a time: each takes every thread and grids of twice the image size.
_building = ForkLock()


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
    memory_limit : bytes the working grid may take, at least one coil's; None allows half of what
        is free

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
        if memory_limit is not None and not memory_limit > 0:
            raise ValueError(f"memory_limit={memory_limit}: expected bytes, or None")
        positions = _checked_positions(trajectory, len(self.image_shape))
        self.frames: tuple[int, ...] = positions.shape[:-2]
        self.samples: int = positions.shape[-2]
        width, grid_shape = choose(self.tolerance, self.image_shape, self.samples, upsampling)
        flat = positions.reshape(-1, self.samples, len(self.image_shape))
        arguments = flat, self.image_shape, grid_shape, width, memory_limit
        self._device = _gpu_of(trajectory) if device is None else _gpu_named(device)
        self._transform: Any
        if self._device is None:
            self._transform = CpuPlan(*arguments)
        else:
            from .cuda_plan import CudaPlan

            self._transform = CudaPlan(*arguments, self._device)
        self._options: dict[str, Any] = {
            "upsampling": upsampling,
            "memory_limit": memory_limit,
            "device": self._device,
        }
        self._last: tuple[Any, Any, Any] = None, None, None  # weights, basis, their convolution

    @property
    def backend(self) -> str:
        """What computes: "numba" on the CPU, "cuda" on an NVIDIA GPU."""
        return str(self._transform.backend)

    @property
    def memory(self) -> int:
        """Bytes that `forward` or `adjoint` in complex64 need beside input and output.

        On the CPU for any number of coils. On a GPU of one: as many go together as `memory_limit`
        allows, or half of what is free. `normal` may take `normal_memory`.
        """
        return int(self._transform.memory())

    @property
    def normal_memory(self) -> int:
        """Bytes that `normal` needs beside input and output, without a basis.

        The convolution, where it is the cheaper way and stays under `memory_limit`; else both
        transforms and the samples of a coil between them. A GPU takes up to 512 MiB more for the
        spectra of coils that go together, or what `memory_limit` allows.
        """
        if len(self.image_shape) > 1 and self._convolves():
            return self.memory + self._convolution_bytes()
        return self.memory + 8 * self._transform.frames * self.samples

    @property
    def width(self) -> int:
        """Window width in grid cells."""
        return int(self._transform.width)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of the oversampled grid."""
        return tuple(self._transform.grid_shape)

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

    def normal(self, x: Any, weights: Any = None, basis: Any = None) -> Any:
        """``A^H W A x`` for images: a convolution, or both transforms where they cost less.

        Parameters
        ----------
        x : complex (*frames, *batch, *image_shape), with a basis (*frames, *batch, K, *image_shape)
        weights : real (*frames, sample) or (sample,)
        basis : real or complex (*frames, K, sample) or (K, sample)
            Temporal basis phi at each sample's time: x are the coefficients of a series of images,
            and the result is ``sum_l A^H conj(phi_k) W phi_l A x_l`` for each k.
        """
        phi = None if basis is None else self._checked_basis(basis)
        inner = () if phi is None else phi.shape[1:2]
        images, batch = self._checked("image", x, (*inner, *self.image_shape))
        w = None if weights is None else self._checked_weights(weights, images)
        phi = None if phi is None else _cast(phi, images.dtype)
        if len(self.image_shape) > 1 and self._convolves():
            result = self._convolution(w, phi)(images)
        elif phi is None:
            data = self._transform.forward(images)
            result = self._transform.adjoint(data if w is None else data * w)
        else:
            frames, coils = images.shape[:2]
            single = images.reshape(frames, -1, *self.image_shape)
            data = self._transform.forward(single).reshape(frames, coils, -1, self.samples)
            series = (phi[:, None] * data).sum(2)
            series = series if w is None else series * w
            data = phi.conj()[:, None] * series[:, :, None]
            result = self._transform.adjoint(data.reshape(frames, -1, self.samples))
        return like(result.reshape(*self.frames, *batch, *inner, *self.image_shape), x)

    def _convolves(self) -> bool:
        """Whether the convolution costs less than both transforms, and has the memory it needs."""
        limit = self._options["memory_limit"]
        if limit is not None and self._convolution_bytes() > limit:
            return False
        pair = cost(self._transform.width, self.image_shape, self.grid_shape, self.samples)
        double = tuple(fast_length(2 * n) for n in self.image_shape)
        return cost(0, self.image_shape, double, 0) < pair

    def _convolution_bytes(self) -> int:
        """When it is built: the point spread, its spectrum and that in another precision."""
        double = float(np.prod([fast_length(2 * n) for n in self.image_shape]))
        return int(2.5 * self._transform.frames * double * (8 if self._in_single() else 16))

    def _in_single(self) -> bool:
        # Accuracy costs nothing at later calls; of a volume, double precision would take gigabytes.
        return self.tolerance >= SINGLE_ABOVE and len(self.image_shape) == 3

    def _convolution(self, weights: Any, basis: Any) -> Any:
        """The convolution for these weights and basis, kept for the next call with the same."""
        convolution = self._kept(weights, basis)
        if convolution is not None:
            return convolution
        with _building:
            convolution = self._kept(weights, basis)  # another thread may have built it meanwhile
            if convolution is None:
                convolution = self._built(weights, basis)
                # copies: the caller may change what it gave in place
                self._last = _copy(weights), _copy(basis), convolution
        return convolution

    def _built(self, weights: Any, basis: Any) -> Any:
        dtype, best = ("complex64", 1e-6) if self._in_single() else ("complex128", 1e-8)
        accuracy = max(min(self.tolerance / 2, best), LEAST_TOLERANCE["complex128"])
        shape = self._transform.frames, 1, self.samples
        w = np.ones(shape) if weights is None else weights
        for name, given in (("weights", weights), ("basis", basis)):
            if given is not None and not np.isfinite(abs(complex(given.sum()))):
                raise ValueError(f"{name} hold NaN or infinity")
        w = self._transform.own(w)
        if basis is not None:
            first, second = pairs(basis.shape[1])
            w = w * basis.conj()[:, first] * basis[:, second]
        psf = point_spread(self._transform.refined(accuracy), _cast(w, dtype))
        if basis is None:
            return self._transform.convolution(psf[:, 0])
        from .subspace import SubspaceToeplitz

        return SubspaceToeplitz(psf, self.image_shape, self._options["memory_limit"])

    def _kept(self, weights: Any, basis: Any) -> Any:
        kept_weights, kept_basis, convolution = self._last
        same = _equal(kept_weights, weights) and _equal(kept_basis, basis)
        return convolution if same else None

    def _checked_weights(self, weights: Any, images: Any) -> Any:
        w = self._taken("weights", weights)
        if tuple(w.shape) not in ((self.samples,), (*self.frames, self.samples)):
            raise ValueError(
                f"weights have shape {tuple(w.shape)}, expected ({self.samples},)"
                + (f" or {(*self.frames, self.samples)}" if self.frames else "")
            )
        if _name(w.dtype).startswith("complex"):
            raise TypeError(f"weights are {w.dtype}, expected real")
        return _cast(w, images.real.dtype).reshape(-1, 1, self.samples)

    def _checked_basis(self, basis: Any) -> Any:
        phi = self._taken("basis", basis)
        shape = tuple(phi.shape)
        if phi.ndim < 2 or shape[-1] != self.samples or shape[:-2] not in ((), self.frames):
            frames = "".join(f"{n}, " for n in self.frames)
            raise ValueError(f"basis has shape {shape}, expected ({frames}K, {self.samples})")
        return phi.reshape(-1, *shape[-2:])

    def _taken(self, name: str, x: Any) -> Any:
        """The data as the backend takes them: a NumPy array, or a CUDA tensor."""
        if self._device is None:
            return to_numpy(name, x)
        return to_cuda(name, x, self._device)

    def _checked(self, name: str, x: Any, trailing: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
        """Return data as (frame, coil, *trailing) and the batch axes between."""
        array = self._taken(name, x)
        shape, dtype = tuple(array.shape), _name(array.dtype)
        expected = ", ".join([*map(str, self.frames), "*batch", *map(str, trailing)])
        ndim, frames = array.ndim - len(trailing), len(self.frames)
        if ndim < frames or shape[ndim:] != trailing or shape[:frames] != self.frames:
            raise ValueError(f"{name} has shape {shape}, expected ({expected})")
        if dtype not in LEAST_TOLERANCE:
            raise TypeError(f"{name} is {dtype}, expected complex64 or complex128")
        if self.tolerance < LEAST_TOLERANCE[dtype]:
            raise ValueError(
                f"tolerance={self.tolerance:g} is out of reach of {dtype} "
                f"({LEAST_TOLERANCE[dtype]:g} at best): give {name} as complex128"
            )
        batch = shape[frames:ndim]
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


def _cast(array: Any, dtype: Any) -> Any:
    """The same array, NumPy or torch, in another precision."""
    if is_torch(array):
        return array.to(getattr(sys.modules["torch"], _name(dtype)))
    return array.astype(_name(dtype), copy=False)


def _copy(array: Any) -> Any:
    return array.clone() if is_torch(array) else None if array is None else array.copy()


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all())


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _gpu_of(trajectory: Any) -> Any:
    """The CUDA device where a trajectory lies, or None on the CPU."""
    if not on_gpu(trajectory):
        return None
    if is_torch(trajectory):
        return trajectory.device
    return _gpu_named(f"cuda:{trajectory.device.id}")


def _gpu_named(device: Any) -> Any:
    """A CUDA device with its number, or None for the CPU."""
    import torch

    device = torch.device(device)
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        raise TypeError(f"device={device}: the NUFFT runs on the CPU and on CUDA devices")
    if not torch.cuda.is_available():
        raise TypeError(f"device={device}: torch {torch.__version__} sees no CUDA device here")
    return torch.device("cuda", device.index or 0)


def _checked_shape(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    whole = isinstance(image_shape, Iterable) and all(isinstance(n, Integral) for n in image_shape)
    shape = tuple(int(n) for n in image_shape) if whole else ()
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError(f"image_shape={image_shape}: expected 1 to 3 positive whole sizes")
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
        span = f"trajectory spans [{low:.4g}, {high:.4g}], expected cycles per pixel in [-0.5, 0.5)"
        if max(-low, high) < 0.6:
            raise ValueError(f"{span}: 0.5 is -0.5, so wrap what is beyond, or leave it out")
        raise ValueError(
            f"{span}: divide radians per pixel by 2 pi, multiples of 1/FOV by the matrix size; "
            "multiply cycles per metre by the pixel size in metres"
        )
    return k
