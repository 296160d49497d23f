"""Penalties of the differences between neighbouring voxels: Markov random fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from types import EllipsisType
from typing import Literal, get_args

import torch
from torch import Tensor

from ..operators.base import Shape

Potential = Literal["quadratic", "huber", "q-ggmrf"]
Q = 1.2  # of the q-GGMRF: how fast it grows for large differences, as in Thibault's paper
Index = tuple[slice | EllipsisType, ...]
MEAN_COSINE = {1: 1.0, 2: 2 / math.pi, 3: 0.5}  # of a gradient with random directions


class NeighborPenalty:
    """``delta * sum_jk b_jk s_jk psi((x_j - x_k) / delta)`` over neighbours, diagonal too.

    Potentials, with t the difference over delta: ``"quadratic"`` ``t^2 / 2``; ``"huber"`` the same
    up to 1 and ``|t| - 1/2`` beyond; ``"q-ggmrf"`` ``t^2 / 2 / (1 + |t|^(2 - q))``, which keeps
    growing as ``|t|^1.2``. The b fall with distance, and are such that for large differences
    Huber's penalty is about ``strength`` times the isotropic total variation. The s are the
    strength, or the geometric mean of both voxels'.

    Parameters
    ----------
    shape
        Axes of space, the last of ``(*batch, *shape)``.
    strength
        Slope of the penalty for large differences: a number, or of each voxel,
        ``(*batch, *shape)``.
    delta
        Difference of two neighbours from which on it counts as an edge, in the image's unit.
    potential
        One of the three.
    spacing
        Of the voxels, ``(*shape)``: neighbours farther away weigh less. Default: equal.

    Raises
    ------
    ValueError
        Another potential, negative strength, a delta that is not positive.

    References
    ----------
    P. J. Huber, Robust Statistics (1981); J.-B. Thibault et al., Med Phys 34, 4526 (2007).
    """

    def __init__(
        self,
        shape: Shape,
        strength: float | Tensor,
        delta: float,
        *,
        potential: Potential = "q-ggmrf",
        spacing: Sequence[float] | None = None,
    ) -> None:
        if potential not in get_args(Potential):
            raise ValueError(
                f"potential must be one of {', '.join(get_args(Potential))}, got {potential!r}"
            )
        least, largest = _range(strength)
        if not 0 <= least <= largest < math.inf or not 0 < delta < math.inf:
            raise ValueError(
                f"strength must be 0 or more and delta positive, got {least} and {delta}"
            )
        self.shape, self.delta = tuple(shape), delta
        self._root = strength.sqrt() if isinstance(strength, Tensor) else math.sqrt(strength)
        self.potential: Potential = potential
        self._pairs = _pairs(self.shape, spacing or (1.0,) * len(shape))

    @property
    def curvature(self) -> float | Tensor:
        """Bound of the second derivative, separated into voxels (De Pierro): a number or image."""
        # each pair bends both of its voxels, with twice its curvature; each voxel has two of a kind
        if not isinstance(self._root, Tensor):
            return 4 * self._root * self._root / self.delta * sum(b for _, _, b in self._pairs)
        total = torch.zeros_like(self._root)
        for here, there, b in self._pairs:
            both = (self._root[here] * self._root[there]).mul_(2 * b / self.delta)
            total[here] += both
            total[there] += both
        return total

    def value(self, x: Tensor) -> Tensor:
        """The penalty of each image ``(*batch, *shape)``, ``(*batch,)``."""
        axes = tuple(range(-len(self.shape), 0))
        total = x.new_zeros(x.shape[: x.ndim - len(axes)])
        for here, there, b in self._pairs:
            t = (x[here] - x[there]).div_(self.delta)
            total += b * self._by_strength(self._psi(t), here, there).sum(axes)
        return self.delta * total

    def gradient(self, x: Tensor) -> Tensor:
        """Its gradient ``(*batch, *shape)``."""
        out = torch.zeros_like(x)
        for here, there, b in self._pairs:
            slope = self._slope((x[here] - x[there]).div_(self.delta)).mul_(b)
            slope = self._by_strength(slope, here, there)
            out[here] += slope
            out[there] -= slope
        return out

    def _by_strength(self, of_pairs: Tensor, here: Index, there: Index) -> Tensor:
        root = self._root
        if isinstance(root, Tensor):
            return of_pairs.mul_(root[here]).mul_(root[there])
        return of_pairs.mul_(root * root)

    def _psi(self, t: Tensor) -> Tensor:
        half = t.square() / 2
        if self.potential == "quadratic":
            return half
        size = t.abs()
        if self.potential == "huber":
            return torch.where(size < 1, half, size - 0.5)
        return half / (1 + size.pow(2 - Q))

    def _slope(self, t: Tensor) -> Tensor:
        if self.potential == "quadratic":
            return t
        if self.potential == "huber":
            return t.clamp_(-1, 1)
        u = t.abs().pow_(2 - Q)
        return t.mul_((1 + Q / 2 * u).div_(u.add_(1).square_()))


Pair = tuple[Index, Index, float]


def _range(strength: float | Tensor) -> tuple[float, float]:
    if isinstance(strength, Tensor):
        return float(strength.min()), float(strength.max())
    return strength, strength


def _pairs(shape: Shape, spacing: Sequence[float]) -> list[Pair]:
    """Of each direction: index of the one voxels, of their neighbours, and b."""
    ndim, unit = len(shape), min(spacing)
    found: list[Pair] = []
    for step in itertools.product((-1, 0, 1), repeat=ndim):
        if step <= (0,) * ndim or any(s and n < 2 for s, n in zip(step, shape, strict=True)):
            continue  # one of the two ways round; no neighbour along an axis of length 1
        distance = math.hypot(*(s * d for s, d in zip(step, spacing, strict=True))) / unit
        sides = list(zip(step, shape, strict=True))
        here: Index = (..., *(slice(max(s, 0), n + min(s, 0)) for s, n in sides))
        there: Index = (..., *(slice(max(-s, 0), n - max(s, 0)) for s, n in sides))
        found.append((here, there, 1 / distance))
    scale = len(found) * MEAN_COSINE.get(ndim, 0.5)
    return [(first, second, b / scale) for first, second, b in found]
