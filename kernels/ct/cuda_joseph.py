"""Joseph's projector on the GPU: what is uploaded, and the launches. The kernels: joseph.cu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..cuda import Compile, Defines, Module, exact_cuda_module, upload
from .beams import curve_of, kind_of
from .cuda_footprint import DEPTH
from .projector import Projector

SOURCE = Path(__file__).with_name("joseph.cu")
THREADS = 128


class CudaJoseph:
    """`Projector`'s Joseph model on stacks of CUDA tensors.

    Parameters
    ----------
    plan
        The projector: geometry, grid, ray frames, memory limit.
    device
        Where; None for a plan of the memory alone.
    compile_source
        Makes a `Module` of a CUDA source.
    """

    def __init__(
        self,
        plan: Projector,
        device: torch.device | None,
        compile_source: Compile = exact_cuda_module,
    ) -> None:
        self.plan, self.device, self._compile = plan, device, compile_source
        spacing, origin = plan.lattice()
        self._numbers = np.array([*curve_of(plan.geometry), *spacing, *origin])
        self._kept: tuple[Tensor, Tensor] | None = None

    def forward(self, stack: Tensor) -> Tensor:
        """Project ``(n, [z,] y, x)`` to ``(n, view, [row,] column)``."""
        out = stack.new_empty((len(stack), *self.plan.geometry.shape))
        for start, stop in self._pieces(stack):
            volumes = stack[start:stop]
            turned = self._turned(volumes, copy=True)
            self._launch("forward", volumes, turned, out[start:stop])
        return out

    def adjoint(self, stack: Tensor) -> Tensor:
        """Apply the transpose to ``(n, view, [row,] column)``."""
        out = stack.new_zeros((len(stack), *self.plan.volume.shape))
        for start, stop in self._pieces(out):
            volumes = out[start:stop]
            turned = self._turned(volumes, copy=False)
            self._launch("adjoint", volumes, turned, stack[start:stop])
            if turned is not volumes:
                volumes += turned.transpose(-1, -2)
        return out

    def memory(self, itemsize: int = 4) -> int:
        """Bytes used beside input and output for one volume or `DEPTH` slices."""
        return self._fixed + (self._turning(itemsize) if self._can_turn(itemsize) else 0)

    @property
    def _fixed(self) -> int:
        """Bytes of the tables."""
        return int(self.plan.frames.nbytes + self._numbers.nbytes)

    @property
    def _together(self) -> int:
        """Volumes or slices that go together."""
        return 1 if self.plan.volume.ndim == 3 else DEPTH

    def _turning(self, itemsize: int) -> int:
        """Bytes of turned volumes."""
        return self._together * itemsize * int(np.prod(self.plan.volume.shape))

    def _can_turn(self, itemsize: int) -> bool:
        """Whether the memory limit leaves room for turned volumes; slower without."""
        limit = self.plan.memory_limit
        return limit is None or self._fixed + self._turning(itemsize) <= limit

    def _pieces(self, volumes: Tensor) -> list[tuple[int, int]]:
        """First and last + 1 of the volumes or slices that go together."""
        step = self._together
        return [(i, min(i + step, len(volumes))) for i in range(0, len(volumes), step)]

    def _turned(self, volumes: Tensor, *, copy: bool) -> Tensor:
        """``(n, [z,] x, y)``, copied or zero; the volumes themselves where there is no room."""
        if not self._can_turn(volumes.itemsize):
            return volumes
        turned = volumes.transpose(-1, -2)
        if copy:
            return turned.contiguous()
        return torch.zeros(turned.shape, dtype=turned.dtype, device=turned.device)

    def _launch(self, name: str, volumes: Tensor, turned: Tensor, sinograms: Tensor) -> None:
        if self._kept is None:
            self._kept = (
                upload(self.plan.frames, torch.float64, self.device),
                upload(self._numbers, torch.float64, self.device),
            )
        depth = 1 if len(volumes) < 3 else DEPTH
        rows, columns = (1, *self.plan.geometry.shape[1:])[-2:]
        views, rays = len(self.plan.geometry), sinograms[0].numel()
        self._module(volumes.dtype, depth).launch(
            name, (-(-rays // THREADS), -(-len(volumes) // depth)), THREADS, volumes, turned,
            sinograms, *self._kept, kind_of(self.plan.geometry), int(turned is not volumes),
            len(volumes), views, rows, columns, *(1, *self.plan.volume.shape)[-3:],
        )  # fmt: skip

    def _module(self, dtype: torch.dtype, depth: int) -> Module:
        return self._compile(SOURCE, self.defines(dtype, depth))

    @staticmethod
    def defines(dtype: torch.dtype, depth: int) -> Defines:
        """What the source is compiled with, for `depth` volumes a thread."""
        single = dtype == torch.float32
        return (
            ("REAL", "float" if single else "double"), ("DEPTH", str(depth)),
            ("FIXED", str(int(single))),
        )  # fmt: skip
