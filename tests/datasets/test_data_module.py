"""Lightning's view of the datasets."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from dataset_files import write_fastmri

from spinray.datasets import FastMRI, LineMask


@pytest.fixture(autouse=True)
def lightning():
    reason = "no pytorch-lightning: the extra train has it"
    return pytest.importorskip("pytorch_lightning", reason=reason)


@pytest.fixture
def data(tmp_path) -> FastMRI:
    for index in range(3):
        write_fastmri(tmp_path / f"{index}.h5", depth=2 + index, seed=index)
    return FastMRI(tmp_path, LineMask("random", (0.2,), (4,)))


def test_loaders(data) -> None:
    from spinray.datasets import DataModule

    module = DataModule(train=data, val=data, batch_size=2)
    torch.manual_seed(0)
    batches = list(module.train_dataloader())
    assert [len(batch.kspace) for batch in batches] == [2, 2, 2, 2, 1]
    seen = {(n, int(i)) for b in batches for n, i in zip(b.fname, b.slice_number, strict=True)}
    assert len(seen) == 9
    order = [(batch.fname[0], int(batch.slice_number)) for batch in module.val_dataloader()]
    assert order == [(path.name, number) for path, number in data.slices]
    assert DataModule(train=data).val_dataloader() == []
    with pytest.raises(ValueError, match="no test dataset"):
        DataModule(train=data).test_dataloader()
    with pytest.raises(ValueError, match="batch_size"):
        DataModule(train=data, batch_size=0)


def test_volumes_stay_whole_on_several_processes(data) -> None:
    from spinray.datasets import VolumeSampler

    parts = [set(VolumeSampler(data, process, 2)) for process in range(2)]
    assert parts == [{0, 1, 5, 6, 7, 8}, {2, 3, 4}]
    # fewer volumes than processes: none may be without a slice
    many = [set(VolumeSampler(data, process, 4)) for process in range(4)]
    assert all(many)
    assert set().union(*many) == set(range(9))
    with pytest.raises(ValueError, match="9 slices for 10 processes"):
        VolumeSampler(data, 0, 10)
    # Lightning wraps any other sampler: processes would then see a part of their part.
    assert isinstance(VolumeSampler(data), torch.utils.data.DistributedSampler)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_slices_are_passed_over_and_listed(data, workers: int) -> None:
    """A NaN in one slice of thousands ends no training, and spoils no weights."""
    import h5py

    from spinray.datasets import DataModule

    with h5py.File(data.volumes[1], "a") as file:
        file["kspace"][1, 0, 3, 3] = np.nan
    module = DataModule(train=data, val=data, workers=workers)
    for loader in (module.train_dataloader(), module.val_dataloader()):
        batches = list(loader)
        assert len(batches) == 9
        assert all(bool(torch.isfinite(batch.kspace).all()) for batch in batches)
        assert [name for batch in batches for name in batch.fname].count("1.h5") == 3
    assert list(module.left_out) == ["1.h5 slice 1"]
    assert "NaN" in module.left_out["1.h5 slice 1"]


def test_a_setting_that_fits_no_slice_is_an_error(data) -> None:
    from spinray.datasets import DataModule

    data.mask = LineMask("random", (0.9,), (4,))
    with pytest.raises(ValueError, match="leave none for an acceleration"):
        list(DataModule(train=data).train_dataloader())


def test_a_trainer_moves_batches(data, tmp_path) -> None:
    """Named tuples go through Lightning's transfer and steps as they are."""
    import pytorch_lightning

    from spinray.datasets import DataModule, MRExample

    seen = []

    class Scale(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def training_step(self, batch, _):
            seen.append(type(batch))
            assert batch.crop_size == (16, 16)
            return (self.scale * batch.target / batch.max_value[:, None, None]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pytorch_lightning.Trainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Scale(), datamodule=DataModule(train=data))
    assert seen == [MRExample, MRExample]


def test_a_configuration_names_datasets_and_masks(data) -> None:
    jsonargparse = pytest.importorskip("jsonargparse", reason="no jsonargparse: the extra train")
    from spinray.datasets import DataModule

    mask = {
        "class_path": "spinray.datasets.LineMask",
        "init_args": {"kind": "magic", "center_fractions": [0.2], "accelerations": [4]},
    }
    train = {
        "class_path": "spinray.datasets.FastMRI",
        "init_args": {"folder": str(data.volumes[0].parent), "mask": mask},
    }
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DataModule, "data")
    given = parser.parse_object({"data": {"train": train, "batch_size": 2}})
    module = parser.instantiate_classes(given).data
    assert module.train.mask == LineMask("magic", (0.2,), (4,))
    assert len(next(iter(module.train_dataloader())).fname) == 2


def test_lightning_is_imported_when_it_is_needed() -> None:
    code = (
        "import sys, spinray.datasets as d; d.FastMRI, d.collate;"
        "assert not any(m.startswith('pytorch_lightning') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
