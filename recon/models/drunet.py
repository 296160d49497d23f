"""DRUNet: a residual U-Net denoiser that is told the noise level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .channels import channels_last
from .network import Network


class DRUNet(Network):
    """Bias-free residual U-Net with the noise's standard deviation as one more input channel.

    Without biases it is homogeneous: ``D(a x, a sigma) = a D(x, sigma)`` for a > 0, so that it
    denoises any intensity, and noise levels far from the training ones. Names and shapes of its
    weights are those of the paper's, which load.

    Parameters
    ----------
    in_chans, out_chans
        Channels of the image, without the noise level: 2 for complex images.
    chans
        Channels of each level, finest first.
    blocks
        Residual blocks a level, on the way down and on the way up.

    References
    ----------
    K. Zhang et al., IEEE TPAMI 44, 6360 (2022); S. Mohan et al., ICLR (2020), on bias-free
    networks.
    """

    def __init__(
        self,
        in_chans: int = 1,
        out_chans: int = 1,
        chans: Sequence[int] = (64, 128, 256, 512),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        self.levels = len(chans) - 1
        self.m_head = nn.Conv2d(in_chans + 1, chans[0], 3, padding=1, bias=False)
        for level in range(self.levels):
            fine, coarse = chans[level], chans[level + 1]
            down = nn.Conv2d(fine, coarse, 2, stride=2, bias=False)
            up = nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False)
            residual = [[ResidualBlock(fine) for _ in range(blocks)] for _ in range(2)]
            setattr(self, f"m_down{level + 1}", nn.Sequential(*residual[0], down))
            setattr(self, f"m_up{level + 1}", nn.Sequential(up, *residual[1]))
        self.m_body = nn.Sequential(*(ResidualBlock(chans[-1]) for _ in range(blocks)))
        self.m_tail = nn.Conv2d(chans[0], out_chans, 3, padding=1, bias=False)

    def forward(self, image: Tensor, sigma: float | Tensor) -> Tensor:
        """Apply to a noisy image.

        What comes out is what the weights were trained for: the image with the paper's, the noise
        in `MoDL`, `ItNet`, `FBPUNet` and `DenoiserTraining`.

        Parameters
        ----------
        image
            Real ``(batch, in_chans, y, x)``, any size.
        sigma
            Standard deviation of the noise in the image's units: a number, ``(batch,)``, or a map
            ``(batch, 1, y, x)``.
        """
        size = image.shape[-2:]
        level = torch.as_tensor(sigma, dtype=image.dtype, device=image.device)
        level = level.reshape(-1, 1, 1, 1) if level.ndim < 2 else level
        x = torch.cat((image, level.expand(len(image), 1, *size)), 1)
        gaps = [-n % (1 << self.levels) for n in size]
        if any(gaps):
            x = functional.pad(x, (0, gaps[1], 0, gaps[0]), mode="replicate")
        skips = [self.m_head(channels_last(x))]
        for name in self._stages("m_down"):
            skips.append(name(skips[-1]))
        x = self.m_body(skips[-1])
        for name in reversed(self._stages("m_up")):
            x = name(x + skips.pop())
        return cast(Tensor, self.m_tail(x + skips.pop()))[..., : size[0], : size[1]]

    def _stages(self, prefix: str) -> list[nn.Module]:
        return [self.get_submodule(f"{prefix}{level + 1}") for level in range(self.levels)]


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))``, without biases."""

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(chans, chans, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(chans, chans, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, chans, y, x)`` to the same."""
        return x + cast(Tensor, self.res(x))
