"""The end-to-end variational network, in fastMRI's layout."""

from __future__ import annotations

import torch
from torch import Tensor, finfo, nn

from ..mri import root_sum_of_squares
from .cartesian import checked_input, keep_centre
from .network import Network
from .unet import NormUnet

AXES = (-2, -1)


class VarNet(Network):
    """E2E-VarNet: learned coil maps, then cascades of soft consistency and a U-Net.

    Masked multi-coil k-space to the root sum of squares of the completed coil images. Its state
    dict is fastMRI's (``sens_net.norm_unet.unet.*``, ``cascades.N.model.unet.*``,
    ``cascades.N.dc_weight``): official weights load as they are, and give the official output.

    Parameters
    ----------
    num_cascades
        Unrolled steps.
    sens_chans, sens_pools
        Width and depth of the U-Net of the coil maps.
    chans, pools
        Width and depth of the cascades' U-Nets.
    mask_center
        Take the maps from the fully sampled centre alone.

    References
    ----------
    A. Sriram et al., MICCAI (2020), arXiv:2004.06688.
    """

    def __init__(
        self,
        num_cascades: int = 12,
        sens_chans: int = 8,
        sens_pools: int = 4,
        chans: int = 18,
        pools: int = 4,
        mask_center: bool = True,
    ) -> None:
        super().__init__()
        self.sens_net = SensitivityNet(sens_chans, sens_pools, mask_center, official=True)
        self.cascades = nn.ModuleList(Cascade(chans, pools) for _ in range(num_cascades))

    def forward(
        self, kspace: Tensor, mask: Tensor, num_low_frequencies: int | Tensor | None = None
    ) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        kspace
            Complex ``(batch, coil, ky, kx)``, centred, zero where the mask is false.
        mask
            Bool ``(batch, 1, ky, kx)``, axes of length 1 broadcast; true where measured.
        num_low_frequencies
            Fully sampled lines in the centre, of all or of each item ``(batch,)``. Default and 0:
            counted in the mask as fastMRI does, which finds one line where all are measured (and
            warns).

        Returns
        -------
        Tensor
            Magnitude ``(batch, ky, kx)``.
        """
        checked_input(kspace, mask, 4)
        maps = self.stage(self.sens_net, kspace, mask, num_low_frequencies)
        # in the order of plain FFTs: inside the loop only the combined image needs a shift
        mask, maps, measured = (torch.fft.ifftshift(t, dim=AXES) for t in (mask, maps, kspace))
        current = measured
        for cascade in self.cascades:
            current = self.stage(cascade, current, measured, mask, maps)
        images = torch.fft.fftshift(torch.fft.ifftn(current, dim=AXES, norm="ortho"), dim=AXES)
        return root_sum_of_squares(images)


class SensitivityNet(nn.Module):
    """Coil maps from the centre of k-space: one U-Net for every coil image, then unit length."""

    def __init__(self, chans: int, pools: int, mask_center: bool, *, official: bool) -> None:
        super().__init__()
        self.mask_center, self.official = mask_center, official
        self.norm_unet = NormUnet(chans, pools)

    def forward(self, kspace: Tensor, mask: Tensor, lines: int | Tensor | None = None) -> Tensor:
        """K-space ``(batch, coil, ky, kx)`` to complex maps of the same shape."""
        centre = kspace
        if self.mask_center:
            centre = keep_centre(kspace, mask, lines, official=self.official)
        shifted = torch.fft.ifftshift(centre, dim=AXES)
        images = torch.fft.fftshift(torch.fft.ifftn(shifted, dim=AXES, norm="ortho"), dim=AXES)
        maps = self.norm_unet(images.flatten(0, 1)[:, None]).reshape(images.shape)
        parts = torch.view_as_real(maps)
        squared = parts.square().sum((1, -1), keepdim=True)
        # a slice without signal has maps of zeros, no NaN
        return torch.view_as_complex(parts / squared.clamp_min(finfo(squared.dtype).tiny).sqrt())


class Cascade(nn.Module):
    """One step: ``k - w M (k - k0) - F S U(S^H F^H k)``, all in the order of plain FFTs."""

    def __init__(self, chans: int, pools: int) -> None:
        super().__init__()
        self.model = NormUnet(chans, pools)
        self.dc_weight = nn.Parameter(torch.ones(1))

    def forward(self, current: Tensor, measured: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """K-space ``(batch, coil, ky, kx)``, before and after."""
        images = torch.fft.ifftn(current, dim=AXES, norm="ortho")
        combined = torch.fft.fftshift((images * maps.conj()).sum(1, keepdim=True), dim=AXES)
        removed = torch.fft.ifftshift(self.model(combined), dim=AXES) * maps
        change = mask * self.dc_weight * (current - measured)
        after: Tensor = current - change - torch.fft.fftn(removed, dim=AXES, norm="ortho")
        return after
