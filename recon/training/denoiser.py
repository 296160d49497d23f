"""Training of plain denoisers, such as the one inside MoDL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...datasets import PatchExample
from ..models import DRUNet
from ..models.channels import to_channels
from ..seeding import seeded
from .modules import Training

LEVELS = 0.005, 0.01, 0.02, 0.05, 0.1, 0.2  # of the validation


class DenoiserTraining(Training):
    """Trains a `DRUNet` to find the noise in patches, at noise levels drawn for each.

    A step costs a fraction of one of an unrolled network, whose denoiser may start from the result:
    `MRTraining(denoiser=)`. Batches are `datasets.PatchExample`, of `datasets.ImagePatches`.

    Parameters
    ----------
    model
        With two channels for MR (real and imaginary parts), one for CT.
    sigma
        Least and largest standard deviation of the noise; levels are even in the logarithm.
    options
        Of `Training`.
    """

    def __init__(
        self, model: DRUNet, *, sigma: Sequence[float] = (0.003, 0.3), **options: Any
    ) -> None:
        self.modality = "mri" if model.hyperparameters["in_chans"] == 2 else "ct"
        super().__init__(model, **options)
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise ValueError(f"sigma must be two positive levels, the smaller first, got {sigma}")
        self.range = math.log(sigma[0]), math.log(sigma[1])

    def training_step(self, batch: PatchExample, batch_index: int) -> Tensor:
        """Loss of a batch."""
        low, high = self.range
        sigma = (low + (high - low) * torch.rand(len(batch.image))).exp()
        loss = self._left(batch, sigma)
        self.log("loss", loss, prog_bar=True, batch_size=len(batch.image))
        return loss

    def validation_step(self, batch: PatchExample, batch_index: int) -> None:
        """Mean part of the noise's variance that is left, at fixed levels with fixed noise."""
        with seeded(batch_index, batch.image.device):
            parts = [self._left(batch, torch.full((len(batch.image),), s)) for s in LEVELS]
        size = len(batch.image)
        self.log("val_loss", torch.stack(parts).mean(), batch_size=size, sync_dist=True)

    def _left(self, batch: PatchExample, sigma: Tensor) -> Tensor:
        """Squared error over the noise's variance: all levels count alike."""
        image = batch.image[:, None]
        clean = to_channels(image) if image.is_complex() else image
        s = sigma.to(clean)
        noise = s.reshape(-1, 1, 1, 1) * torch.randn(clean.shape).to(clean.device)
        error = self.model(clean + noise, s) - noise
        return (error / s.reshape(-1, 1, 1, 1)).square().mean()
