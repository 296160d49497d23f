"""PromptVarNet: a variational network with memory, prompts and neighbouring slices."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..arrays import item_scale
from .cartesian import checked_input
from .channels import from_channels, in_own_precision, to_channels
from .network import Network
from .prompt_unet import PromptUNet
from .sampling_weights import SamplingWeights, sampling_features
from .varnet import AXES, SensitivityNet

History = list[Tensor]


class PromptVarNet(Network):
    """Unrolled network of the PromptMR+ class, for several accelerations and neighbouring slices.

    A cascade takes a consistency step, weighted over k-space by a learned function of how densely
    the mask samples there, and subtracts what a prompted U-Net finds in ``A^H A x``, ``x``,
    ``A^H y`` and ``A^H A x - A^H y`` of all slices, with the features of earlier cascades at hand;
    then it refines the coil maps by their own consistency gradient. Homogeneous in the data. Works
    on any number of coils, any matrix, any Cartesian mask.

    Parameters
    ----------
    num_cascades
        Unrolled steps, each with weights of its own.
    slices
        Neighbouring slices that come in together, an odd number; the middle one comes out.
    chans, levels
        Width at the finest level and number of poolings of the U-Nets.
    prompts
        Learned patterns a level, mixed as the input asks.
    sens_chans, sens_pools
        Width and depth of the U-Net of the first coil maps.

    References
    ----------
    The ideas are those of B. Xin et al., PromptMR+, ECCV (2024), and of SDUM (2025); A. Sriram et
    al., MICCAI (2020).
    """

    def __init__(
        self,
        num_cascades: int = 12,
        slices: int = 5,
        chans: int = 32,
        levels: int = 3,
        prompts: int = 5,
        sens_chans: int = 8,
        sens_pools: int = 4,
    ) -> None:
        super().__init__()
        if slices < 1 or slices % 2 == 0:
            raise ValueError(f"slices must be an odd number, got {slices}")
        self.slices = slices
        self.sens_net = SensitivityNet(sens_chans, sens_pools, True, official=False)
        self.cascades = nn.ModuleList(
            PromptCascade(
                slices, chans, levels, prompts, first=index == 0, last=index == num_cascades - 1
            )
            for index in range(num_cascades)
        )

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        kspace
            Complex ``(batch, slice, coil, ky, kx)``, centred, zero where the mask is false; of one
            slice also ``(batch, coil, ky, kx)``.
        mask
            Bool, as many axes, ``(batch, 1, 1, ky, kx)``; axes of length 1 broadcast.

        Returns
        -------
        Tensor
            Complex image ``(batch, ky, kx)`` of the middle slice, coils combined.
        """
        if self.slices == 1 and kspace.ndim == 4:
            kspace, mask = kspace[:, None], mask[:, None]
        checked_input(kspace, mask, 5)
        if kspace.shape[1] != self.slices:
            raise ValueError(
                f"this network takes {self.slices} neighbouring slices, got {kspace.shape[1]}"
            )
        flat = mask.expand(*kspace.shape[:2], *mask.shape[2:]).flatten(0, 1)
        maps = self.stage(self.sens_net, kspace.flatten(0, 1), flat).reshape(kspace.shape)
        mask, maps, kspace = (torch.fft.ifftshift(t, dim=AXES) for t in (mask, maps, kspace))
        features = sampling_features(flat, kspace.shape[-2:])
        images = torch.fft.ifftn(kspace, dim=AXES, norm="ortho")
        x = (maps.conj() * images).sum(2)
        scale = item_scale(x, 3)
        x, images, kspace = x / scale, images / scale[:, None], kspace / scale[:, None]
        history: History = []
        for cascade in self.cascades:
            x, maps, history = self.stage(
                cascade, x, maps, history, kspace, images, mask, features
            )  # fmt: skip
        middle = (x * scale)[:, self.slices // 2]
        centred: Tensor = torch.fft.fftshift(middle, dim=AXES)
        return centred


class PromptCascade(nn.Module):
    """One step on images ``(batch, slice, y, x)``, all in the order of plain FFTs.

    After the last one nobody reads maps and features: it has no weights for them.
    """

    def __init__(
        self, slices: int, chans: int, levels: int, prompts: int, *, first: bool, last: bool
    ) -> None:
        super().__init__()
        self.denoiser = PromptUNet(
            8 * slices, 2 * slices, chans, levels, prompts, remembers=not first, tells=not last
        )
        self.weights = SamplingWeights()
        self.refine = None if last else MapRefinement()

    def forward(
        self,
        x: Tensor,
        maps: Tensor,
        history: History,
        kspace: Tensor,
        images: Tensor,
        mask: Tensor,
        features: Tensor,
    ) -> tuple[Tensor, Tensor, History]:
        """Image, maps and features before and after; `images` are the coils' zero-filled images."""
        residual = mask * (torch.fft.fftn(maps * x[:, :, None], dim=AXES, norm="ortho") - kspace)
        weights = in_own_precision(self.weights, features).reshape(*x.shape[:2], 1, *x.shape[2:])
        error, step = (
            torch.fft.ifftn(r, dim=AXES, norm="ortho") for r in (residual, weights * residual)
        )
        start = (maps.conj() * images).sum(2)
        difference = (maps.conj() * error).sum(2)
        seen = torch.cat((start + difference, x, start, difference), 1)
        # the convolutions see the image centred, as it was scanned
        channels = torch.fft.fftshift(to_channels(seen), dim=AXES)
        found, history = self.denoiser(channels.to(self.denoiser.head.weight.dtype), history)
        removed = from_channels(torch.fft.ifftshift(found, dim=AXES))
        after = x - (maps.conj() * step).sum(2) - removed
        if self.refine is not None:
            maps = self.refine(maps, x[:, :, None].conj() * error)
        return after, maps, history


class MapRefinement(nn.Module):
    """Coil maps moved by a small network of themselves and their consistency gradient.

    The last layer starts at zero: untrained, the maps stay.
    """

    def __init__(self, chans: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, chans, 3, padding=1, padding_mode="circular"),
            nn.LeakyReLU(0.2),
            nn.Conv2d(chans, chans, 3, padding=1, padding_mode="circular"),
            nn.LeakyReLU(0.2),
            nn.Conv2d(chans, 2, 3, padding=1, padding_mode="circular"),
        )
        last = cast(nn.Conv2d, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """Both complex ``(batch, slice, coil, y, x)``; maps of unit length come out."""
        pairs = torch.stack((maps, gradient), 3).flatten(0, 2)
        change = from_channels(in_own_precision(self.layers, to_channels(pairs)))
        change = change.reshape(maps.shape)
        maps = maps + change
        length = torch.view_as_real(maps).square().sum((2, -1), keepdim=True)
        return maps / length[..., 0].clamp_min(1e-12).sqrt()
