"""What ``spinray train`` runs: Lightning's command line with Spinray's defaults."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.cli import LightningCLI

from .modules import Training

TRAINER = {"use_distributed_sampler": False}  # DataModule shares out the slices itself


def train(arguments: Sequence[str]) -> LightningCLI:
    """Fit the model of a configuration.

    Parameters
    ----------
    arguments
        Of LightningCLI's ``fit``: ``--config FILE``, ``--ckpt_path FILE`` to resume, and any field
        of the configuration, such as ``--trainer.max_steps 100``.
    """
    # Lightning calls what jsonargparse has deprecated; users can do nothing about it
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\.cli")
    torch.set_float32_matmul_precision("high")
    return LightningCLI(
        Training,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        trainer_defaults=TRAINER,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"parser_mode": "omegaconf", "fit": {"prog": "spinray train"}},
        args=["fit", *arguments],
    )
