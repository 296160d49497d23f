"""Training without targets: SSDU's weights are unbiased, both losses train MoDL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import spinray as sr

pl = pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")

from spinray.datasets import DataModule  # noqa: E402
from spinray.recon.models import MoDL, VarNet  # noqa: E402
from spinray.recon.training import MRTraining  # noqa: E402
from spinray.recon.training.self_supervision import (  # noqa: E402
    HELD,
    equivariance_loss,
    ssdu_loss,
    ssdu_weight,
)


def test_weights_make_the_mean_that_of_all_of_kspace() -> None:
    """The expected weighted sum over held samples is the sum over those that are not given."""
    generator = torch.Generator().manual_seed(0)
    p = torch.linspace(0.2, 0.8, 64)[:, None].expand(64, 64)
    values = torch.rand(64, 64, generator=generator)
    sums = [0.0, 0.0]
    for _ in range(60):
        mask = torch.rand(64, 64, generator=generator) < p
        held = mask & (torch.rand(64, 64, generator=generator) < HELD)
        given = mask & ~held
        weight = ssdu_weight(mask[None])[0]
        sums[0] += float((values * weight)[held].sum())
        sums[1] += float(values[~given].sum())
    assert sums[0] / sums[1] == pytest.approx(1, abs=0.05)


def test_a_perfect_network_has_no_equivariance_loss() -> None:
    maps = torch.ones(1, 1, 16, 16, dtype=torch.complex64)
    A = sr.Sense(maps)  # all of k-space: least squares is exact
    image = torch.randn(1, 16, 16, dtype=torch.complex64)

    told = []

    class Inverse(MoDL):
        def forward(
            self, A: sr.LinearOperator, y: torch.Tensor, initial=None, noise=None
        ) -> torch.Tensor:
            told.append(noise)
            return A.adjoint(y)

    network, none = Inverse(1, 1, (2, 4), 1), torch.zeros(1)
    assert float(equivariance_loss(network, A, image, none)) < 1e-10
    half = sr.Sense(maps, mask=torch.rand(1, 16, 16) < 0.5)
    assert float(equivariance_loss(network, half, image, none)) > 0.1
    noise = torch.tensor([0.5])  # of either part of a complex image whose parts have variance 1/2
    assert float(equivariance_loss(network, A, image, noise)) == pytest.approx(0.5, rel=0.2)
    assert told[-1] is noise


@pytest.mark.parametrize("options", [{"supervision": "ssdu"}, {"equivariance": 0.5}])
def test_modl_learns_without_targets(tmp_path: Path, options: dict[str, object]) -> None:
    random = np.random.default_rng(0)
    blocks = np.kron(random.random((3, 4, 4)), np.ones((1, 8, 8)))
    np.save(tmp_path / "a.npy", blocks.astype(np.float32))
    mask = sr.datasets.PoissonMask((3.0,), 8)
    data = DataModule(
        sr.datasets.SimulatedMR(tmp_path, mask=mask, coils=3, maps="true"),
        sr.datasets.SimulatedMR(tmp_path, mask=mask, coils=3, maps="true", fixed=True),
    )
    pl.seed_everything(0)
    model = MoDL(2, 4, (6, 8), 1)
    before = {name: p.clone() for name, p in model.named_parameters()}
    module = MRTraining(model, warmup=1, **options)
    pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=6,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False,
    ).fit(module, data)  # fmt: skip
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert module.facts.as_json()["masks"] == ["random 2D"]


def test_what_does_not_fit_is_said() -> None:
    network = VarNet(num_cascades=1, sens_chans=2, sens_pools=2, chans=2, pools=2)
    with pytest.raises(
        ValueError, match="ssdu, equivariance and denoiser are for MoDL, got VarNet"
    ):
        MRTraining(network, supervision="ssdu")


def test_ssdu_judges_by_samples_that_the_network_does_not_see() -> None:
    """What fits the data that it sees, and has nothing else, is wrong by all that is held back."""
    torch.manual_seed(0)
    maps = torch.ones(2, 1, 24, 24, dtype=torch.complex64)
    mask = torch.rand(2, 24, 24) < 0.5
    mask[:, 8:16, 8:16] = True
    truth = torch.randn(2, 24, 24, dtype=torch.complex64)
    kspace = sr.Sense(maps, mask=mask)(truth)
    seen = []

    class Adjoint(MoDL):
        def forward(
            self, A: sr.LinearOperator, y: torch.Tensor, initial=None, noise=None
        ) -> torch.Tensor:
            seen.append(y[:, 0] != 0)
            assert noise.shape == (len(y),)
            torch.testing.assert_close(A(A.adjoint(y)), y)
            return A.adjoint(y)

    noise = torch.rand(len(kspace))
    loss, image = ssdu_loss(Adjoint(1, 1, (2, 4), 1), maps, kspace, mask, noise)
    assert float(loss) == pytest.approx(2.0, rel=1e-4)  # l2 and l1, each all of it
    assert not bool((seen[0] & ~mask).any())
    assert float(seen[0].sum() / mask.sum()) == pytest.approx(1 - HELD, abs=0.1)
    assert bool(seen[0][:, 10:14, 10:14].all())
    shown = sr.Fourier((24, 24))(image) != 0
    assert image.shape == (2, 24, 24)
    assert bool(shown[seen[0]].all())

    class Oracle(MoDL):
        def forward(
            self, A: sr.LinearOperator, y: torch.Tensor, initial=None, noise=None
        ) -> torch.Tensor:
            return truth

    assert float(ssdu_loss(Oracle(1, 1, (2, 4), 1), maps, kspace, mask, noise)[0]) < 1e-5
