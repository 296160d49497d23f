"""The encoding of parallel MR imaging: coil sensitivities, then Fourier samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ..arrays import lengths
from .base import LinearOperator, Shape, linear_map, require_same, require_trailing
from .coils import CoilSensitivity, combine, expand
from .fourier import Fourier
from .sampling import checked_mask

if TYPE_CHECKING:
    from .nufft import NonUniformFourier

BLOCK_BYTES = 1 << 29  # of coil images worked on together,
LEAST_COILS = 8  # which the transforms take at once, or one with off-resonance


class Sense(LinearOperator):
    """Image to the k-space of every coil, Cartesian or along a trajectory.

    ``(*batch, [z,] y, x)`` to ``(*batch, coil, [kz,] ky, kx)`` or ``(*batch, coil, sample)``.

    Parameters
    ----------
    maps
        Complex sensitivities ``(*batch, coil, [z,] y, x)``.
    mask
        Cartesian: boolean ``(*batch, [kz,] ky, kx)``, true where measured; axes of length 1
        broadcast. Default: everything was measured.
    trajectory
        ``(*batch, sample, ndim)`` in cycles per pixel, last axis ordered as the image axes; or a
        `NonUniformFourier` operator, to share its plan among several maps.
    weights
        Non-Cartesian: ``(sample,)`` or ``(*frames, sample)``, not negative, such as a density
        compensation. The operator becomes ``W^(1/2) A``: least squares weighted by W, for data
        multiplied by its root.
    ndim
        Axes of space: 3 for volumes. A trajectory's last axis decides where there is one.

    References
    ----------
    K. P. Pruessmann et al., Magn Reson Med 42, 952 (1999) and 46, 638 (2001).
    """

    mask: Tensor | None
    weights: Tensor | None
    _shifted: Tensor | None

    def __init__(
        self,
        maps: Tensor,
        *,
        mask: Tensor | None = None,
        trajectory: Tensor | NonUniformFourier | None = None,
        weights: Tensor | None = None,
        ndim: int = 2,
    ) -> None:
        if not isinstance(maps, Tensor):
            raise TypeError(f"maps are {type(maps).__name__}, expected a torch tensor")
        if mask is not None and trajectory is not None:
            raise ValueError("Sense takes a mask (Cartesian) or a trajectory, not both")
        if weights is not None and trajectory is None:
            raise ValueError("weights are for the samples of a trajectory")
        if isinstance(trajectory, Tensor):
            from .nufft import NonUniformFourier

            shape = maps.shape[maps.ndim - trajectory.shape[-1] :]
            trajectory = NonUniformFourier(trajectory, tuple(shape))
        if trajectory is not None:
            ndim = len(trajectory.domain_shape)
        coils = CoilSensitivity(maps, ndim)
        encoding = Fourier(coils.domain_shape) if trajectory is None else trajectory
        require_same("image_shape", encoding.domain_shape, "maps", coils.domain_shape)
        super().__init__(coils.domain_shape, (coils.range_shape[0], *encoding.range_shape))
        self.coils, self.encoding, self.dtype = coils, encoding, encoding.dtype
        if weights is None:
            self.register_buffer("weights", None)
        else:
            check_weights(weights, encoding.range_shape)
            self.hold("weights", weights)
        self._axes = tuple(range(-len(coils.domain_shape), 0))
        # F^H M F is a circular convolution and commutes with the shifts of the centred transform:
        # once the mask itself is shifted, the normal operator needs none.
        centred, shifted = None, None
        if mask is not None:
            centred = coil_mask(mask, coils.domain_shape).to(maps.real.dtype)
            shifted = torch.fft.ifftshift(centred, dim=self._axes)
        self.register_buffer("mask", centred, persistent=False)
        self.register_buffer("_shifted", shifted, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Image to k-space, zero where nothing was measured."""
        self.coils.check_image(x)
        parts = [self.encoding(self._expand(x, block)) for block in self._blocks(x, -self._axes[0])]
        y = parts[0] if len(parts) == 1 else torch.cat(parts, -1 - len(self.encoding.range_shape))
        return self._weighted(y if self.mask is None else y * self.mask)

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space to the coil-combined image."""
        require_trailing("k-space", y, self.range_shape)
        axis = -1 - len(self.encoding.range_shape)

        def part(block: slice) -> Tensor:
            z = _slice(y, axis, block)
            z = self._weighted(z if self.mask is None else z * self.mask)
            return self._combine(self.encoding.adjoint(z), block)

        return _sum(part, self._blocks(y, len(self.range_shape)))

    def _weighted(self, y: Tensor) -> Tensor:
        if self.weights is None:
            return y
        # the root has no slope at zero, where density compensation may be
        zero = self.weights == 0
        root = torch.where(zero, 0, torch.where(zero, 1, self.weights).sqrt())
        return y * cast("NonUniformFourier", self.encoding).spread(root, y)

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A: without a shift (Cartesian), or by the trajectory's fast normal operator."""
        self.coils.check_image(x)
        if any(t.requires_grad for t in (*self.parameters(), *self.buffers())):
            return self._normal(x)
        return linear_map(x, self._normal, self._normal)  # nothing inside is kept for a gradient

    def _normal(self, x: Tensor) -> Tensor:
        def part(block: slice) -> Tensor:
            return self._combine(self._gram(self._expand(x, block)), block)

        return _sum(part, self._blocks(x, -self._axes[0]))

    def _gram(self, z: Tensor) -> Tensor:
        """F^H W F of coil images."""
        if not isinstance(self.encoding, Fourier):
            return self.encoding.normal(z, self.weights)
        if self._shifted is None:
            return z
        k = torch.fft.fftn(z, dim=self._axes)
        return cast(Tensor, torch.fft.ifftn(k.mul_(self._shifted), dim=self._axes))

    def _blocks(self, x: Tensor, axes: int) -> list[slice]:
        """Coils that are worked on together, so that volumes of many coils fit in memory.

        `axes` of `x` are its own, the others are batch.
        """
        segments = getattr(self.encoding, "segments", None)
        each = self.domain_shape if segments is None else (len(segments.times), *self.domain_shape)
        items = math.prod((*x.shape[: x.ndim - axes], *each))
        step = max(
            LEAST_COILS if segments is None else 1, BLOCK_BYTES // max(1, items * x.element_size())
        )
        coils = self.range_shape[0]
        return [slice(first, min(first + step, coils)) for first in range(0, coils, step)]

    def _expand(self, x: Tensor, block: slice) -> Tensor:
        ndim = len(self.domain_shape)
        return expand(x, _slice(self.coils.maps, -1 - ndim, block), ndim)

    def _combine(self, z: Tensor, block: slice) -> Tensor:
        ndim = len(self.domain_shape)
        return combine(z, _slice(self.coils.maps, -1 - ndim, block), ndim)

    def norm(self, *arguments: Any, **options: Any) -> float:
        """Upper bound of the largest singular value if Cartesian, else by power iteration.

        The bound is ``max_r sqrt(sum_c |maps|^2)``, tight where low frequencies are measured.
        """
        if isinstance(self.encoding, Fourier):
            return float(lengths(self.coils.maps, self._axes[0] - 1).max())
        return super().norm(*arguments, **options)


def check_weights(weights: Tensor, samples: Shape) -> None:
    """Raise an error for weights that are not ``(*frames, sample)``, real, finite and >= 0."""
    if weights.is_complex():
        raise TypeError(f"weights are {weights.dtype}, expected real")
    if weights.shape[-1:] != samples:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}, expected (*frames, {samples[0]})"
        )
    if not bool((weights.detach() >= 0).all() and torch.isfinite(weights.detach()).all()):
        raise ValueError("weights hold negative numbers, NaN or infinity: expected 0 or more")


def _slice(x: Tensor, axis: int, block: slice) -> Tensor:
    count = block.stop - block.start
    return x if count == x.shape[axis] else x.narrow(axis, block.start, count)


def _sum(part: Callable[[slice], Tensor], blocks: list[slice]) -> Tensor:
    result = part(blocks[0])
    for block in blocks[1:]:
        result = result + part(block)
    return result


def coil_mask(mask: Tensor, shape: Shape) -> Tensor:
    """Boolean mask ``(*batch, [kz,] ky, kx)`` with an axis of length 1 for the coils."""
    return checked_mask(mask, shape, "the maps' axes", batched=True).unsqueeze(-len(shape) - 1)
