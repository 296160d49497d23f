"""Receive coils: the image seen through their sensitivities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...kernels import cuda_coils
from ...kernels.coils import combine as combine_on_cpu
from ...kernels.coils import expand as expand_on_cpu
from .base import LinearOperator, Map, Shape, linear_map, require_trailing, version_of


class CoilSensitivity(LinearOperator):
    """Multiply an image by each coil's sensitivity; the adjoint combines with the conjugate maps.

    ``(*batch, [z,] y, x)`` to ``(*batch, coil, [z,] y, x)``.

    Parameters
    ----------
    maps
        Complex sensitivities ``(*batch, coil, [z,] y, x)``; gradients flow to them.
    ndim
        Axes of space: 3 for volumes.
    """

    maps: Tensor

    def __init__(self, maps: Tensor, ndim: int = 2) -> None:
        if not maps.is_complex():
            raise TypeError(f"maps must be complex, got {maps.dtype}")
        if ndim < 1 or maps.ndim <= ndim:
            raise ValueError(
                f"maps must be (*batch, coil, + {ndim} axes of space), got {tuple(maps.shape)}"
            )
        super().__init__(maps.shape[-ndim:], maps.shape[-ndim - 1 :])
        self.hold("maps", maps)

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, [z,] y, x)`` to coil images ``(*batch, coil, [z,] y, x)``."""
        self.check_image(x)
        return expand(x, self.maps, len(self.domain_shape))

    def adjoint(self, y: Tensor) -> Tensor:
        """Coil images ``(*batch, coil, [z,] y, x)`` to the combined image."""
        require_trailing("coil images", y, self.range_shape)
        self._check_batch("coil images", y.shape[: y.ndim - len(self.range_shape)])
        return combine(y, self.maps, len(self.domain_shape))

    def check_image(self, x: Tensor) -> None:
        """Raise a `ValueError` for an image that does not fit the maps."""
        require_trailing("image", x, self.domain_shape)
        self._check_batch("image", x.shape[: x.ndim - len(self.domain_shape)])

    def _check_batch(self, name: str, batch: Shape) -> None:
        own = self.maps.shape[: self.maps.ndim - len(self.range_shape)]
        aligned = batch[len(batch) - len(own) :]
        fits = all(m in (1, n) for m, n in zip(own, aligned, strict=False))
        if len(own) > len(batch) or not fits:
            raise ValueError(f"{name} has batch {tuple(batch)}, the maps have {tuple(own)}")


def expand(x: Tensor, maps: Tensor, ndim: int) -> Tensor:
    """``maps * x``: images ``(*batch, *space)``, maps ``(*batch, coil, *space)``."""
    if not _one_pass(x, maps, x.shape[: x.ndim - ndim], ndim):
        return x.unsqueeze(-ndim - 1) * maps
    return _map(x, maps, lambda z: _expand(z, maps, ndim), lambda z: _combine(z, maps, ndim))


def combine(y: Tensor, maps: Tensor, ndim: int) -> Tensor:
    """Transpose of `expand`: ``sum_coil conj(maps) * y``."""
    if not _one_pass(y, maps, y.shape[: y.ndim - ndim - 1], ndim):
        return (maps.conj() * y).sum(-ndim - 1)
    return _map(y, maps, lambda z: _combine(z, maps, ndim), lambda z: _expand(z, maps, ndim))


def _map(x: Tensor, maps: Tensor, apply: Map, apply_adjoint: Map) -> Tensor:
    """`linear_map` that raises, as torch's product does, if the maps changed in between."""
    version = version_of(maps)

    def backward(z: Tensor) -> Tensor:
        if version_of(maps) != version:
            raise RuntimeError("the maps were modified in place after they were used")
        return apply_adjoint(z)

    return linear_map(x, apply, backward)


def _one_pass(x: Tensor, maps: Tensor, batch: Shape, ndim: int) -> bool:
    """Whether the kernels take these: of one type and device, without gradients to the maps."""
    own = maps.shape[: maps.ndim - ndim - 1]
    return (
        x.device == maps.device
        and (x.device.type == "cpu" or (x.device.type == "cuda" and cuda_coils.available()))
        and x.dtype == maps.dtype
        and not (maps.requires_grad and torch.is_grad_enabled())
        and tuple(own) == tuple(batch[len(batch) - len(own) :])
    )


def _expand(x: Tensor, maps: Tensor, ndim: int) -> Tensor:
    batch, space = x.shape[: x.ndim - ndim], maps.shape[-ndim:]
    flat, flat_maps = _flat(x, -1, math.prod(space)), _flat_maps(maps, ndim)
    if x.device.type == "cpu":
        images = torch.from_numpy(expand_on_cpu(flat.numpy(), flat_maps.numpy()))
    else:
        images = cuda_coils.expand(flat, flat_maps)
    return images.reshape(*batch, maps.shape[-ndim - 1], *space)


def _combine(y: Tensor, maps: Tensor, ndim: int) -> Tensor:
    batch, space = y.shape[: y.ndim - ndim - 1], maps.shape[-ndim:]
    flat = _flat(y, -1, maps.shape[-ndim - 1], math.prod(space))
    flat_maps = _flat_maps(maps, ndim)
    if y.device.type == "cpu":
        image = torch.from_numpy(combine_on_cpu(flat.numpy(), flat_maps.numpy()))
    else:
        image = cuda_coils.combine(flat, flat_maps)
    return image.reshape(*batch, *space)


def _flat_maps(maps: Tensor, ndim: int) -> Tensor:
    return _flat(maps, -1, maps.shape[-ndim - 1], math.prod(maps.shape[-ndim:]))


def _flat(x: Tensor, *shape: int) -> Tensor:
    return x.detach().resolve_conj().resolve_neg().contiguous().reshape(shape)
