"""ItNet: U-Nets and filtered gradient steps in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from ..ct import ramp_filter
from ..operators import LinearOperator
from ..operators.base import Shape, require_trailing
from .drunet import DRUNet
from .fbp_unet import FBPUNet, refined
from .network import Network
from .scaling import unit_norm
from .start import start_image

SMOOTHNESS = 32.0  # pixels, of the Gaussian mean that is left to the data


class ItNet(Network):
    """U-Net of the analytic image, then ``x = U_k(x - step_k A^T R (A x - y))`` with ramp filter R.

    The ramp gives the gradient of all frequencies one speed, as filtered back projection does, but
    with the matched transpose of A, on any CT geometry. ``A^T R A`` is scaled to unit norm.
    In evaluation mode the last word is the data's: means over many pixels, in which they hardly
    have noise, are set to what they say, so that CT numbers do not drift with what the U-Nets
    learned.
    Volumes go through the U-Nets slice by slice.

    Parameters
    ----------
    iterations
        Steps after the first U-Net.
    chans, blocks
        As `FBPUNet`.

    References
    ----------
    M. Genzel et al., Phys Med Biol 68, 014001 (2023), the winner of AAPM's sparse-view challenge.
    """

    def __init__(
        self, iterations: int = 4, chans: Sequence[int] = (32, 64, 128), blocks: int = 2
    ) -> None:
        super().__init__()
        self.unets = nn.ModuleList(DRUNet(1, 1, chans, blocks) for _ in range(iterations + 1))
        self.steps = nn.Parameter(torch.ones(iterations))

    @classmethod
    def from_fbp_unet(cls, warm: FBPUNet, iterations: int = 4) -> Self:
        """A network whose every U-Net starts as that of a trained `FBPUNet`: the warm start."""
        network = cls(iterations, **warm.hyperparameters)
        for unet in network.unets:
            unet.load_state_dict(warm.unet.state_dict())
        return network

    def forward(self, A: LinearOperator, y: Tensor) -> Tensor:
        """Line integrals ``(*batch, view, [row,] column)`` to 1/mm, ``(*batch, [z,] y, x)``."""
        root = RampRoot(A.range_shape)
        scaled, norm = unit_norm(A, y, before=root)
        data = root(y) / norm
        start = start_image(A, y)
        x: Tensor = self.stage(refined, self.unets[0], start)
        for unet, step in zip(list(self.unets)[1:], self.steps, strict=True):
            x = self.stage(refined, unet, x - step * scaled.adjoint(scaled(x) - data))
        if self.training:  # the analytic image has no gradient
            return x
        return x + _smooth(start - start_image(A, A(x)))


def _smooth(image: Tensor) -> Tensor:
    """Gaussian mean over ``(..., y, x)``, mirrored at the edges: it keeps the mean of the image."""
    y, x = image.shape[-2:]
    for axis in (-2, -1):
        image = torch.cat((image, image.flip(axis)), axis)
    square = torch.fft.fftfreq(2 * y)[:, None] ** 2 + torch.fft.rfftfreq(2 * x) ** 2
    response = torch.exp(-2 * (torch.pi * SMOOTHNESS) ** 2 * square).to(image)
    smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * response, (2 * y, 2 * x))
    return smooth[..., :y, :x]


class RampRoot(LinearOperator):
    """Root of the ramp filter R along the columns, zero-padded: ``B^T B = R``.

    Views ``(*batch, ..., column)`` to ``(*batch, ..., 2 column or more)``, real.
    """

    dtype = torch.float32

    def __init__(self, shape: Shape) -> None:
        length = next_fast_len(2 * shape[-1], real=True)
        super().__init__(shape, (*shape[:-1], length))
        response = torch.from_numpy(ramp_filter(length, 1.0)).clamp_min(0)
        self.register_buffer("root", response.sqrt(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter and lengthen views."""
        require_trailing("views", x, self.domain_shape)
        return self._filtered(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Filter and crop."""
        require_trailing("filtered views", y, self.range_shape)
        return self._filtered(y)[..., : self.domain_shape[-1]]

    def _filtered(self, x: Tensor) -> Tensor:
        length = self.range_shape[-1]
        root = self.get_buffer("root").to(x)
        filtered: Tensor = torch.fft.irfft(torch.fft.rfft(x, length) * root, length)
        return filtered
