"""The prompted U-Net of `PromptVarNet`: channel attention, prompts, features of earlier steps."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .channels import Padding, channels_last

PROMPT_SIZE = 16  # pixels of a learned pattern, stretched over the image


class PromptUNet(nn.Module):
    """U-Net whose decoder is led by prompts, and whose encoder sees earlier features.

    Real ``(batch, in_chans, y, x)`` and a history to ``(batch, out_chans, y, x)`` and a longer
    history: one feature map a level, which gathers those of all steps so far. The output starts
    at zero.

    Parameters
    ----------
    in_chans, out_chans
        Channels of input and output.
    chans, levels
        Width at the finest level (half as much again at each coarser one); poolings.
    prompts
        Learned patterns a level.
    remembers
        Whether a history comes in.
    tells
        Whether anybody reads the history that goes out: the last step keeps no weights for it,
        which would have no gradient.
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        chans: int,
        levels: int,
        prompts: int,
        *,
        remembers: bool,
        tells: bool,
    ) -> None:
        super().__init__()
        widths = [chans * (level + 2) // 2 for level in range(levels + 1)]
        pairs = list(pairwise(widths))
        self.head = nn.Conv2d(in_chans, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.encoder = nn.ModuleList(ChannelAttention(width) for width in widths)
        self.recall = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in widths if remembers)
        self.prompts = nn.ModuleList(Prompt(b, prompts) for _, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.decoder = nn.ModuleList(ChannelAttention(width) for width in widths[:-1])
        gathers = remembers and tells
        self.gather = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in widths if gathers)
        self.tail = nn.Conv2d(widths[0], out_chans, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, image: Tensor, history: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features of `history` have the sizes of the levels, finest first."""
        padding = Padding(tuple(image.shape[-2:]), 1 << len(self.down))
        x = self.head(channels_last(padding.pad(image)))
        features = []
        for level, block in enumerate(self.encoder):
            if level:
                x = self.down[level - 1](x)
            if self.recall:
                x = x + self.recall[level](torch.cat((x, history[level]), 1))
            x = block(x)
            features.append(x)
        for level in reversed(range(len(self.down))):
            x = self.up[level](self.prompts[level](x))
            x = self.decoder[level](x + features[level])
            features[level] = x
        if self.gather:
            pairs = zip(self.gather, features, history, strict=True)
            features = [merge(torch.cat((new, old), 1)) for merge, new, old in pairs]
        return padding.crop(cast(Tensor, self.tail(x))), features


class ChannelAttention(nn.Module):
    """Residual block whose channels are weighted by what the whole image holds."""

    def __init__(self, chans: int, reduction: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(chans, chans, 3, padding=1), nn.PReLU(), nn.Conv2d(chans, chans, 3, padding=1)
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(chans, chans // reduction, 1),
            nn.ReLU(),
            nn.Conv2d(chans // reduction, chans, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, chans, y, x)`` to the same."""
        change = self.body(x)
        gated: Tensor = x + change * self.gate(change)
        return gated


class Prompt(nn.Module):
    """Features joined with learned patterns, mixed by weights that the features give."""

    def __init__(self, chans: int, prompts: int) -> None:
        super().__init__()
        self.patterns = nn.Parameter(torch.randn(prompts, chans, PROMPT_SIZE, PROMPT_SIZE) * 0.1)
        self.choose = nn.Linear(chans, prompts)
        self.smooth = nn.Conv2d(chans, chans, 3, padding=1)
        self.merge = nn.Conv2d(2 * chans, chans, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, chans, y, x)`` to the same."""
        mix = torch.softmax(self.choose(x.mean((2, 3))), 1)
        pattern = torch.einsum("bp,pcyx->bcyx", mix, self.patterns)
        stretched = functional.interpolate(
            pattern, x.shape[-2:], mode="bilinear", align_corners=False
        )
        return x + cast(Tensor, self.merge(torch.cat((x, self.smooth(stretched)), 1)))
