"""Partial Fourier: the part of k-space that was left out, from its conjugate symmetry.

Phase encodings that start late and echoes that are cut short (asymmetric echoes) are the same
here: an axis on which one side of the middle was measured further than the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor

from ..operators import Fourier
from ..operators.sampling import checked_mask

_LEAST = 4  # samples beyond the middle of k-space that a phase can be told from


def homodyne(kspace: Tensor, mask: Tensor | None = None, *, ndim: int = 2) -> Tensor:
    """Images from k-space that is short on one axis, without iteration.

    Samples whose mirror is missing count twice, with a ramp across the symmetric middle; the
    image is real once the phase of that middle is taken off.

    Parameters
    ----------
    kspace
        Complex ``(*batch, [kz,] ky, kx)``, coils are batch; filled in inside the measured box.
    mask
        Bool ``([kz,] ky, kx)``, true where measured: its bounding box counts. Default: where any
        batch item is non-zero.
    ndim
        Axes of space: 3 for volumes.

    Returns
    -------
    Tensor
        Complex images ``(*batch, [z,] y, x)`` with the phase of the middle of k-space.

    Raises
    ------
    ValueError
        More than one short axis (see `pocs`), too little beyond the middle.

    References
    ----------
    D. C. Noll et al., IEEE Trans Med Imaging 10, 154 (1991).
    """
    spans = measured_spans(kspace, mask, ndim)
    short = [axis for axis, span in enumerate(spans) if span.is_short]
    fourier = Fourier(kspace.shape[-ndim:])
    if not short:
        return fourier.adjoint(kspace)
    if len(short) > 1:
        raise ValueError(f"homodyne takes one short axis, axes {short} are: use pocs")
    span = spans[short[0]]
    k = torch.arange(span.size, device=kspace.device) - span.size // 2
    ramp = (1 + span.longer_side * k / span.symmetric).clamp(0, 2).to(kspace.real.dtype)
    weighted = fourier.adjoint(kspace * _along(ramp, short[0], ndim))
    phase = _phase(kspace, spans, fourier)
    return (weighted * phase.conj()).real * phase


def pocs(
    kspace: Tensor, mask: Tensor | None = None, *, iterations: int = 5, ndim: int = 2
) -> Tensor:
    """Fill in k-space that is short on one axis or more, by projections onto convex sets.

    The image is given the phase of the symmetric middle, then its measured samples, in turn.

    Parameters
    ----------
    kspace
        Complex ``(*batch, [kz,] ky, kx)``, coils are batch; filled in inside the measured box.
    mask
        Bool ``([kz,] ky, kx)``, true where measured: its bounding box counts. Default: where any
        batch item is non-zero.
    iterations
        Of both projections.
    ndim
        Axes of space: 3 for volumes.

    Returns
    -------
    Tensor
        K-space as `kspace`, unchanged inside the box.

    Raises
    ------
    ValueError
        Too little beyond the middle.

    References
    ----------
    E. M. Haacke et al., J Magn Reson 92, 126 (1991).
    """
    spans = measured_spans(kspace, mask, ndim)
    if not any(span.is_short for span in spans):
        return kspace
    fourier = Fourier(kspace.shape[-ndim:])
    phase = _phase(kspace, spans, fourier)
    box: tuple[EllipsisType | slice, ...] = (
        ...,
        *(slice(span.first, span.last + 1) for span in spans),
    )
    filled = kspace
    for _ in range(iterations):
        filled = fourier(fourier.adjoint(filled).abs() * phase)
        filled[box] = kspace[box]
    return filled


@dataclass(frozen=True)
class Span:
    """The measured part of an axis of k-space: samples `first` to `last` of `size`."""

    size: int
    first: int
    last: int

    @property
    def symmetric(self) -> int:
        """Samples on the shorter side of the middle."""
        return min(self.size // 2 - self.first, self.last - self.size // 2)

    @property
    def longer_side(self) -> int:
        """1 if the longer side is above the middle, -1 if below."""
        return 1 if self.last - self.size // 2 > self.size // 2 - self.first else -1

    @property
    def is_short(self) -> bool:
        """Whether one side is shorter by more than the one sample of an even matrix."""
        return abs(self.last + self.first - 2 * (self.size // 2)) > 1


def measured_spans(kspace: Tensor, mask: Tensor | None, ndim: int) -> list[Span]:
    """Bounding box of what was measured, an axis each.

    Raises
    ------
    ValueError
        Nothing measured, too little beyond the middle of a short axis, a mask of another matrix.
    """
    if not kspace.is_complex() or kspace.ndim < ndim:
        raise ValueError(
            f"kspace must be complex (*batch, [kz,] ky, kx), got {kspace.dtype} "
            f"{tuple(kspace.shape)}"
        )
    shape = kspace.shape[-ndim:]
    if mask is None:
        mask = (kspace != 0).reshape(-1, *shape).any(0)
    places = checked_mask(mask, tuple(shape), "kspace").expand(shape).nonzero()
    if not len(places):
        raise ValueError("nothing was measured: the mask is empty, or kspace is zero")
    ends = zip(shape, places.amin(0).tolist(), places.amax(0).tolist(), strict=True)
    spans = [Span(n, low, high) for n, low, high in ends]
    for axis, span in enumerate(spans):
        if span.is_short and span.symmetric < _LEAST:
            raise ValueError(
                f"axis {axis} of k-space was measured from {span.first} to {span.last} of "
                f"{span.size}, {span.symmetric} beyond the middle: {_LEAST} are needed"
            )
    return spans


def _phase(kspace: Tensor, spans: list[Span], fourier: Fourier) -> Tensor:
    """Unit-modulus phase of the symmetric middle, Hann-windowed on the short axes."""
    middle = kspace
    for axis, span in enumerate(spans):
        if span.is_short:
            k = torch.arange(span.size, device=kspace.device) - span.size // 2
            inside = (k.abs() / (span.symmetric + 1)).clamp(max=1)
            window = (0.5 + 0.5 * torch.cos(torch.pi * inside)).to(kspace.real.dtype)
            middle = middle * _along(window, axis, len(spans))
    return torch.sgn(fourier.adjoint(middle))


def _along(values: Tensor, axis: int, ndim: int) -> Tensor:
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])
