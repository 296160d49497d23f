"""A residual U-Net after filtered back projection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arrays import difference_noise
from ..ct.hounsfield import WATER
from ..operators import LinearOperator
from .channels import in_own_precision
from .drunet import DRUNet
from .network import Network
from .start import start_image


class FBPUNet(Network):
    """Filtered back projection less the noise and artefacts that a U-Net finds in it.

    For any CT geometry; volumes go through slice by slice. The U-Net is a `DRUNet`, told the noise
    that the image shows: it has no normalisation, which would take the level of attenuation away
    that a CT number stands for.

    Parameters
    ----------
    chans, blocks
        As `DRUNet`.

    References
    ----------
    K. H. Jin et al., IEEE Trans Image Process 26, 4509 (2017).
    """

    def __init__(self, chans: Sequence[int] = (32, 64, 128), blocks: int = 2) -> None:
        super().__init__()
        self.unet = DRUNet(1, 1, chans, blocks)

    def forward(self, A: LinearOperator, y: Tensor) -> Tensor:
        """Line integrals ``(*batch, view, [row,] column)`` to 1/mm, ``(*batch, [z,] y, x)``."""
        image: Tensor = self.stage(refined, self.unet, start_image(A, y))
        return image


def refined(unet: DRUNet, image: Tensor) -> Tensor:
    """Attenuation ``(..., y, x)`` less what the network finds; it works in units of water."""
    slices = image.reshape(-1, 1, *image.shape[-2:]) / WATER
    # without a gradient one slice at a time: a volume's channels together may not fit the memory
    parts = (slices,) if torch.is_grad_enabled() else torch.split(slices, 1)
    found = torch.cat([in_own_precision(unet, part, difference_noise(part)) for part in parts])
    return image - WATER * found.reshape(image.shape)
