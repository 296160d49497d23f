"""Pictures of the validation in TensorBoard."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

ERROR_GAIN = 5.0  # errors are small: they are shown five times brighter


class ImageLogger(Callback):
    """Shows target, reconstruction and five times the error of some validation slices.

    Parameters
    ----------
    slices
        How many, from the first on, evenly spread over the validation set.
    """

    def __init__(self, slices: int = 4) -> None:
        if slices < 1:
            raise ValueError(f"slices must be 1 or more, got {slices}")
        self.slices = slices

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Send the first image of a batch."""
        loggers = [one for one in trainer.loggers if isinstance(one, TensorBoardLogger)]
        board = loggers[0].experiment if loggers else None
        total = trainer.num_val_batches
        count = int(total[0] if isinstance(total, list) else total)
        step = max(1, count // self.slices)
        if board is None or batch_idx % step or batch_idx // step >= self.slices:
            return
        name = f"val/{batch.fname[0]} slice {int(batch.slice_number[0])}"
        board.add_image(name, montage(outputs[0], batch.target[0]), trainer.global_step)


def montage(image: Tensor, target: Tensor) -> Tensor:
    """Target, image and error side by side, ``(1, y, 3 x)`` in [0, 1] of the target's maximum."""
    image, target = image.detach().float().cpu(), target.detach().float().cpu()
    peak = target.max().clamp_min(1e-30)
    parts = target, image, ERROR_GAIN * (image - target).abs()
    return (torch.cat(parts, -1) / peak).clamp(0, 1)[None]
