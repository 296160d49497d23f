"""Masks of several kinds and accelerations for one network."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import RandomState
from torch import Tensor

from ...datasets.line_masks import MaskSampler, Seed


class MaskMixture(MaskSampler):
    """Draws one of several mask samplers for each mask.

    Parameters
    ----------
    samplers
        Such as `LineMask` and `PoissonMask`.
    turned
        Whether half of the masks are transposed, so that lines run along either axis.
    """

    def __init__(self, samplers: Sequence[MaskSampler], *, turned: bool = False) -> None:
        if not samplers:
            raise ValueError("a mixture needs at least one mask sampler")
        self.samplers, self.turned = tuple(samplers), turned

    def __call__(self, matrix: Sequence[int], seed: Seed) -> tuple[Tensor, int]:
        """Mask ``(ky, kx)``, bool, and the number of lines of its centre."""
        random = seed if isinstance(seed, RandomState) else RandomState(seed)
        sampler = self.samplers[random.randint(len(self.samplers))]
        shape = tuple(matrix)
        turn = self.turned and bool(random.randint(2))
        mask, lines = sampler(shape[::-1] if turn else shape, random)
        mask = mask.expand(shape[::-1] if turn else shape)
        return (mask.mT if turn else mask).contiguous(), lines
