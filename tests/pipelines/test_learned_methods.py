"""Trained networks as methods: they see the right slices, warn, and name what does not fit."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch

import spinray as sr
from spinray.recon.arrays import difference_noise
from spinray.recon.models import DRUNet, LearnedPrimalDual, MoDL, PromptVarNet, VarNet
from spinray.recon.models.cartesian import mask_kind
from spinray.recon.pipelines import learned
from spinray.recon.pipelines.learned import _neighbours

FACTS = {"modality": "mri", "coils": [4, 4], "matrix": [32, 48], "acceleration": [2, 6]}


@pytest.fixture(scope="module")
def scan() -> sr.MRScan:
    one = sr.datasets.simulate_mr(
        matrix=(40, 32), coils=4, acceleration=3, mask="random", calibration=10, snr=50
    )
    kspace = torch.stack([one.kspace, 2 * one.kspace, 3 * one.kspace])
    return sr.MRScan(kspace=kspace, mask=one.mask, batch_axes=("slice",))


def _saved(model: torch.nn.Module, path: Path, **facts: object) -> str:
    return str(sr.save_model(model, path / "w.safetensors", training={**FACTS, **facts}))


def test_varnet_takes_slices_one_by_one(scan: sr.MRScan, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = VarNet(num_cascades=1, sens_chans=2, sens_pools=2, chans=2, pools=2).eval()
    image = sr.reconstruct(scan, "varnet", weights=_saved(model, tmp_path))
    assert image.data.shape == (3, 40, 32)
    with torch.no_grad():
        expected = model(scan.kspace[1:2], scan.mask[None, None])[0]
    torch.testing.assert_close(image.data[1], expected)
    assert image.metadata["method"] == "varnet"


def test_official_weights_warn_of_lines_along_the_other_axis(
    scan: sr.MRScan, tmp_path: Path
) -> None:
    model = VarNet(num_cascades=1, sens_chans=2, sens_pools=2, chans=2, pools=2)
    torch.save(model.state_dict(), tmp_path / "official.pt")
    weights = str(tmp_path / "official.pt")
    with pytest.warns(UserWarning, match="lines along kx: the weights do not say.*lines along ky"):
        sr.reconstruct(scan, "varnet", weights=weights)
    turned = sr.MRScan(scan.kspace.mT, mask=scan.mask.mT, batch_axes=("slice",))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        sr.reconstruct(turned, "varnet", weights=weights)


def test_prompt_varnet_sees_the_neighbours(scan: sr.MRScan, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PromptVarNet(1, slices=3, chans=4, levels=1, prompts=2, sens_chans=2, sens_pools=2)
    torch.nn.init.normal_(model.cascades[0].denoiser.tail.weight, std=0.1)
    path = _saved(model, tmp_path)
    image = sr.reconstruct(scan, "varnet", weights=path)
    with torch.no_grad():
        expected = model(scan.kspace[None], scan.mask[None, None, None])[0]
    torch.testing.assert_close(image.data[1], expected)
    alone = sr.reconstruct(scan, "varnet", weights=path, slices=False)
    assert not torch.allclose(alone.data[1], image.data[1])
    assert _neighbours(3, 5, 3) == [3, 3, 3, 4, 5]
    assert _neighbours(2, 3, 3) == [1, 2, 2]
    assert _neighbours(4, 3, 1) == [4, 4, 4]


def test_unrolled_on_cartesian_and_radial_data(scan: sr.MRScan, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MoDL(unrolls=1, iterations=4, chans=(4, 6), blocks=1)
    path = _saved(model, tmp_path)
    assert sr.reconstruct(scan, "unrolled", weights=path).data.shape == (3, 40, 32)
    radial = sr.datasets.simulate_mr(
        matrix=(40, 32), coils=4, trajectory="radial", acceleration=0.9, calibration=12
    )
    assert sr.reconstruct(radial, "unrolled", weights=path).data.shape == (40, 32)


def test_unrolled_ct(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LearnedPrimalDual(1, memory=2, chans=4)
    path = _saved(model, tmp_path, modality="ct", views=[30, 60])
    scan = sr.datasets.simulate_ct(views=60, columns=64)
    grid = sr.VolumeGrid((24, 24), 10.0)
    assert sr.reconstruct(scan, "unrolled", weights=path, volume=grid).data.shape == (24, 24)
    with pytest.warns(UserWarning, match="views 15: the network was trained on 30 to 60"):
        sr.reconstruct(scan[::4], "unrolled", weights=path, volume=grid)


def test_ct_scans_unlike_the_training(tmp_path: Path) -> None:
    model = LearnedPrimalDual(1, memory=2, chans=4)
    scan = sr.datasets.simulate_ct(views=30, columns=64, photons=1e4)
    grid = sr.VolumeGrid((24, 24), 10.0)
    noise = float(difference_noise(scan.sinogram[None]))
    alike = {"geometry": [type(scan.geometry).__name__], "pixel size": [9.5, 10.5],
             "noise": [0.8 * noise, 1.2 * noise]}  # fmt: skip
    cases = {
        "HelicalBeam": {"geometry": ["HelicalBeam"]},
        "pixel size 10 x 10: the network was trained on 0.5 to 1": {"pixel size": [0.5, 1]},
        "noise .*: the network was trained on": {"noise": [3 * noise, 4 * noise]},
    }
    for message, unlike in cases.items():
        facts = {"modality": "ct", "matrix": [24, 24], "acceleration": [1, 1], **alike, **unlike}
        with pytest.warns(UserWarning, match=message) as told:
            sr.reconstruct(scan, "unrolled", weights=_saved(model, tmp_path, **facts), volume=grid)
        assert sum("the network was trained on" in str(w.message) for w in told) == 1


def test_scans_unlike_the_training_are_warned_of(scan: sr.MRScan, tmp_path: Path) -> None:
    kind = mask_kind(scan.mask)  # few lines: by chance they may look evenly spaced
    assert kind.endswith("lines along kx")
    swap = {"regular": "random", "random": "regular"}
    model = MoDL(unrolls=1, iterations=2, chans=(4, 6), blocks=1)
    for facts, message in (
        ({"masks": ["2D"]}, f"sampling by {kind}: the network was trained on 2D"),
        ({"masks": [f"{swap[kind.split()[0]]} lines along kx"]}, f"sampling by {kind}"),
        ({"masks": [kind.replace("kx", "ky")]}, f"sampling by {kind}"),
        ({"coils": [8, 16]}, "coils 4: the network was trained on 8 to 16"),
        ({"matrix": [64, 64]}, "matrix 40 x 32"),
        ({"acceleration": [8, 8]}, "acceleration .*: the network was trained on 8;"),
        ({"masks": ["2D", "trajectory"]}, "trained on 2D, trajectory;"),
    ):
        with pytest.warns(UserWarning, match=message):
            sr.reconstruct(scan, "unrolled", weights=_saved(model, tmp_path, **facts))


def test_volumes_are_told_by_the_plane_that_is_undersampled() -> None:
    """Poisson discs of (kz, ky) have no sample in the first plane of kz; readouts miss nothing."""
    masks = sr.datasets.masks
    lines = masks.equispaced((32, 16), 4, calibration=8).expand(24, 32, 16)
    for mask, kind in (
        (masks.poisson((24, 32, 16), 3, calibration=8), "random 2D"),
        (masks.caipirinha((24, 32, 16), (2, 2)), "regular 2D"),
        (lines, "regular lines along kx"),
        (lines.permute(2, 0, 1), "regular lines along ky"),
    ):
        kspace = torch.ones(2, *mask.shape, dtype=torch.complex64) * mask
        scan = sr.MRScan(kspace, mask=mask.clone(), image_shape=tuple(mask.shape))
        with pytest.warns(UserWarning, match=f"sampling by {kind}: the network was trained on 3D"):
            learned.warn_of_unlike({"masks": ["3D"]}, scan)


def test_what_does_not_fit_is_said(scan: sr.MRScan, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--weights FILE .evaluate: --option weights="):
        sr.reconstruct(scan, "varnet")
    path = _saved(DRUNet(chans=(2, 4), blocks=1), tmp_path)
    with pytest.raises(ValueError, match="holds DRUNet, method varnet takes VarNet or Prompt"):
        sr.reconstruct(scan, "varnet", weights=path)
    path = _saved(MoDL(1, 2, (4, 6), 1), tmp_path, modality="ct")
    with pytest.raises(ValueError, match="of a ct network, the scan is mri"):
        sr.reconstruct(scan, "unrolled", weights=path)
    volume = sr.MRScan(torch.ones(2, 4, 8, 8, dtype=torch.complex64), image_shape=(4, 8, 8))
    with pytest.raises(ValueError, match="varnet needs 2D Cartesian k-space, this is 3D"):
        sr.reconstruct(volume, "varnet", weights=path)
    path = _saved(DRUNet(chans=(2, 4), blocks=1), tmp_path, modality="ct")
    with pytest.raises(ValueError, match="DRUNet, .* takes .* or ItNet or FBPUNet or MoDL$"):
        sr.reconstruct(sr.datasets.simulate_ct(views=12, columns=24), "unrolled", weights=path)


def test_weights_are_read_once(scan: sr.MRScan, tmp_path: Path, monkeypatch) -> None:
    path = _saved(MoDL(1, 2, (4, 6), 1), tmp_path)
    read = []

    def counted(weights: str) -> torch.nn.Module:
        read.append(weights)
        return load_model(weights)

    load_model = learned.load_model
    monkeypatch.setattr(learned, "load_model", counted)
    images = [sr.reconstruct(scan, "unrolled", weights=path).data for _ in range(2)]
    assert read == [path]
    assert torch.equal(*images)
    torch.manual_seed(5)
    time = Path(path).stat().st_mtime_ns
    _saved(MoDL(1, 2, (4, 6), 1), tmp_path)  # another network at the same place and time
    os.utime(path, ns=(time, time))
    assert not torch.equal(sr.reconstruct(scan, "unrolled", weights=path).data, images[0])
    assert len(read) == 2
