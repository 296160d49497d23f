"""Dominant eigenvectors: of all coils' data, and of many small matrices at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.arrays import to_numpy
from ...kernels.eigenvectors import dominant as power_iteration

_LARGE = 256  # dimension from which subspace iteration is faster
# An eigenvector at the threshold is off by the margin to this power, plus one, at most.
_STEPS, _MARGIN = 2, 1 / 4


def virtual_coils(data: Tensor, count: int = 1) -> Tensor:
    """Dominant virtual coils ``(coil, count)`` of ``(coil, sample)``: its principal components.

    Eigenvectors have any phase: with that of its largest entry taken out, each is the same on
    every machine.
    """
    principal: Tensor = torch.linalg.eigh(data @ data.mH)[1].flip(1)[:, :count]
    largest = principal.gather(0, principal.abs().argmax(0, keepdim=True))
    return principal * (largest.conj() / largest.abs())


def eigenvectors_above(matrix: Tensor, threshold: float) -> Tensor:
    """Orthonormal eigenvectors ``(n, kept)``, eigenvalues above `threshold` of the largest.

    Of a positive semidefinite matrix. Few are kept as a rule: a large matrix gives them by subspace
    iteration over a quarter of its dimension, unless the eigenvalues fall too slowly for that.
    """
    if len(matrix) >= _LARGE:
        basis = matrix[:, ::4]
        for _ in range(_STEPS):
            basis = matrix @ torch.linalg.qr(basis)[0]
        basis = torch.linalg.qr(basis)[0]
        values, rotation = torch.linalg.eigh(basis.mH @ (matrix @ basis))
        if bool(values[0] <= _MARGIN * threshold * values[-1]):
            return _above(values, basis @ rotation, threshold)
    values, vectors = torch.linalg.eigh(matrix)
    return _above(values, vectors, threshold)


def _above(values: Tensor, vectors: Tensor, threshold: float) -> Tensor:
    kept: Tensor = vectors[:, values > threshold * values[-1]]
    return kept


def dominant(entries: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues ``(maps, pixel)`` and eigenvectors ``(maps, coil, pixel)``.

    Subspace iteration from `start` ``(coil, maps)`` on positive semidefinite matrices, whose lower
    triangles are `entries` ``(coil * (coil + 1) / 2, pixel)``, row by row; with their eighth power,
    which small matrices make cheap. The first virtual coil, ``start[:, 0]``, sees each vector real
    and positive.
    """
    if start.shape[1] == 1 and entries.device.type == "cpu":
        host = to_numpy("entries", entries), to_numpy("start", start[:, 0])
        eigenvalues, eigenvectors = power_iteration(*host, iterations)
        return torch.from_numpy(eigenvalues)[None], torch.from_numpy(eigenvectors)[None]
    matrices = _matrices(entries, len(start))
    trace = matrices.diagonal(dim1=1, dim2=2).real.sum(1).clamp_min_(1e-30)
    power = matrices / trace[:, None, None]  # eigenvalues now lie between 1 / coils and 1
    for _ in range(3):
        power = power @ power
    vectors = start.expand(len(matrices), *start.shape)
    for _ in range(iterations):
        vectors = _orthonormal(power @ vectors)
    values, rotation = torch.linalg.eigh(vectors.mH @ (matrices @ vectors))
    vectors = vectors @ rotation.flip(2)
    inner = (start[:, :1].mH @ vectors)[:, 0]
    turn = torch.polar(torch.ones_like(inner.real), -inner.angle())
    return values.flip(1).mT, (vectors * turn[:, None]).permute(2, 1, 0)


def _matrices(entries: Tensor, coils: int) -> Tensor:
    """Whole Hermitian matrices ``(pixel, coil, coil)`` of their lower triangles."""
    rows, columns = torch.tril_indices(coils, coils, device=entries.device)
    matrices = entries.new_empty((entries.shape[1], coils, coils))
    matrices[:, columns, rows] = entries.mH
    matrices[:, rows, columns] = entries.mT
    return matrices


def _orthonormal(vectors: Tensor) -> Tensor:
    """Gram-Schmidt over the last axis, one pixel each."""
    columns: list[Tensor] = []
    for column in (vectors[:, :, i : i + 1] for i in range(vectors.shape[2])):
        for other in columns:
            column = column - other @ (other.mH @ column)
        columns.append(column * (column.mH @ column).real.clamp_min(1e-30).rsqrt())
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=2)
