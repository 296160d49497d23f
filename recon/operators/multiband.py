"""Simultaneous multislice: several slices in one k-space, each shifted by its own phase."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import LinearOperator, require_trailing
from .coils import CoilSensitivity
from .fourier import Fourier
from .sampling import checked_mask


class MultibandSense(LinearOperator):
    """Slices that are excited together, to their common k-space in every coil.

    ``(*batch, slice, y, x)`` to ``(*batch, coil, ky, kx)``.

    Parameters
    ----------
    maps
        Complex sensitivities ``(slice, coil, y, x)``.
    shifts
        ``(slice,)``: how far along y each slice is shifted, in fields of view, by its phase
        ``exp(2 pi i shift (ky - ny // 2))`` from line to line (blipped CAIPIRINHA).
    mask
        Boolean ``(ky, kx)``, true where measured; axes of length 1 broadcast. Default: everything
        was measured.

    References
    ----------
    F. A. Breuer et al., Magn Reson Med 53, 684 (2005); K. Setsompop et al., Magn Reson Med 67,
    1210 (2012).
    """

    mask: Tensor | None
    phases: Tensor

    def __init__(
        self, maps: Tensor, shifts: Sequence[float] | Tensor, *, mask: Tensor | None = None
    ) -> None:
        if maps.ndim != 4 or len(shifts) != len(maps):
            raise ValueError(
                f"maps must be (slice, coil, y, x) with one shift a slice, got "
                f"{tuple(maps.shape)} and {len(shifts)} shifts"
            )
        slices, coils, *shape = maps.shape
        super().__init__((slices, *shape), (coils, *shape))
        self.coils, self.encoding = CoilSensitivity(maps), Fourier(tuple(shape))
        self.dtype = maps.dtype
        self.register_buffer("phases", slice_phases(shifts, shape[0], maps), persistent=False)
        if mask is not None:
            mask = checked_mask(mask, tuple(shape), "the maps' axes").expand(*shape)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Slices to k-space, zero where nothing was measured."""
        require_trailing("slices", x, self.domain_shape)
        y = (self.encoding(self.coils(x)) * self.phases).sum(-4)
        return y if self.mask is None else y * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space to coil-combined slices."""
        require_trailing("k-space", y, self.range_shape)
        y = y if self.mask is None else y * self.mask
        return self.coils.adjoint(self.encoding.adjoint(y.unsqueeze(-4) * self.phases.conj()))


def slice_phases(shifts: Sequence[float] | Tensor, lines: int, like: Tensor) -> Tensor:
    """Phase of each slice's lines, ``(slice, 1, ky, 1)``; see `MultibandSense`."""
    each = torch.as_tensor(shifts, dtype=torch.float64, device="cpu")
    turns = each[:, None] * (torch.arange(lines) - lines // 2)
    phases = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    return phases[:, None, :, None].to(like.device, like.dtype)
