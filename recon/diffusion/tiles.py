"""Overlapping tiles that cover an image of any size, and their blend."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

Corner = tuple[int, int]


class Tiling:
    """Square tiles over ``(y, x)``, at a random place each time, joined by weights that fade.

    Parameters
    ----------
    shape
        Of the image.
    size
        Pixels a side of a tile.
    overlap
        Least overlap of neighbours, pixels.
    generator
        Moves the tiles, so that seams fall elsewhere in each call; None: they stay.
    """

    def __init__(
        self, shape: tuple[int, int], size: int, overlap: int, generator: torch.Generator | None
    ) -> None:
        self.shape, self.size, self.overlap = shape, size, overlap
        rows, columns = (_starts(n, size, overlap, generator) for n in shape)
        self.corners: list[Corner] = list(product(rows, columns))
        self._before = max(0, -rows[0]), max(0, -columns[0])
        ends = rows[-1] + size, columns[-1] + size
        self._after = tuple(max(0, end - n) for end, n in zip(ends, shape, strict=True))

    def cut(self, image: Tensor) -> Tensor:
        """``(batch, channel, y, x)`` to ``(batch tile, channel, size, size)``, zero outside."""
        padded = functional.pad(
            image, (self._before[1], self._after[1], self._before[0], self._after[0])
        )
        tiles = [self._at(padded, corner) for corner in self.corners]
        return torch.stack(tiles, 1).flatten(0, 1)

    def positions(self, like: Tensor) -> Tensor:
        """Where the pixels of tiles lie, ``(tile, 2, size, size)``: -1 to 1 across the image."""
        steps = torch.arange(self.size, device=like.device, dtype=like.dtype) + 0.5
        grids = []
        for corner in self.corners:
            axes = [(c + steps) * (2 / n) - 1 for c, n in zip(corner, self.shape, strict=True)]
            grids.append(torch.stack(torch.meshgrid(*axes, indexing="ij")))
        return torch.stack(grids)

    def join(self, tiles: Tensor) -> Tensor:
        """``(batch tile, channel, size, size)`` to ``(batch, channel, y, x)``."""
        tiles = tiles.reshape(-1, len(self.corners), *tiles.shape[1:])
        ramp = torch.arange(1, self.size + 1, device=tiles.device, dtype=tiles.dtype)
        fade = torch.minimum(ramp, ramp.flip(0)).clamp_max(self.overlap + 1)
        window = fade[:, None] * fade
        padded = [n + a + b for n, a, b in zip(self.shape, self._before, self._after, strict=True)]
        total = tiles.new_zeros((len(tiles), tiles.shape[2], *padded))
        weight = tiles.new_zeros(padded)
        for index, corner in enumerate(self.corners):
            self._at(total, corner).add_(tiles[:, index] * window)
            self._at(weight, corner).add_(window)
        (top, left), (ny, nx) = self._before, self.shape
        inside = slice(top, top + ny), slice(left, left + nx)
        return total[..., inside[0], inside[1]] / weight[inside]

    def _at(self, padded: Tensor, corner: Corner) -> Tensor:
        top, left = corner[0] + self._before[0], corner[1] + self._before[1]
        return padded[..., top : top + self.size, left : left + self.size]


def _starts(n: int, size: int, overlap: int, generator: torch.Generator | None) -> list[int]:
    """First pixels of as few tiles as cover n, evenly spread, moved by what they have to spare."""
    count = 1 + max(0, -(-(n - size) // (size - overlap)))
    spare = count * size - (count - 1) * overlap - n
    # tiles hardly reach further out than those of the training
    most = spare if count == 1 else min(spare, size // 4)
    before = _within(most, generator)
    if count == 1:
        return [-before]
    last = n + _within(min(spare - before, size // 4), generator) - size
    return [round(-before + index * (last + before) / (count - 1)) for index in range(count)]


def _within(most: int, generator: torch.Generator | None) -> int:
    """From 0 to most: at random, or the middle."""
    return most // 2 if generator is None else int(torch.randint(most + 1, (), generator=generator))
