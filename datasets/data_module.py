"""Datasets for Lightning: loaders of training, validation and test data.

This module imports pytorch-lightning, and `spinray.datasets` imports this module only when its
`DataModule` is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, DistributedSampler

try:
    from pytorch_lightning import LightningDataModule
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "DataModule needs pytorch-lightning: pip install 'spinray[train]'", name=error.name
    ) from error

from .loaders import Broken, Loader, Order, ResumableLoader, rank_and_size
from .slices import SliceDataset


class DataModule(LightningDataModule):
    """Training, validation and test datasets with their loaders.

    The training loader resumes at the step of a checkpoint, with the same slices and draws.
    Validation and test go through whole volumes, each on one process; with fewer volumes than
    processes they share out slices. In the place of a slice that cannot be read the next one
    stands, and `left_out` lists it.

    Parameters
    ----------
    train, val, test
        Datasets such as `FastMRI`; what is None has no loader.
    batch_size
        Slices a training step and process. Volumes whose k-space differs in size need 1.
    workers
        Processes that read data, each for one process of training.
    seed
        Of the training's order, and of all that is drawn for it.

    Notes
    -----
    On several processes the trainer needs ``use_distributed_sampler=False``, as ``spinray train``
    has it: the training data are shared out here.
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
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise ValueError(
                f"batch_size and workers must be 1 and 0 or more: {batch_size}, {workers}"
            )
        self.train, self.val, self.test = train, val, test
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        self._loaders: list[Loader] = []

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled slices, each process its share."""
        dataset = self._dataset("train")
        order = Order(len(dataset), self.batch_size, self.seed)  # type: ignore[arg-type]
        return self._kept(ResumableLoader(dataset, order, self.workers))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Slices in order, one at a time; nothing without a validation set."""
        return [] if self.val is None else self._in_order("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Slices in order, one at a time."""
        return self._in_order("test")

    @property
    def left_out(self) -> Broken:
        """Files and slices that could not be read so far in this process, and why."""
        parts = [p for p in (self.train, self.val, self.test) if isinstance(p, SliceDataset)]
        files = {path.name: reason for part in parts for path, reason in part.skipped}
        return files | {k: v for loader in self._loaders for k, v in loader.broken.items()}

    def _in_order(self, name: str) -> DataLoader[Any]:
        dataset = self._dataset(name)
        sampler = VolumeSampler(dataset) if isinstance(dataset, SliceDataset) else None
        return self._kept(Loader(dataset, self.workers, sampler=sampler))

    def _dataset(self, name: str) -> Dataset[Any]:
        dataset: Dataset[Any] | None = getattr(self, name)
        if dataset is None:
            raise ValueError(f"this DataModule has no {name} dataset")
        return dataset

    def _kept(self, loader: Loader) -> Loader:
        self._loaders.append(loader)
        return loader


class VolumeSampler(DistributedSampler[int]):
    """Slices in order; with several processes each takes whole volumes, if there are enough.

    A DistributedSampler, because Lightning would share out the slices of any other once more.

    Parameters
    ----------
    dataset
        Whose `slices` say which volume each belongs to.
    process, processes
        This process's rank, and how many there are. Default: torch.distributed's.

    Raises
    ------
    ValueError
        Fewer slices than processes.
    """

    def __init__(
        self,
        dataset: SliceDataset[Any],
        process: int | None = None,
        processes: int | None = None,
    ) -> None:
        rank, size = rank_and_size()
        process = rank if process is None else process
        processes = size if processes is None else processes
        super().__init__(dataset, num_replicas=processes, rank=process, shuffle=False)
        if len(dataset) < processes:
            raise ValueError(f"{dataset.name}: {len(dataset)} slices for {processes} processes")
        volumes = dataset.volumes
        if len(volumes) < processes:  # a process without a batch would wait for the others' figures
            self._indices = list(range(process, len(dataset), processes))
            return
        mine = set(volumes[process::processes])
        self._indices = [i for i, (path, _) in enumerate(dataset.slices) if path in mine]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)
