"""Losses, masks, and one training step of each kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_files import write_fastmri

import spinray as sr

pl = pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")

from spinray.datasets import DataModule, SimulatedMR  # noqa: E402
from spinray.datasets.loaders import Order  # noqa: E402
from spinray.datasets.reports import subject_keys  # noqa: E402
from spinray.recon.models import (  # noqa: E402
    FBPUNet,
    LearnedPrimalDual,
    MoDL,
    Network,
    PromptVarNet,
    VarNet,
)
from spinray.recon.training import (  # noqa: E402
    CTTraining,
    ImageLogger,
    MRTraining,
    training_loss,
)
from spinray.recon.training.facts import Facts  # noqa: E402
from spinray.recon.training.losses import nmse, psnr, ssim  # noqa: E402

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "max_steps": 2,
    "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}  # fmt: skip
VARNET = {"num_cascades": 1, "sens_chans": 2, "sens_pools": 2, "chans": 2, "pools": 2}


def test_figures_are_those_of_the_evaluation() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 30, 40)
    image = target + 0.1 * torch.randn(2, 30, 40)
    peak = torch.tensor([1.3, 0.9])
    pairs = [(target[i].numpy(), image[i].numpy(), float(peak[i])) for i in range(2)]
    for figure, ours in ((sr.metrics.ssim, ssim), (sr.metrics.psnr, psnr)):
        expected = np.mean([figure(t, x, data_range=p) for t, x, p in pairs])
        assert float(ours(image, target, peak)) == pytest.approx(expected, rel=1e-4)
    expected = np.mean([sr.metrics.nmse(t, x) for t, x, _ in pairs])
    assert float(nmse(image, target)) == pytest.approx(expected, rel=1e-5)


def test_losses_are_zero_at_the_target_and_have_no_unit() -> None:
    torch.manual_seed(0)
    target, peak = torch.rand(2, 20, 20), torch.tensor([1.0, 2.0])
    image = target + 0.1 * torch.randn_like(target)
    for name in ("ssim", "l1", "mse", "nmse", "ssim+l1"):
        loss = training_loss(name)
        assert float(loss(target, target, peak)) == pytest.approx(0, abs=1e-6)
        value = loss(image, target, peak)
        assert float(value) > 1e-3
        torch.testing.assert_close(loss(1e3 * image, 1e3 * target, 1e3 * peak), value)
    ratio = training_loss("psnr")
    assert float(ratio(image, target, peak)) == pytest.approx(
        -float(psnr(image, target, peak)) / 10, abs=1e-3
    )
    torch.testing.assert_close(
        ratio(1e3 * image, 1e3 * target, 1e3 * peak), ratio(image, target, peak)
    )
    with pytest.raises(ValueError, match="loss must be one of ssim, l1"):
        training_loss("perceptual")


def test_mixed_masks_run_along_both_axes() -> None:
    mixture = sr.datasets.MaskMixture(
        [sr.datasets.LineMask("random", (0.2,), (4,)), sr.datasets.PoissonMask((4.0,), 6)],
        turned=True,
    )
    masks = [mixture((32, 24), seed)[0] for seed in range(24)]
    assert all(mask.shape == (32, 24) and mask.dtype == torch.bool for mask in masks)
    along = {(bool((m == m[:1]).all()), bool((m == m[:, :1]).all())) for m in masks}
    assert along == {(True, False), (False, True), (False, False)}
    assert torch.equal(mixture((32, 24), 3)[0], masks[3])


def test_the_order_is_one_of_all_slices_and_shared_out() -> None:
    order = Order(10, 3, seed=5)
    first = [index for batch in order for _, index in batch]
    assert sorted(first) == list(range(10))
    assert len(list(order)) == len(order) == 4
    order.epoch = 1
    second = [draw for batch in order for draw in batch]
    assert [index for _, index in second] != first
    order.position = 2
    assert [draw for batch in order for draw in batch] == second[6:]
    shares = []
    for process in range(2):
        part = Order(10, 3, seed=5)
        part.process, part.processes = process, 2
        shares.append({index for batch in part for _, index in batch})
    assert shares[0] | shares[1] == set(range(10))
    assert not shares[0] & shares[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    blocks = np.kron(random.random((3, 4, 4)), np.ones((1, 8, 8)))
    np.save(folder / "a.npy", blocks.astype(np.float32))
    return folder


@pytest.mark.parametrize(
    ("model", "maps", "precision"),
    [
        (VarNet(**VARNET), None, "bf16-mixed"),
        (MoDL(unrolls=2, iterations=3, chans=(4, 6), blocks=1), "true", "bf16-mixed"),
        (
            PromptVarNet(1, slices=1, chans=4, levels=1, prompts=2, sens_chans=2, sens_pools=2),
            None,
            "32-true",
        ),
    ],
    ids=["varnet", "modl", "prompt"],
)
def test_mr_networks_learn(folder: Path, model: Network, maps: str | None, precision: str) -> None:
    options = {"mask": sr.datasets.LineMask("random", (0.3,), (2,)), "coils": 3, "maps": maps}
    data = DataModule(
        sr.datasets.SimulatedMR(folder, **options),
        sr.datasets.SimulatedMR(folder, **options, fixed=True),
    )
    module = MRTraining(model, warmup=1, checkpointing=True)
    trainer = pl.Trainer(**QUIET, precision=precision, callbacks=[ImageLogger()])
    before = {name: p.clone() for name, p in model.named_parameters()}
    trainer.fit(module, data)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert len(moved) > len(before) / 2
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    facts = module.facts.as_json()
    assert facts["coils"] == [3, 3]
    assert facts["matrix"] == [32, 32]
    # a few lines of 32 may look evenly spaced by chance
    assert "random lines along ky" in facts["masks"]
    assert all(kind.endswith("lines along ky") for kind in facts["masks"])
    trainer.validate(module, data, verbose=False)
    assert {"val_ssim", "val_psnr", "val_nmse", "val_loss"} <= set(trainer.callback_metrics)


@pytest.mark.parametrize(
    "model",
    [LearnedPrimalDual(1, memory=2, chans=4), FBPUNet((4, 6), 1), MoDL(1, 2, (4, 6), 1, False)],
    ids=["lpd", "fbp-unet", "modl"],
)
def test_ct_networks_learn_several_numbers_of_views(folder: Path, model: Network) -> None:
    data = DataModule(
        sr.datasets.SimulatedCT(folder, views=36),
        sr.datasets.SimulatedCT(folder, fixed=True, views=36),
    )
    module = CTTraining(model, view_steps=(1, 3), loss="l1", warmup=1)
    pl.seed_everything(0)
    pl.Trainer(**{**QUIET, "max_steps": 6}, precision="bf16-mixed").fit(module, data)
    facts = module.facts.as_json()
    assert facts["views"] == [12, 36]
    assert facts["geometry"] == ["FanBeam"]
    assert facts["pixel size"] == [1, 1]
    assert 0.005 < facts["noise"][0] <= facts["noise"][1] < 0.05
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_what_does_not_fit_is_said(folder: Path) -> None:
    data = DataModule(sr.datasets.SimulatedMR(folder, coils=2))
    with pytest.raises(ValueError, match="MoDL needs coil maps"):
        pl.Trainer(**QUIET).fit(MRTraining(MoDL(1, 2, (4, 6), 1)), data)
    with pytest.raises(ValueError, match='supervision must be "target" or "ssdu", got'):
        MRTraining(MoDL(1, 2, (4, 6), 1), supervision="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="VarNet is a network of MR: MRTraining trains it"):
        CTTraining(VarNet(**VARNET))
    with pytest.raises(ValueError, match="FBPUNet is a network of CT: CTTraining trains it"):
        MRTraining(FBPUNet((4, 6), 1))
    with pytest.raises(ValueError, match="view_steps must be 1 or more"):
        CTTraining(FBPUNet((4, 6), 1), view_steps=(0,))


def test_leaks_and_crimes_are_found_before_the_first_step(folder: Path) -> None:
    data = DataModule(SimulatedMR(folder, coils=2), SimulatedMR(folder, coils=2, fixed=True))
    module = MRTraining(VarNet(**VARNET), loss="l1")
    with pytest.warns(UserWarning, match="data crime: same subject: 1 found"):
        pl.Trainer(**QUIET).fit(module, data)
    facts = module.facts.as_json()
    assert {"same subject", "same image", "k-space simulated from images"} <= set(
        facts["data_crimes"]
    )
    assert facts["subjects"] == subject_keys(data.train)
    assert "a.npy" not in str(facts)


def test_fine_tuning_starts_from_weights_and_knows_their_subjects(folder: Path, tmp_path) -> None:
    torch.manual_seed(0)
    trained = VarNet(**VARNET)
    path = sr.save_model(trained, tmp_path / "a.safetensors", training={"subjects": ["abc"]})
    module = MRTraining(VarNet(**VARNET), weights=str(path))
    for mine, theirs in zip(module.model.parameters(), trained.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert module.facts.as_json()["subjects"] == ["abc"]
    with pytest.raises(ValueError, match="weights of another architecture"):
        MRTraining(VarNet(**{**VARNET, "num_cascades": 2}), weights=str(path))


class Stop(pl.Callback):
    """Ends a training after some steps."""

    def on_train_batch_end(self, trainer, *arguments) -> None:
        trainer.should_stop = trainer.global_step >= 3


@pytest.mark.parametrize("limited", [False, True])
def test_the_rate_of_a_run_without_a_last_step(folder: Path, limited: bool) -> None:
    """It stays, or comes down as the run's time goes by."""
    module = MRTraining(VarNet(**VARNET), loss="l1", warmup=1)
    limit = {"max_time": {"seconds": 1}} if limited else {"callbacks": [Stop()]}
    trainer = pl.Trainer(**{**QUIET, "max_steps": -1, "max_epochs": -1, **limit})
    trainer.fit(module, DataModule(SimulatedMR(folder, coils=2)))
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    assert rate < 3e-4 if limited else rate == pytest.approx(1e-3)


def test_steering_numbers_learn_faster_and_do_not_decay(folder: Path) -> None:
    module = MRTraining(MoDL(2, 4, (6, 8), 1), warmup=1, weight_decay=0.1)
    trainer = pl.Trainer(**{**QUIET, "max_steps": -1, "max_epochs": -1, "callbacks": [Stop()]})
    trainer.fit(module, DataModule(SimulatedMR(folder, coils=2, maps="true")))
    others, steering = trainer.optimizers[0].param_groups
    assert steering["lr"] == pytest.approx(20 * others["lr"])
    assert (others["weight_decay"], steering["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for p in steering["params"]} == {
        id(module.model.log_weight), id(module.model.log_sigma)
    }  # fmt: skip
    assert len(others["params"]) + 2 == len(list(module.model.parameters()))


def test_facts_of_non_cartesian_batches_and_of_other_processes() -> None:
    trajectory = torch.zeros(50, 2)
    batch = sr.datasets.MRExample(
        torch.zeros(1, 6, 50, dtype=torch.complex64), None, trajectory[None], torch.tensor([0]),
        torch.tensor([0.1]), None, None, torch.tensor([1.0]), (8, 8), "", "", 0,
    )  # fmt: skip
    facts, other = Facts("mri"), Facts("mri")
    facts.see_mr(batch)
    assert facts.as_json() == {"modality": "mri", "coils": [6, 6], "masks": ["trajectory"]}
    other.see_mr(batch._replace(kspace=torch.zeros(1, 9, 50, dtype=torch.complex64)))
    facts.merge(other.as_json())
    assert facts.as_json()["coils"] == [6, 9]


def test_neighbouring_slices_train_prompt_varnet(tmp_path: Path) -> None:
    for index in range(2):
        write_fastmri(tmp_path / f"{index}.h5", matrix=(32, 32), crop=(24, 24), seed=index)
    mask = sr.datasets.LineMask("random", (0.3,), (2,))
    data = DataModule(sr.datasets.FastMRI(tmp_path, mask, adjacent=1))
    model = PromptVarNet(2, slices=3, chans=4, levels=1, prompts=2, sens_chans=2, sens_pools=2)
    before = {name: p.clone() for name, p in model.named_parameters()}
    module = MRTraining(model, warmup=1)
    pl.Trainer(**QUIET).fit(module, data)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert len(moved) > len(before) / 2
    assert module.facts.as_json()["coils"] == [4, 4]


def test_a_slice_of_air_does_not_rule_the_psnr_loss() -> None:
    """A tenth of an error weighs alike above 60 dB; below, its gradient falls."""
    loss, maximum = training_loss("psnr"), torch.ones(1)
    target = torch.zeros(1, 8, 8)
    norms = []
    for error in (1e-1, 1e-2, 1e-6):
        image = torch.full((1, 8, 8), error, requires_grad=True)
        loss(image, target, maximum).backward()
        norms.append(float(image.grad.norm()))
    assert norms[1] == pytest.approx(10 * norms[0], rel=0.02)
    assert norms[2] < norms[0]
    assert float(loss(torch.full((1, 8, 8), 0.1), target, maximum)) == pytest.approx(-2, abs=1e-3)


class Inverse(Network):
    """The image of k-space that misses nothing."""

    def forward(self, kspace: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Root sum of squares."""
        images = sr.Fourier(kspace.shape[-2:]).adjoint(kspace)
        return sr.mri.root_sum_of_squares(images)


@pytest.mark.parametrize("matrix", [(32, 15), (31, 24), (32, 24)])
def test_images_are_cut_where_the_targets_are(tmp_path: Path, matrix: tuple[int, int]) -> None:
    """An odd crop of an even matrix, as in narrow FLAIR volumes: not a pixel aside."""
    write_fastmri(tmp_path / "a.h5", matrix=matrix, crop=(15, 15) if matrix[1] == 15 else (16, 16))
    batch = sr.datasets.collate([sr.datasets.FastMRI(tmp_path)[0]])
    image = MRTraining(Inverse()).reconstruct(batch)
    torch.testing.assert_close(image, batch.target, rtol=1e-4, atol=1e-4 * float(batch.max_value))


@pytest.mark.parametrize("loss", ["ssim", "l1"])
def test_training_brings_the_error_down(folder: Path, loss: str) -> None:
    options = {"mask": sr.datasets.PoissonMask((3.0,), 8), "coils": 3, "maps": "true", "snr": 30.0}
    data = DataModule(
        SimulatedMR(folder, **options), SimulatedMR(folder, **options, fixed=True), batch_size=3
    )
    pl.seed_everything(0)
    module = MRTraining(MoDL(2, 4, (6, 8), 1), loss=loss, warmup=5, learning_rate=5e-3)
    trainer = pl.Trainer(**{**QUIET, "max_steps": 60})
    trainer.validate(module, data, verbose=False)
    before = float(trainer.callback_metrics["val_nmse"])
    trainer.fit(module, data)
    trainer.validate(module, data, verbose=False)
    assert float(trainer.callback_metrics["val_nmse"]) < 0.8 * before


def test_data_without_targets_are_named(tmp_path: Path) -> None:
    own = np.ones(24, dtype=bool)
    write_fastmri(tmp_path / "test.h5", mask=own, targets=False)
    data = DataModule(sr.datasets.FastMRI(tmp_path))
    with pytest.raises(ValueError, match=r"test\.h5 has no target image"):
        pl.Trainer(**QUIET).fit(MRTraining(VarNet(**VARNET)), data)
