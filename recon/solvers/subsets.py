"""An operator cut into parts by its rows, for methods that take some of the data at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import EllipsisType

import torch
from torch import Tensor

from ..operators.base import LinearOperator, Shape

Index = tuple[slice, ...]


class Subsets:
    """Parts ``A_m`` of an operator, in the order in which they are taken, and their data's places.

    Parameters
    ----------
    parts
        Operators with one domain.
    places
        Where the data of each part stand in the data of all: an index of the last axes.
    whole_shape
        Shape of all data.

    Raises
    ------
    ValueError
        No part, other domains, places whose shapes are not those of the parts' data.
    """

    def __init__(
        self, parts: Sequence[LinearOperator], places: Sequence[Index], whole_shape: Shape
    ) -> None:
        if not parts or len(parts) != len(places):
            raise ValueError(f"needs a place for each part, got {len(parts)} and {len(places)}")
        self.parts, self.places = tuple(parts), tuple(places)
        self.domain_shape, self.range_shape = parts[0].domain_shape, tuple(whole_shape)
        like = torch.empty(()).expand(whole_shape)
        for part, place in zip(parts, places, strict=True):
            shape = tuple(like[place].shape)
            if part.domain_shape != self.domain_shape or part.range_shape != shape:
                raise ValueError(
                    f"a part takes {part.domain_shape} to {part.range_shape}, expected "
                    f"{self.domain_shape} to {shape}"
                )

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[LinearOperator]:
        return iter(self.parts)

    def cut(self, name: str, data: Tensor) -> list[Tensor]:
        """Data of each part, contiguous, from ``(*batch, *range_shape)``.

        What broadcasts to the data, such as one weight for all rays, is expanded first.

        Raises
        ------
        ValueError
            Data that do not fit.
        """
        batch = data.shape[: max(data.ndim - len(self.range_shape), 0)]
        require_broadcast(name, data, (*batch, *self.range_shape))
        whole = data.expand(*batch, *self.range_shape)
        return [whole[_last_axes(place)].contiguous() for place in self.places]


def _last_axes(place: Index) -> tuple[slice | EllipsisType, ...]:
    return (..., *place)


def whole(A: LinearOperator) -> Subsets:
    """All of an operator as its only part."""
    return Subsets([A], [(slice(None),) * len(A.range_shape)], A.range_shape)


def as_subsets(A: LinearOperator | Subsets) -> Subsets:
    """Subsets as they are, an operator as its only part."""
    return A if isinstance(A, Subsets) else whole(A)


def spread_order(count: int) -> list[int]:
    """The numbers 0 to count - 1 with neighbours in time far apart, by steps of the golden ratio.

    References
    ----------
    H. Guan, R. Gordon, Phys Med Biol 39, 2005 (1994): the order of access matters.
    """
    step = max(round(count * (math.sqrt(5) - 1) / 2), 1)
    while math.gcd(step, count) != 1:
        step += 1
    return [k * step % count for k in range(count)]


def require_broadcast(name: str, x: Tensor, shape: Shape) -> None:
    """Raise a `ValueError` for what does not broadcast to a shape."""
    try:
        x.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, which does not broadcast to {tuple(shape)}"
        ) from None
