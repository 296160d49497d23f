"""Weights on disk: round trips, official layouts, and files that are not what they seem."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

import spinray as sr
from spinray.recon.models import DRUNet, FBPUNet, MoDL, UNet, VarNet
from spinray.recon.models.weights import architectures

SMALL = {"num_cascades": 2, "pools": 2, "chans": 4, "sens_pools": 3, "sens_chans": 2}


def test_every_network_is_written_and_made_again(tmp_path: Path) -> None:
    assert {"VarNet", "PromptVarNet", "MoDL", "LearnedPrimalDual", "ItNet", "FBPUNet", "DRUNet",
            "EDMDenoiser", "UNet"} == set(architectures())  # fmt: skip
    small = {
        "VarNet": SMALL,
        "PromptVarNet": {"num_cascades": 1, "chans": 4, "levels": 1, "prompts": 2},
        "MoDL": {"chans": (4, 6), "blocks": 1},
        "LearnedPrimalDual": {"iterations": 1, "chans": 2},
        "ItNet": {"iterations": 1, "chans": (2, 3)},
        "FBPUNet": {"chans": (2, 3)},
        "DRUNet": {"chans": (2, 4), "blocks": 1},
        "EDMDenoiser": {"chans": (2, 4), "blocks": 1},
        "UNet": {"chans": 2},
    }
    for name, kind in architectures().items():
        model = kind(**small[name])
        path = sr.save_model(model, tmp_path / f"{name}.safetensors", training={"coils": [4, 8]})
        again = sr.load_model(path)
        assert type(again) is kind
        assert json.dumps(again.hyperparameters) == json.dumps(model.hyperparameters)
        assert again.training_facts == {"coils": [4, 8]}
        assert not again.training
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_official_state_dicts_are_recognised(tmp_path: Path) -> None:
    for model in (VarNet(**SMALL), UNet(1, 1, 4, 3)):
        plain, lightning = tmp_path / "plain.pt", tmp_path / "lightning.ckpt"
        state = model.state_dict()
        torch.save(state, plain)
        prefix = "varnet" if isinstance(model, VarNet) else "unet"
        extra = {"loss.w": torch.ones(1, 1, 7, 7)}
        torch.save(
            {"state_dict": {f"{prefix}.{k}": v for k, v in state.items()} | extra}, lightning
        )
        for path in (plain, lightning):
            again = sr.load_model(path)
            assert type(again) is type(model)
            assert all(torch.equal(v, again.state_dict()[k]) for k, v in state.items())


def test_a_key_of_the_network_is_no_prefix(tmp_path: Path) -> None:
    """An `FBPUNet` calls its U-Net ``unet``, as fastMRI's Lightning module calls its own."""
    path, model = tmp_path / "w.pt", FBPUNet(chans=(2, 3), blocks=1)
    state, options = model.state_dict(), {"chans": (2, 3), "blocks": 1}
    wrapped = {f"module.{k}": v for k, v in state.items()}
    for content in (state, wrapped, {"state_dict": {f"model.{k}": v for k, v in state.items()}}):
        torch.save(content, path)
        again = sr.load_model(path, architecture="FBPUNet", **options)
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in state.items())


def test_another_architecture_is_named_by_its_first_key(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(DRUNet(chans=(2, 4), blocks=1).state_dict(), path)
    with pytest.raises(ValueError, match="does not say its architecture"):
        sr.load_model(path)
    with pytest.raises(
        ValueError, match=r"another architecture: sens_net.norm_unet.*0\.weight is missing"
    ):
        sr.load_model(path, architecture="VarNet")
    with pytest.raises(ValueError, match=r"m_head.weight has shape \(2, 2, 3, 3\), expected \(8,"):
        sr.load_model(path, architecture="DRUNet", chans=(8, 4), blocks=1)
    with pytest.raises(ValueError, match=r"unknown architecture 'Transformer'"):
        sr.load_model(path, architecture="Transformer")
    renamed = DRUNet(chans=(2, 4), blocks=1).state_dict()
    renamed["m_heed.weight"] = renamed.pop("m_head.weight")
    torch.save(renamed, path)
    with pytest.raises(ValueError, match=r"m_head.weight is missing, m_heed.weight is not expe"):
        sr.load_model(path, architecture="DRUNet", chans=(2, 4), blocks=1)
    deeper = DRUNet(chans=(2, 4), blocks=2)
    torch.save(deeper.state_dict(), path)
    with pytest.raises(ValueError, match=r"another architecture"):
        sr.load_model(path, architecture="DRUNet", chans=(2, 4), blocks=1)
    with pytest.raises(ValueError, match=r"VarNet cannot be made of its hyperparameters"):
        sr.load_model(path, architecture="VarNet", unrolls=3)


class _Harmful:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_runs_only_where_asked(tmp_path: Path) -> None:
    path, trace = tmp_path / "w.ckpt", tmp_path / "trace"
    state = MoDL(chans=(2, 4), blocks=1).state_dict()
    torch.save({"state_dict": state, "extra": _Harmful(trace)}, path)
    options = {"architecture": "MoDL", "chans": (2, 4), "blocks": 1}
    with pytest.raises(ValueError, match=r"runs code when it is opened.*allow_pickle=True"):
        sr.load_model(path, **options)
    assert not trace.exists()
    assert isinstance(sr.load_model(path, allow_pickle=True, **options), MoDL)
    assert trace.exists()


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not at all")
    with pytest.raises(sr.FormatError, match="no safetensors file"):
        sr.load_model(path)
    path = tmp_path / "w.pt"
    path.write_bytes(b"neither")
    with pytest.raises(sr.FormatError, match=r"w\.pt.*is no torch checkpoint"):
        sr.load_model(path)
    torch.save(UNet(chans=2).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(sr.FormatError, match=r"w\.pt.*is no torch checkpoint"):
        sr.load_model(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(sr.FormatError, match="no state dict"):
        sr.load_model(path)
    with pytest.raises(FileNotFoundError, match="no such file, nor a shipped network"):
        sr.load_model("unheard-of")
    with pytest.raises(ValueError, match="safetensors"):
        sr.save_model(UNet(chans=2), tmp_path / "w.pt")


def test_headers_that_make_no_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    for header, error, message in (
        ({"architecture": ["MoDL"]}, sr.FormatError, r"architecture is \['MoDL'\], expected a str"),
        ({"architecture": "MoDL", "hyperparameters": [1]}, sr.FormatError, "expected a dict"),
        ({"training": 3}, sr.FormatError, "training is 3"),
        ({"architecture": "MoDL", "hyperparameters": {"unrolls": -1}}, ValueError,
         r"w\.safetensors: MoDL cannot be made.*unrolls must be 1 or more, got -1"),
        ({"architecture": "LearnedPrimalDual", "hyperparameters": {"ndim": 4}}, ValueError,
         "ndim must be 2"),
        ({"architecture": "UNet", "hyperparameters": {"chans": -0.5}}, ValueError,
         r"w\.safetensors: UNet cannot be made"),
    ):  # fmt: skip
        save_file({"a": torch.zeros(2)}, path, metadata={"spinray": json.dumps(header)})
        with pytest.raises(error, match=message):
            sr.load_model(path)


def test_weights_are_for_all_who_may_read_the_folder(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    path = sr.save_model(UNet(chans=2), tmp_path / "w.safetensors")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
