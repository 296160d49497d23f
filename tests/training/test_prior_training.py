"""A prior learns from patches, and keeps what errors it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.recon.ct.hounsfield import WATER

pl = pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")

from spinray.datasets import PatchExample  # noqa: E402
from spinray.recon.models import DRUNet, EDMDenoiser, MoDL, VarNet, save_model  # noqa: E402
from spinray.recon.training import (  # noqa: E402
    DenoiserTraining,
    MRTraining,
    PriorTraining,
)
from spinray.recon.training.prior import LEVELS  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    blocks = np.kron(random.random((4, 4, 5)), np.ones((1, 10, 10)))
    np.save(folder / "a.npy", (1000 * blocks).astype(np.float32))
    return folder


def test_patches_have_their_place_and_unit(folder: Path) -> None:
    torch.manual_seed(0)
    plain = sr.datasets.ImagePatches(folder, patch=24)
    volume = torch.from_numpy(np.load(folder / "a.npy"))
    for _ in range(5):
        example = plain[2]
        assert example.image.shape == (24, 24)
        assert example.image.is_complex()
        y, x = example.position
        inside = (y.abs() < 1) & (x.abs() < 1)
        assert not example.image[~inside].any()
        rows = ((y[inside] + 1) / 2 * 40 - 0.5).round().long()
        columns = ((x[inside] + 1) / 2 * 50 - 0.5).round().long()
        expected = volume[2, rows, columns]
        found = example.image[inside].abs()
        scale = expected.sum() / found.sum()
        torch.testing.assert_close(found * scale, expected, rtol=1e-4, atol=1e-2)
    assert float(example.image.abs().max()) == pytest.approx(1, abs=0.3)
    assert not torch.equal(plain[2].image, plain[2].image)
    fixed = sr.datasets.ImagePatches(folder, patch=24, fixed=True, turned=True, shrink=(0.5, 1))
    assert torch.equal(fixed[1].image, fixed[1].image)


def test_ct_patches_are_in_units_of_water(folder: Path) -> None:
    images = sr.datasets.ImagePatches(folder, hounsfield=True, patch=64, fixed=True)
    example = images[0]  # larger than the image: all of it, and zeros around
    assert not example.image.is_complex()
    volume = sr.ct.from_hounsfield(torch.from_numpy(np.load(folder / "a.npy"))) / WATER
    assert float(example.image.sum()) == pytest.approx(float(volume[0].sum()), rel=1e-4)
    small = sr.datasets.ImagePatches(
        folder, hounsfield=True, patch=64, shrink=(0.5, 0.5), fixed=True
    )
    assert float(small[0].image.sum()) == pytest.approx(float(volume[0].sum()) / 4, rel=0.02)
    with pytest.raises(ValueError, match="shrink must rise within"):
        sr.datasets.ImagePatches(folder, shrink=(0.5, 2))


@pytest.mark.parametrize("complex_images", [True, False])
def test_a_prior_learns_to_denoise(folder: Path, complex_images: bool, tmp_path: Path) -> None:
    pl.seed_everything(0)
    options = {"hounsfield": not complex_images, "patch": 16}
    data = sr.datasets.DataModule(
        sr.datasets.ImagePatches(folder, **options),
        sr.datasets.ImagePatches(folder, **options, fixed=True),
        batch_size=4,
    )
    network = EDMDenoiser(complex_images, chans=(8, 12), blocks=1, patch=16)
    module = PriorTraining(network, warmup=5, learning_rate=3e-3)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=160,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, check_val_every_n_epoch=None, val_check_interval=80,
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.validate(module, data, verbose=False)
    before = float(trainer.callback_metrics["val_loss"])
    trainer.fit(module, data)
    assert float(trainer.callback_metrics["val_loss"]) < 0.8 * before
    facts = module.facts.as_json()
    assert facts["modality"] == ("mri" if complex_images else "ct")
    rows = facts["figures"]["denoising"]
    assert [row[0] for row in rows] == list(LEVELS)
    assert all(0 < error < level for level, error, _ in rows if 0.5 <= level <= 1), rows
    module.facts.merge(facts)
    assert module.facts.as_json() == facts


def test_modl_starts_from_a_trained_denoiser(tmp_path) -> None:
    torch.manual_seed(0)
    model = DRUNet(2, 2, (4, 6), 1)
    task = DenoiserTraining(model, sigma=(0.05, 0.2))
    image = torch.zeros(4, 16, 16, dtype=torch.complex64)
    image[:, 4:12, 4:12] = 1
    batch = PatchExample(image, torch.zeros(4, 2, 16, 16), ["a"] * 4, [0] * 4)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    before = float(task._left(batch, torch.full((4,), 0.1)))
    for _ in range(150):
        low, high = task.range
        sigma = (low + (high - low) * torch.rand(4)).exp()
        optimizer.zero_grad()
        task._left(batch, sigma).backward()
        optimizer.step()
    after = float(task._left(batch, torch.full((4,), 0.1)))
    assert after < 0.5 < before
    path = save_model(model, tmp_path / "denoiser.safetensors")
    modl = MoDL(2, 2, (4, 6), 1)
    MRTraining(modl, denoiser=str(path))
    assert torch.equal(modl.denoiser.m_head.weight, model.m_head.weight)
    with pytest.raises(ValueError, match="another architecture"):
        MRTraining(MoDL(2, 2, (4, 8), 1), denoiser=str(path))
    with pytest.raises(ValueError, match="for MoDL, got VarNet"):
        MRTraining(VarNet(1), denoiser=str(path))
    with pytest.raises(ValueError, match="log_sigma must be a mean and a positive deviation"):
        PriorTraining(EDMDenoiser(chans=(4, 6), blocks=1), log_sigma=(-1.7,))
    with pytest.raises(ValueError, match="sigma must be two"):
        DenoiserTraining(model, sigma=(0.2, 0.1))
