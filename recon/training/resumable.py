"""Training data that go on exactly where a killed run stopped.

Each step's examples depend on the seed and the step alone: on which slices, and on what is drawn
for them (masks, noise, coils), with any number of worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from ...datasets import collate
from ...datasets.data_module import DataModule

Draw = tuple[int, int]  # what to seed with, which example


class Examples(Protocol):
    """A dataset, as configurations can name it: ``Dataset[Any]`` they cannot (jsonargparse)."""

    def __len__(self) -> int:
        """How many examples."""

    def __getitem__(self, index: int) -> Any:
        """One of them."""


class TrainingData(DataModule):
    """`datasets.DataModule` whose training loader resumes at the step.

    Parameters
    ----------
    train, val, test, batch_size, workers
        As `datasets.DataModule`.
    seed
        Of the order, and of all that is drawn.
    """

    def __init__(
        self,
        train: Examples | None = None,
        val: Examples | None = None,
        test: Examples | None = None,
        *,
        batch_size: int = 1,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        parts = (cast(Dataset[Any] | None, part) for part in (train, val, test))
        super().__init__(*parts, batch_size=batch_size, workers=workers)
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled slices, each process its share."""
        if self.train is None:
            raise ValueError("this TrainingData has no train dataset")
        order = Order(len(self.train), self.batch_size, self.seed)  # type: ignore[arg-type]
        return ResumableLoader(self.train, order, self.workers)


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
        running = distributed.is_available() and distributed.is_initialized()
        self.process = distributed.get_rank() if running else 0
        self.processes = distributed.get_world_size() if running else 1
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


class ResumableLoader(DataLoader[Any]):
    """A `DataLoader` whose place goes into Lightning's checkpoints, and back."""

    def __init__(self, dataset: Dataset[Any], order: Order, workers: int) -> None:
        super().__init__(
            _Seeded(dataset),
            batch_sampler=order,
            collate_fn=collate,
            num_workers=workers,
            generator=torch.Generator(),  # torch's own would be drawn from once more on resuming
        )
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


class _Seeded(Dataset[Any]):
    """Seeds torch for every example."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, draw: Draw) -> Any:
        seed, index = draw
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.dataset[index]
