"""Datasets for Lightning: loaders of training, validation and test data.

This module imports pytorch-lightning, and `spinray.datasets` imports this module only when its
`DataModule` is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

try:
    from pytorch_lightning import LightningDataModule
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "DataModule needs pytorch-lightning: pip install 'spinray[train]'", name=error.name
    ) from error

from .examples import collate
from .slices import SliceDataset


class DataModule(LightningDataModule):
    """Training, validation and test datasets with their loaders.

    Validation and test go through whole volumes, also on several processes, so that figures of a
    volume can be computed where its slices are.

    Parameters
    ----------
    train, val, test
        Datasets such as `FastMRI`; what is None has no loader.
    batch_size
        Slices a training step and process. Volumes whose k-space differs in size need 1.
    workers
        Processes that read data, each for one process of training.
    """

    def __init__(
        self,
        # Bare: configurations cannot name what fits Dataset[Any] (jsonargparse).
        train: Dataset | None = None,  # type: ignore[type-arg]
        val: Dataset | None = None,  # type: ignore[type-arg]
        test: Dataset | None = None,  # type: ignore[type-arg]
        *,
        batch_size: int = 1,
        workers: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise ValueError(
                f"batch_size and workers must be 1 and 0 or more: {batch_size}, {workers}"
            )
        self.train, self.val, self.test = train, val, test
        self.batch_size, self.workers = batch_size, workers

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled slices."""
        return self._loader("train", batch_size=self.batch_size, shuffle=True, drop_last=False)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Slices in order, one at a time; nothing without a validation set."""
        return [] if self.val is None else self._loader("val", sampler=_in_order(self.val))

    def test_dataloader(self) -> DataLoader[Any]:
        """Slices in order, one at a time."""
        return self._loader("test", sampler=_in_order(self.test))

    def _loader(self, name: str, **options: Any) -> DataLoader[Any]:
        dataset = getattr(self, name)
        if dataset is None:
            raise ValueError(f"this DataModule has no {name} dataset")
        return DataLoader(
            dataset,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            **options,
        )


class VolumeSampler(DistributedSampler[int]):
    """Slices in order; with several processes each takes whole volumes.

    A DistributedSampler, because Lightning would share out the slices of any other once more.

    Parameters
    ----------
    dataset
        Whose `slices` say which volume each belongs to.
    process, processes
        This process's rank, and how many there are. Default: torch.distributed's.
    """

    def __init__(
        self,
        dataset: SliceDataset[Any],
        process: int | None = None,
        processes: int | None = None,
    ) -> None:
        running = distributed.is_available() and distributed.is_initialized()
        if process is None:
            process = distributed.get_rank() if running else 0
        if processes is None:
            processes = distributed.get_world_size() if running else 1
        super().__init__(dataset, num_replicas=processes, rank=process, shuffle=False)
        mine = set(dataset.volumes[process::processes])
        self._indices = [i for i, (path, _) in enumerate(dataset.slices) if path in mine]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


def _in_order(dataset: Dataset[Any] | None) -> VolumeSampler | None:
    return VolumeSampler(dataset) if isinstance(dataset, SliceDataset) else None
