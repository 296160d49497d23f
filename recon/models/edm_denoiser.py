"""The denoiser of diffusion priors: one network for all noise levels, on patches with places."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .channels import Padding, channels_last
from .network import Network

FREQUENCIES = 8  # of the features of the noise level's logarithm
EMBEDDING = 64  # channels that tell every block the noise level


class EDMDenoiser(Network):
    """Expected image given a noisy one, at any noise level, preconditioned as in EDM.

    ``D(x, s) = c_skip(s) x + c_out(s) F(c_in(s) x, s)`` with a residual U-Net F, whose input and
    training target have unit variance at every s. F also sees where each pixel lies in the whole
    image, so that it may be trained on patches, which few images have many of.

    Parameters
    ----------
    complex_images
        Whether images are complex (two channels) or real.
    chans, blocks
        Width of each level, finest first; residual blocks a level on each side.
    sigma_data
        Root mean square of the images, in either part of complex ones.
    patch
        Pixels a side of the patches that it is trained on, and works on.

    References
    ----------
    T. Karras et al., EDM, NeurIPS (2022); J. Hu et al., PaDIS, NeurIPS (2024).
    """

    def __init__(
        self,
        complex_images: bool = True,
        chans: Sequence[int] = (32, 64, 96, 128),
        blocks: int = 2,
        sigma_data: float = 0.3,
        patch: int = 96,
    ) -> None:
        super().__init__()
        self.complex_images, self.sigma_data, self.patch = complex_images, sigma_data, patch
        channels = 2 if complex_images else 1
        self.embed = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING)
        )
        self.head = nn.Conv2d(channels + 2, chans[0], 3, padding=1)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in itertools.pairwise(chans):
            self.encoder.append(Blocks(fine, blocks))
            self.decoder.append(Blocks(fine, blocks))
            self.down.append(nn.Conv2d(fine, coarse, 2, stride=2))
            self.up.append(nn.ConvTranspose2d(coarse, fine, 2, stride=2))
        self.body = Blocks(chans[-1], blocks)
        self.tail = nn.Conv2d(chans[0], channels, 3, padding=1)

    def forward(self, x: Tensor, sigma: float | Tensor, position: Tensor) -> Tensor:
        """Denoise.

        Parameters
        ----------
        x
            Real ``(batch, channel, y, x)``; of complex images the real parts, then the imaginary.
        sigma
            Standard deviation of the noise in every channel: a number, or ``(batch,)``.
        position
            ``(batch, 2, y, x)``: where each pixel lies, (y, x) from -1 to 1 across the image.
        """
        s = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
        total = (s * s + self.sigma_data**2).sqrt()
        found = self._network(torch.cat((x / total, position), 1), s)
        skip, out = (self.sigma_data / total) ** 2, s * self.sigma_data / total
        return skip * x + out * found.to(x.dtype)

    def _network(self, x: Tensor, sigma: Tensor) -> Tensor:
        """F, of any size: padded by zeros to what the levels divide."""
        features = self.embed(_features(sigma).expand(len(x), -1))
        padding = Padding(tuple(x.shape[-2:]), 1 << len(self.down))
        x = self.head(channels_last(padding.pad(x)))
        skips = []
        for block, down in zip(self.encoder, self.down, strict=True):
            skips.append(block(x, features))
            x = down(skips[-1])
        x = self.body(x, features)
        for block, up in reversed(list(zip(self.decoder, self.up, strict=True))):
            x = block(up(x) + skips.pop(), features)
        return padding.crop(cast(Tensor, self.tail(functional.silu(x))))


class Blocks(nn.ModuleList):
    """Residual blocks in a row, all told the noise level."""

    def __init__(self, chans: int, count: int) -> None:
        super().__init__(ModulatedBlock(chans) for _ in range(count))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """``(batch, chans, y, x)`` to the same."""
        for block in self:
            x = block(x, features)
        return x


class ModulatedBlock(nn.Module):
    """``x + conv(silu(a conv(silu(x)) + b))``: the noise level gives a and b; x before training."""

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(chans, chans, 3, padding=1)
        self.second = nn.Conv2d(chans, chans, 3, padding=1)
        self.modulation = nn.Linear(EMBEDDING, 2 * chans)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """``(batch, chans, y, x)`` to the same."""
        scale, shift = self.modulation(functional.silu(features))[..., None, None].chunk(2, 1)
        inner = torch.addcmul(shift, self.first(functional.silu(x)), 1 + scale)
        return x + cast(Tensor, self.second(functional.silu(inner)))


def _features(sigma: Tensor) -> Tensor:
    """Sines and cosines ``(batch, 2 FREQUENCIES)`` of the noise level's logarithm."""
    octaves = torch.arange(FREQUENCIES, device=sigma.device)
    phase = sigma.reshape(-1, 1).log() * (math.pi / 8) * (2.0 ** (octaves / 2))
    return torch.cat((phase.sin(), phase.cos()), 1)
