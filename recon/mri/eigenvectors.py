"""Dominant eigenvectors: of all coils' data, and of many small matrices at once."""

from __future__ import annotations

import torch
from torch import Tensor


def virtual_coils(data: Tensor, count: int = 1) -> Tensor:
    """Dominant virtual coils ``(coil, count)`` of ``(coil, sample)``: its principal components.

    Eigenvectors have any phase: with that of its largest entry taken out, each is the same on
    every machine.
    """
    principal: Tensor = torch.linalg.eigh(data @ data.mH)[1].flip(1)[:, :count]
    largest = principal.gather(0, principal.abs().argmax(0, keepdim=True))
    return principal * (largest.conj() / largest.abs())


def dominant(matrices: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues ``(pixel, maps)`` and eigenvectors ``(pixel, coil, maps)``.

    Subspace iteration from `start` ``(coil, maps)`` on the positive semidefinite `matrices`
    ``(pixel, coil, coil)``, with their eighth power, which small matrices make cheap.
    """
    trace = matrices.diagonal(dim1=1, dim2=2).real.sum(1).clamp_min_(1e-30)
    power = matrices / trace[:, None, None]  # eigenvalues now lie between 1 / coils and 1
    for _ in range(3):
        power = power @ power
    vectors = start.expand(len(matrices), *start.shape)
    for _ in range(iterations):
        vectors = _orthonormal(power @ vectors)
    image = matrices @ vectors
    if start.shape[1] == 1:
        return (vectors.mH @ image).real[:, :, 0], vectors
    values, rotation = torch.linalg.eigh(vectors.mH @ image)
    return values.flip(1), vectors @ rotation.flip(2)


def _orthonormal(vectors: Tensor) -> Tensor:
    """Gram-Schmidt over the last axis, one pixel each."""
    columns: list[Tensor] = []
    for column in (vectors[:, :, i : i + 1] for i in range(vectors.shape[2])):
        for other in columns:
            column = column - other @ (other.mH @ column)
        columns.append(column * (column.mH @ column).real.clamp_min(1e-30).rsqrt())
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=2)
