"""What ``spinray train`` runs: Lightning's command line with Spinray's defaults."""

from __future__ import annotations

import os
import re
import warnings
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf.errors import InterpolationResolutionError
from pytorch_lightning import LightningDataModule
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from ..io import FormatError
from ..models.weights import KEY, check_state, read_checkpoint
from .modules import Training

# what Lightning says of its own calls: users can do nothing about it, and miss what we say
NOISE = (
    "You have overridden `on_before_batch_transfer`",
    "LightningCLI's args parameter is intended to run from within Python",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)
# of jsonargparse's and omegaconf's messages: what does not tell what is wrong, where that stands
TRIED = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a <class 'NoneType'>",
)
LED_TO = re.compile(r"""(?:Parser key|Problem with given class_path) ["']([^"']+)["']:""")
NOT_SET = re.compile(r"Environment variable '(\w+)' not found")
TRAINER = {"use_distributed_sampler": False}  # DataModule shares out the slices itself


def train(arguments: Sequence[str]) -> Mapping[str, str]:
    """Fit the model of a configuration.

    Parameters
    ----------
    arguments
        Of LightningCLI's ``fit``: ``--config FILE``, ``--ckpt_path FILE`` to resume, and any field
        of the configuration, such as ``--trainer.max_steps 100``.

    Returns
    -------
    Mapping
        Files and slices that could not be read, and why.

    Raises
    ------
    FileNotFoundError, FormatError, ValueError
        A configuration with a field that is unknown or wrong, or with a variable that is not set; a
        checkpoint to resume from that is missing, broken, none of a training, of another network
        than the configuration's, or needs code to be run; data without a readable file.
    """
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    _ignore_noise()
    torch.set_float32_matmul_precision("high")
    try:
        command = _Command(
            Training,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults=TRAINER,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "parser_mode": "omegaconf",
                "exit_on_error": False,
                "fit": {"prog": "spinray train", "exit_on_error": False},
            },
            args=["fit", *arguments],
        )
    except ArgumentError as error:
        raise ValueError(f"the configuration: {_in_words(str(error))}") from error
    except InterpolationResolutionError as error:
        missing = NOT_SET.search(str(error))
        if missing is None:
            raise
        raise ValueError(
            f"the configuration needs the environment variable {missing[1]}, which is not set"
        ) from error
    except ValueError as error:
        # jsonargparse lists all types that a field may have, and buries why the named one failed
        if not str(error).startswith("Does not validate against any"):
            raise
        raise _innermost(error) from None  # from the outer one its causes would go in a circle
    return getattr(command.datamodule, "left_out", {})


def _ignore_noise() -> None:
    for message in NOISE:
        warnings.filterwarnings("ignore", message)


def _in_words(message: str) -> str:
    """What jsonargparse found wrong, on one line, without the types and values it tried."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    found = [LED_TO.sub(r"\1:", line) for line in lines if not line.startswith(TRIED)]
    return " ".join(found)


def _innermost(error: BaseException) -> BaseException:
    """Where a chain of errors began."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


class _Command(LightningCLI):
    """Looks at the checkpoint before Lightning does, which fails without naming it."""

    _checkpoint: Mapping[str, Any] | None = None

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the checkpoint to resume from."""
        super().parse_arguments(parser, args)
        path = self.config["fit"].get("ckpt_path")
        if path in (None, "last", "best", "hpc", "registry"):  # Lightning's own words
            return
        if not Path(path).is_file():
            raise FileNotFoundError(f"--ckpt_path {path}: no such file")
        self._path = Path(path)
        content = read_checkpoint(self._path)
        if not isinstance(content, dict) or not {"state_dict", "loops", KEY} <= content.keys():
            raise FormatError(self._path, "", "is no checkpoint of spinray train")
        self._checkpoint = content

    def before_fit(self) -> None:
        """Compare the checkpoint's network with the configuration's."""
        _ignore_noise()  # again: importing ismrmrd shows all warnings
        if self._checkpoint is None:
            return
        told, made = self._checkpoint[KEY]["architecture"], type(self.model.model).__name__
        if told != made:
            raise ValueError(
                f"{self._path}: is the training of a {told}, the configuration's is a {made}"
            )
        check_state(self.model.state_dict(), self._checkpoint["state_dict"], self._path)
        self._checkpoint = None
