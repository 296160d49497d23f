"""Loaders that go on where a killed run stopped, and pass over examples that cannot be read.

Each step's examples depend on the seed and the step alone: on which slices, and on what is drawn
for them (masks, noise, coils), with any number of worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from ..recon.arrays import require_finite
from .examples import collate
from .slices import SliceDataset

Draw = tuple[int | None, int]  # what to seed with, which example
Broken = dict[str, str]  # names of slices, and why they were passed over
_ATTEMPTS = 8  # slices in a row: beyond, it is no broken file


def rank_and_size() -> tuple[int, int]:
    """Return the process's number and how many there are, by torch.distributed; else 0 of 1."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class Order:
    """Batches of one epoch, from a position on: shuffled, each process its share.

    Parameters
    ----------
    count
        Examples.
    batch_size
        Examples a batch and process; the last batch of an epoch may be smaller.
    seed
        Of the shuffle and the draws.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.process, self.processes = rank_and_size()
        if count < self.processes:
            raise ValueError(f"{count} training examples for {self.processes} processes")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return -(-(self.count // self.processes) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        share = self.count // self.processes
        mine = generator.permutation(self.count)[
            self.process : share * self.processes : self.processes
        ]
        for batch in range(self.position, len(self)):
            first = batch * self.batch_size
            rows = range(first, min(first + self.batch_size, share))
            yield [
                (self._seed_of(self.epoch * self.count + row), int(mine[row])) for row in rows
            ]  # fmt: skip

    def _seed_of(self, draw: int) -> int:
        words = np.random.SeedSequence((self.seed, self.process, draw)).generate_state(2)
        return int(words[0]) << 20 ^ int(words[1])


class Loader(DataLoader[Any]):
    """A `DataLoader` of batches; in the place of a slice that cannot be read the next one stands.

    Attributes
    ----------
    broken
        The slices passed over, and why.
    """

    def __init__(self, dataset: Dataset[Any], workers: int, **options: Any) -> None:
        super().__init__(
            _Readable(dataset),
            collate_fn=_collate,
            num_workers=workers,
            pin_memory=workers > 0 and torch.cuda.is_available(),
            persistent_workers=workers > 0,  # they keep what the dataset has read
            generator=torch.Generator(),  # torch's own would be drawn from once more on resuming
            **options,
        )
        self.broken: Broken = {}

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch, broken in super().__iter__():
            self.broken.update(broken)
            yield batch


class ResumableLoader(Loader):
    """A loader whose place goes into Lightning's checkpoints, and back."""

    def __init__(self, dataset: Dataset[Any], order: Order, workers: int) -> None:
        super().__init__(dataset, workers, batch_sampler=order)
        self.order = order

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            # before the step: a checkpoint made after it shall begin with the next one
            self.order.position += 1
            if self.order.position == len(self.order):
                self.order.epoch, self.order.position = self.order.epoch + 1, 0
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Epoch, and batches of it that were given out."""
        return {"epoch": self.order.epoch, "position": self.order.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self.order.epoch, self.order.position = state["epoch"], state["position"]


class _Readable(Dataset[tuple[Any, Broken]]):
    """An example and the slices that could not be read before it; seeds torch where asked."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw | int) -> tuple[Any, Broken]:
        seed, first = draw if isinstance(draw, tuple) else (None, draw)
        broken: Broken = {}
        failure: Exception | None = None
        for index in range(first, first + min(_ATTEMPTS, len(self))):
            try:
                return self._example(index % len(self), seed), broken
            except (ValueError, OSError) as error:
                broken[self._name(index % len(self))] = " ".join(str(error).split())
                failure = failure or error
        assert failure is not None
        raise failure

    def _example(self, index: int, seed: int | None) -> Any:
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            example = self.dataset[index]
        for name, value in zip(getattr(example, "_fields", ()), example, strict=False):
            if isinstance(value, torch.Tensor):
                require_finite(name, value)  # one NaN would spoil all weights
        return example

    def _name(self, index: int) -> str:
        if not isinstance(self.dataset, SliceDataset):
            return f"example {index}"
        path, number = self.dataset.slices[index]
        return f"{path.name} slice {number}"


def _collate(items: Sequence[tuple[Any, Broken]]) -> tuple[Any, Broken]:
    broken: Broken = {}
    for _, passed_over in items:
        broken.update(passed_over)
    return collate([example for example, _ in items]), broken
