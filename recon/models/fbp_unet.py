"""A U-Net after filtered back projection."""

from __future__ import annotations

from torch import Tensor

from ..ct.hounsfield import WATER
from ..operators import LinearOperator
from .network import Network
from .start import start_image
from .unet import UNet


class FBPUNet(Network):
    """Filtered back projection less the artefacts that a U-Net finds in it.

    For any CT geometry; volumes go through slice by slice.

    Parameters
    ----------
    chans, num_pool_layers
        As `UNet`.

    References
    ----------
    K. H. Jin et al., IEEE Trans Image Process 26, 4509 (2017).
    """

    def __init__(self, chans: int = 32, num_pool_layers: int = 4) -> None:
        super().__init__()
        self.unet = UNet(1, 1, chans, num_pool_layers)

    def forward(self, A: LinearOperator, y: Tensor) -> Tensor:
        """Line integrals ``(*batch, view, [row,] column)`` to 1/mm, ``(*batch, [z,] y, x)``."""
        image: Tensor = self.stage(refined, self.unet, start_image(A, y))
        return image


def refined(unet: UNet, image: Tensor) -> Tensor:
    """Attenuation ``(..., y, x)`` less what the network finds; it works in units of water."""
    slices = image.reshape(-1, 1, *image.shape[-2:]) / WATER
    return image - WATER * unet(slices).reshape(image.shape)
