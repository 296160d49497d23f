"""How far each k-space sample is trusted: a learned function of the sampling around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOWS = 5, 17  # samples; over which local densities are taken
CHANNELS = len(WINDOWS) + 2


def sampling_features(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """Local densities of a mask, distance from the centre, log of the acceleration.

    Parameters
    ----------
    mask
        Bool ``(batch, 1, ky, kx)``, centred; axes of length 1 broadcast.
    shape
        ``(ky, kx)``.

    Returns
    -------
    Tensor
        float32 ``(batch, 4, ky, kx)`` in the order of plain FFTs.
    """
    full = mask.expand(-1, 1, *shape).float()
    densities = [
        functional.avg_pool2d(full, window, 1, window // 2, count_include_pad=False)
        for window in WINDOWS
    ]
    ky, kx = ((torch.arange(n, device=mask.device) - n // 2) / (n / 2) for n in shape)
    radius = (ky[:, None] ** 2 + kx**2).sqrt().expand_as(full)
    overall = full.mean((-2, -1), keepdim=True).clamp_min(1e-6)
    features = torch.cat((*densities, radius, -overall.log().expand_as(full)), 1)
    plain: Tensor = torch.fft.ifftshift(features, dim=(-2, -1))
    return plain


class SamplingWeights(nn.Module):
    """Two layers from features to a weight in (0, 2); 1 before training."""

    def __init__(self, chans: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(CHANNELS, chans, 1), nn.LeakyReLU(0.2), nn.Conv2d(chans, 1, 1)
        )
        last = cast(nn.Conv2d, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, 4, ky, kx)`` to ``(batch, 1, ky, kx)``."""
        return 2 * torch.sigmoid(cast(Tensor, self.layers(features)))
