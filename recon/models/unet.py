"""The U-Net in fastMRI's layout, and the same with normalised input and output."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .channels import Padding, from_channels, in_own_precision, to_channels
from .network import Network

SLOPE = 0.2  # of the leaky rectifier
MULTIPLE = 16  # what fastMRI's networks pad image sizes to


class UNet(Network):
    """U-Net with instance normalisation; names and shapes of its weights are fastMRI's.

    Real ``(batch, in_chans, y, x)`` to ``(batch, out_chans, y, x)``, any size of at least
    ``2 ** num_pool_layers``, one side of twice that: a single pixel cannot be normalised.

    Parameters
    ----------
    in_chans, out_chans
        Channels of input and output.
    chans
        Channels of the finest level; each pooling doubles them.
    num_pool_layers
        Levels below the finest.
    drop_prob
        Probability that a channel is dropped in training.

    References
    ----------
    O. Ronneberger et al., MICCAI (2015); J. Zbontar et al., arXiv:1811.08839 (fastMRI).
    """

    def __init__(
        self,
        in_chans: int = 1,
        out_chans: int = 1,
        chans: int = 32,
        num_pool_layers: int = 4,
        drop_prob: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [chans << level for level in range(num_pool_layers + 1)]
        inputs = [in_chans, *widths]
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(inputs[level], widths[level], drop_prob) for level in range(num_pool_layers)
        )
        self.conv = ConvBlock(inputs[num_pool_layers], widths[-1], drop_prob)
        self.up_conv = nn.ModuleList()
        self.up_transpose_conv = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up_transpose_conv.append(UpBlock(2 * width, width))
            self.up_conv.append(ConvBlock(2 * width, width, drop_prob))
        last = nn.Conv2d(chans, out_chans, 1)
        self.up_conv[-1] = nn.Sequential(self.up_conv[-1], last)

    def forward(self, image: Tensor) -> Tensor:
        """Apply to ``(batch, in_chans, y, x)``."""
        least = 1 << len(self.down_sample_layers)
        sides = sorted(image.shape[-2:])
        if image.ndim != 4 or sides[0] < least or sides[1] < 2 * least:
            raise ValueError(
                f"image must be (batch, channel, y, x) with y and x of {least} or more, one of "
                f"them of {2 * least} or more, got {tuple(image.shape)}"
            )
        skips = []
        for down in self.down_sample_layers:
            image = down(image)
            skips.append(image)
            image = functional.avg_pool2d(image, 2)
        image = self.conv(image)
        for up, conv in zip(self.up_transpose_conv, self.up_conv, strict=True):
            image, skip = up(image), skips.pop()
            missing = [b - a for a, b in zip(image.shape[-2:], skip.shape[-2:], strict=True)]
            if any(missing):  # an odd size lost its last row or column
                image = functional.pad(image, (0, missing[1], 0, missing[0]), mode="reflect")
            image = conv(torch.cat((image, skip), 1))
        return image


class ConvBlock(nn.Module):
    """Twice: 3 x 3 convolution, instance normalisation, leaky rectifier, dropout."""

    def __init__(self, in_chans: int, out_chans: int, drop_prob: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for source in (in_chans, out_chans):
            layers += [
                nn.Conv2d(source, out_chans, 3, padding=1, bias=False),
                nn.InstanceNorm2d(out_chans),
                nn.LeakyReLU(SLOPE, inplace=True),
                nn.Dropout2d(drop_prob),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """``(batch, in_chans, y, x)`` to ``(batch, out_chans, y, x)``."""
        return cast(Tensor, self.layers(image))


class UpBlock(nn.Module):
    """2 x 2 transposed convolution that doubles the size, instance normalisation, rectifier."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(in_chans, out_chans, 2, stride=2, bias=False),
            nn.InstanceNorm2d(out_chans),
            nn.LeakyReLU(SLOPE, inplace=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        """``(batch, in_chans, y, x)`` to ``(batch, out_chans, 2 y, 2 x)``."""
        return cast(Tensor, self.layers(image))


class NormUnet(nn.Module):
    """U-Net of complex images whose real and imaginary parts are standardised, each on its own.

    Complex ``(batch, in_chans / 2, y, x)`` to ``(batch, out_chans / 2, y, x)``; the output gets the
    input's means and standard deviations back.

    Parameters
    ----------
    chans, num_pools, in_chans, out_chans, drop_prob
        As `UNet`.
    """

    def __init__(
        self,
        chans: int,
        num_pools: int,
        in_chans: int = 2,
        out_chans: int = 2,
        drop_prob: float = 0.0,
    ) -> None:
        super().__init__()
        self.unet = UNet(in_chans, out_chans, chans, num_pools, drop_prob)

    def forward(self, image: Tensor) -> Tensor:
        """Complex in, complex out."""
        x = to_channels(image)
        parts = x.reshape(len(x), 2, -1)
        mean, std = parts.mean(2)[..., None], parts.std(2)[..., None]
        std = std.clamp_min(torch.finfo(std.dtype).tiny)  # a slice without signal
        padding = Padding(tuple(image.shape[-2:]), MULTIPLE)
        x = in_own_precision(self.unet, padding.pad(((parts - mean) / std).reshape(x.shape)))
        parts = padding.crop(x).reshape(len(x), 2, -1)
        return from_channels((parts * std + mean).reshape(x.shape[:2] + image.shape[2:]))
