"""Training of diffusion priors: a denoiser of all noise levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...datasets import PatchExample
from ..models import EDMDenoiser
from ..models.channels import to_channels
from ..seeding import seeded
from .modules import Training

LEVELS = 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0  # of the validation


class PriorTraining(Training):
    """Trains an `EDMDenoiser` on patches with noise of random levels.

    The loss is the squared error weighted so that every level counts alike. Batches are
    `datasets.PatchExample`, of `datasets.ImagePatches`.

    Parameters
    ----------
    model
        The denoiser.
    log_sigma
        Mean and standard deviation of the logarithm of the noise level.
    options
        Of `Training`.

    References
    ----------
    T. Karras et al., EDM, NeurIPS (2022).
    """

    def __init__(
        self, model: EDMDenoiser, *, log_sigma: Sequence[float] = (-1.7, 1.6), **options: Any
    ) -> None:
        self.modality = "mri" if model.complex_images else "ct"
        super().__init__(model, **options)
        if len(log_sigma) != 2 or not log_sigma[1] > 0:
            raise ValueError(f"log_sigma must be a mean and a positive deviation, got {log_sigma}")
        self.log_sigma, self.sigma_data = tuple(log_sigma), model.sigma_data

    def training_step(self, batch: PatchExample, batch_index: int) -> Tensor:
        """Loss of a batch."""
        mean, deviation = self.log_sigma
        count = len(batch.image)
        sigma = (mean + deviation * torch.randn(count)).exp()
        loss = self._loss(batch, sigma)
        self.log("loss", loss, prog_bar=True, batch_size=count)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin to gather the errors of each level."""
        self._errors: list[Tensor] = []

    def validation_step(self, batch: PatchExample, batch_index: int) -> None:
        """Loss at fixed levels, with fixed noise."""
        losses = []
        with seeded(batch_index, batch.image.device):
            for level in LEVELS:
                losses.append(self._loss(batch, torch.full((len(batch.image),), level)))
        self._errors.append(torch.stack(losses))
        self.log("val_loss", self._errors[-1].mean(), batch_size=len(batch.image), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Keep what errors the network makes: samplers weigh by them, images are judged by them."""
        if self._errors and not self.trainer.sanity_checking:
            level = torch.tensor(LEVELS)
            errors = (torch.stack(self._errors).float().cpu() / self._weight(level)).sqrt()
            spread = errors.clamp_min(1e-9).log().std(0, correction=0)
            mean = errors.square().mean(0).sqrt()
            rows = zip(LEVELS, mean.tolist(), spread.tolist(), strict=True)
            self.facts.figures["denoising"] = [[round(v, 6) for v in row] for row in rows]

    def _loss(self, batch: PatchExample, sigma: Tensor) -> Tensor:
        """Mean squared error in units of what the network's part of the output is scaled by."""
        image = batch.image[:, None]
        clean = to_channels(image) if image.is_complex() else image
        s = sigma.to(clean).reshape(-1, 1, 1, 1)
        noisy = clean + s * torch.randn(clean.shape).to(clean.device)
        error = self.model(noisy, sigma, batch.position) - clean
        return (self._weight(s) * error.square()).mean()

    def _weight(self, sigma: Tensor) -> Tensor:
        """Of squared errors: all levels then count alike."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
