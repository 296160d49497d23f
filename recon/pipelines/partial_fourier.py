"""Partial Fourier as an option of methods that make a whole Cartesian k-space."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..mri import homodyne, pocs
from ..operators import Fourier
from .raw_chain import RawOptions
from .registry import option


@dataclass(frozen=True)
class PartialFourierOptions(RawOptions):
    """Options of the raw chain, and partial Fourier."""

    partial_fourier: str = option(
        "zero-fill",
        "what becomes of the side of k-space that was not measured",
        choices=("zero-fill", "homodyne", "pocs"),
    )


def completed(kspace: Tensor, mask: Tensor, kind: str, ndim: int) -> Tensor:
    """Coil images of k-space whose box was measured, its missing side as `kind` says."""
    if kind == "homodyne":
        return homodyne(kspace, mask, ndim=ndim)
    if kind == "pocs":
        kspace = pocs(kspace, mask, ndim=ndim)
    return Fourier(kspace.shape[-ndim:]).adjoint(kspace)
