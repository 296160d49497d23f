"""The X-ray transform: line integrals of an image along the rays of a CT geometry."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ...kernels.ct.geometry import Geometry, VolumeGrid
from ...kernels.ct.projector import Model, Projector
from .base import LinearOperator, Shape, linear_map, require_trailing


class XRayTransform(LinearOperator):
    """Line integrals ``(*batch, [z,] y, x)`` to ``(*batch, view, [row,] column)``, real.

    Attenuation in 1/mm gives line integrals without unit. Its adjoint is the exact transpose.

    Parameters
    ----------
    geometry
        Where source and detector stood. A 2D geometry takes stacks of slices as batch.
    volume
        The image's grid.
    model
        ``"separable-footprint"`` (finite pixels and detector cells) or ``"joseph"`` (thin rays).
    memory_limit
        Bytes that a call may use beside image and sinogram; default: no limit.

    Raises
    ------
    ValueError
        As `kernels.ct.Projector`.
    """

    dtype = torch.float32

    def __init__(
        self,
        geometry: Geometry,
        volume: VolumeGrid,
        *,
        model: Model = "separable-footprint",
        memory_limit: int | None = None,
    ) -> None:
        super().__init__(volume.shape, geometry.shape)
        self.geometry, self.volume = geometry, volume
        self._projector = Projector(geometry, volume, model=model, memory_limit=memory_limit)

    def views(self, index: slice) -> XRayTransform:
        """The transform of some of the views, as ordered subsets take them."""
        projector = self._projector
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what all views do not see was told of
            return XRayTransform(
                self.geometry[index],
                self.volume,
                model=projector.model,
                memory_limit=projector.memory_limit,
            )

    def norm(
        self,
        iterations: int = 10,
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        batch: Shape = (),
    ) -> float:
        """Largest singular value; see `LinearOperator.norm`. Few steps suffice: see `_probe`."""
        return super().norm(iterations, seed=seed, dtype=dtype, device=device, batch=batch)

    def _probe(self, shape: Shape, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        """Ones: no weight is negative, so neither is the singular vector, and it is smooth."""
        return torch.ones(shape, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(*batch, [z,] y, x)``."""
        require_trailing("image", x, self.domain_shape)
        return linear_map(x, self._projector.forward, self._projector.adjoint)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the transpose to ``(*batch, view, [row,] column)``."""
        require_trailing("sinogram", y, self.range_shape)
        return linear_map(y, self._projector.adjoint, self._projector.forward)
