"""A tiny training run on the CPU, killed and resumed, through the command's own door."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import spinray as sr

pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
pytest.importorskip("jsonargparse", reason="jsonargparse is not installed")

CONFIG = """
seed_everything: 1
trainer:
  accelerator: cpu
  max_steps: 9
  limit_val_batches: 0
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  default_root_dir: {root}
  logger:
    class_path: pytorch_lightning.loggers.CSVLogger
    init_args: {{save_dir: {root}, name: log, version: "", flush_logs_every_n_steps: 1}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.EMAWeightAveraging
      init_args: {{decay: 0.9}}
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {{dirpath: {root}, filename: "{{step}}", every_n_train_steps: 3, save_top_k: -1}}
{rest}"""
MR = """
model:
  class_path: spinray.recon.training.MRTraining
  init_args:
    model:
      class_path: spinray.recon.models.VarNet
      init_args: {num_cascades: 1, sens_chans: 2, sens_pools: 2, chans: 2, pools: 2}
    warmup: 2
data:
  class_path: spinray.datasets.DataModule
  init_args:
    workers: WORKERS
    train:
      class_path: spinray.datasets.SimulatedMR
      init_args:
        folder: FOLDER
        coils: 3
        mask:
          class_path: spinray.datasets.MaskMixture
          init_args:
            turned: true
            samplers:
              - class_path: spinray.datasets.LineMask
                init_args: {kind: random, center_fractions: [0.2], accelerations: [3]}
"""
CT = """
model:
  class_path: spinray.recon.training.CTTraining
  init_args:
    model:
      class_path: spinray.recon.models.FBPUNet
      init_args: {chans: [4, 6], blocks: 1}
    view_steps: [1, 2, 3, 4, 6]
    loss: l1
    warmup: 2
data:
  class_path: spinray.datasets.DataModule
  init_args:
    workers: WORKERS
    train:
      class_path: spinray.datasets.SimulatedCT
      init_args: {folder: FOLDER, views: 60, photons: [5.0e+3, 2.0e+4]}
"""


def _run(config: Path, *more: str, wait: bool = True) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "spinray", "train", "--config", str(config), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if wait:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output.decode()
    return process


def _losses(root: Path) -> dict[int, float]:
    with (root / "log" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): float(row["loss"]) for row in rows if row["loss"]}


def _configuration(root: Path, rest: str, folder: Path, workers: int) -> Path:
    root.mkdir()
    path = root / "config_given.yaml"
    rest = rest.replace("FOLDER", str(folder)).replace("WORKERS", str(workers))
    path.write_text(CONFIG.format(root=root, rest=rest))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in "ab":  # 7 slices: the run passes the end of an epoch
        blocks = np.kron(random.random((4 if name == "a" else 3, 4, 4)), np.ones((1, 8, 8)))
        np.save(folder / f"{name}.npy", blocks.astype(np.float32))
    return folder


@pytest.mark.parametrize(
    ("rest", "workers"), [(MR, 0), (MR, 2), (CT, 0)], ids=["mr", "mr-workers", "ct"]
)
def test_a_killed_run_goes_on_with_the_same_losses(
    tmp_path: Path, images: Path, rest: str, workers: int
) -> None:
    roots = [tmp_path / name for name in ("whole", "killed")]
    configs = [_configuration(root, rest, images, workers) for root in roots]
    _run(configs[0])
    whole = _losses(roots[0])
    assert sorted(whole) == list(range(9))
    assert len(set(whole.values())) == 9

    process = _run(configs[1], wait=False)
    checkpoint = roots[1] / "step=3.ckpt"
    deadline = time.monotonic() + 500  # a loaded machine
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists(), process.stdout.read().decode()
    (roots[1] / "log" / "metrics.csv").unlink(missing_ok=True)
    _run(configs[1], "--ckpt_path", str(checkpoint))
    resumed = _losses(roots[1])
    assert sorted(resumed) == list(range(3, 9))

    ends = [sr.load_model(root / "log" / "network.safetensors") for root in roots]
    # checkpoints hold the running mean of the weights, and that is what is written at the end
    again = sr.load_model(roots[0] / "step=9.ckpt")
    for key, value in ends[0].state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value)
    assert resumed == {step: whole[step] for step in resumed}
    for key, value in ends[0].state_dict().items():
        assert torch.equal(ends[1].state_dict()[key], value), key
    facts = ends[0].training_facts
    assert facts == ends[1].training_facts
    if rest is MR:
        assert facts["coils"] == [3, 3]
    else:
        assert facts["views"][1] > facts["views"][0] >= 10


PROMPT = MR.replace("models.VarNet", "models.PromptVarNet").replace(
    "{num_cascades: 1, sens_chans: 2, sens_pools: 2, chans: 2, pools: 2}",
    "{num_cascades: 2, slices: 1, chans: 4, levels: 1, prompts: 2, sens_chans: 2, sens_pools: 2}",
)


def test_two_processes_train_together_and_validate_one_volume(tmp_path: Path, images: Path) -> None:
    """Every parameter has a gradient, and no process is left without a batch."""
    val = """
    val:
      class_path: spinray.datasets.SimulatedMR
      init_args: {folder: [FOLDER/b.npy], coils: 5, fixed: true}
"""
    config = _configuration(tmp_path / "run", PROMPT + val.lstrip("\n"), images, 0)
    _run(
        config, "--trainer.devices", "2", "--trainer.max_steps", "2", "--trainer.callbacks", "null",
        "--trainer.limit_val_batches", "1.0", "--trainer.max_epochs", "1",
        "--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "1",
    )  # fmt: skip
    with (tmp_path / "run" / "log" / "metrics.csv").open() as file:
        figures = [float(row["val_ssim"]) for row in csv.DictReader(file) if row["val_ssim"]]
    assert len(figures) == 2
    assert all(0 < figure < 1 for figure in figures)
    assert sr.load_model(tmp_path / "run" / "log" / "network.safetensors").training_facts


def test_an_empty_folder_is_named_alone(tmp_path: Path) -> None:
    from spinray.recon.training.command import train

    (tmp_path / "empty").mkdir()
    config = _configuration(tmp_path / "run", MR, tmp_path / "empty", 0)
    with pytest.raises(ValueError, match="^simulated MR: empty, expected images in") as told:
        train(["--config", str(config)])
    assert told.value.__cause__ is None  # jsonargparse's own error would be its cause in a circle


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--model.init_args.model.init_args.cascade=2", "VarNet: Option 'cascade' is not accepted"),
        ("--trainer.max_steps=x", "trainer.max_steps: Expected a <class 'int'>. Got value: x"),
        ("--nonsense=3", "unrecognized arguments: --nonsense=3"),
    ],
)
def test_a_wrong_field_is_told_in_one_line(
    tmp_path: Path, images: Path, change: str, message: str
) -> None:
    from spinray.recon.training.command import train

    config = _configuration(tmp_path / "run", MR, images, 0)
    with pytest.raises(ValueError, match=f"^the configuration[^\\n]*{re.escape(message)}") as told:
        train(["--config", str(config), change])
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 200


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    from spinray.recon.training.command import train

    config = _configuration(tmp_path / "run", MR, Path("${oc.env:NOT_SET_HERE}"), 0)
    with pytest.raises(ValueError, match="^the configuration needs .* NOT_SET_HERE, which"):
        train(["--config", str(config)])


def test_only_warnings_that_concern_the_user(tmp_path: Path, images: Path) -> None:
    """Lightning's words about its own calls hid the data crimes."""
    config = str(_configuration(tmp_path / "run", MR, images, 0))
    command = [sys.executable, "-m", "spinray", "train", "--config", config]
    run = subprocess.run(
        [*command, "--trainer.max_steps", "1"], capture_output=True, text=True, check=True
    )
    assert "warning: data crime" in run.stderr
    for noise in ("LightningCLI", "LeafSpec", "You have overridden"):
        assert noise not in run.stderr


def test_what_cannot_be_resumed_from_is_named(tmp_path: Path, images: Path, monkeypatch) -> None:
    from spinray.recon.models import FBPUNet, VarNet
    from spinray.recon.models.weights import header_of
    from spinray.recon.training.command import train

    config = str(_configuration(tmp_path / "run", MR, images, 0))
    path = tmp_path / "w.ckpt"
    whole = {"state_dict": {}, "loops": {}, "spinray": header_of(FBPUNet(), {})}
    narrow = VarNet(num_cascades=1, sens_chans=2, sens_pools=2, chans=4, pools=2)
    other = {
        "state_dict": {f"model.{k}": v for k, v in narrow.state_dict().items()},
        "loops": {},
        "spinray": header_of(narrow, {}),
    }
    for content, message in (
        ({"a": 1}, "is no checkpoint of spinray train"),
        (whole, "is the training of a FBPUNet, the configuration's is a VarNet"),
        (other, r"w\.ckpt: weights of another architecture: model\.cascades\.0"),
        ({**whole, "code": Path}, r"w\.ckpt: this checkpoint runs code"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            train(["--config", config, "--ckpt_path", str(path)])
    path.write_bytes(b"neither")
    with pytest.raises(sr.FormatError, match=r"w\.ckpt.*is no torch checkpoint"):
        train(["--config", config, "--ckpt_path", str(path)])
    with pytest.raises(FileNotFoundError, match="no such file"):
        train(["--config", config, "--ckpt_path", str(tmp_path / "none.ckpt")])
