"""Learned Primal-Dual reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ct.hounsfield import WATER
from ..operators import LinearOperator
from .channels import channels_last, in_own_precision
from .network import Network
from .scaling import unit_norm
from .start import start_image


class LearnedPrimalDual(Network):
    """Learned updates of an image and of its data in turn, joined by A and its transpose.

    For any CT geometry, or any real operator: A is scaled to unit norm and images are measured in
    units of water, so that the weights meet numbers of one size in other units and geometries. The
    memory starts as the analytic image (as least squares where there is none, which differs).

    Parameters
    ----------
    iterations
        Primal and dual updates.
    memory
        Channels kept of the image and of the data.
    chans
        Width of the updates' networks, three convolutions each.
    ndim
        2 for slices, 3 for volumes (cone and helical beams).

    References
    ----------
    J. Adler, O. Öktem, IEEE TMI 37, 1322 (2018).
    """

    def __init__(
        self, iterations: int = 10, memory: int = 5, chans: int = 32, ndim: int = 2
    ) -> None:
        super().__init__()
        if ndim not in (2, 3):
            raise ValueError(f"ndim must be 2 (slices) or 3 (volumes), got {ndim}")
        self.memory, self.ndim = memory, ndim
        self.dual = nn.ModuleList(
            Update(memory + 2, memory, chans, ndim) for _ in range(iterations)
        )
        self.primal = nn.ModuleList(
            Update(memory + 1, memory, chans, ndim) for _ in range(iterations)
        )

    def forward(self, A: LinearOperator, y: Tensor) -> Tensor:
        """Reconstruct.

        Parameters
        ----------
        A
            ``(*batch, [z,] y, x)`` to data, such as `XRayTransform`.
        y
            Line integrals ``(*batch, view, [row,] column)``.

        Returns
        -------
        Tensor
            Attenuation ``(*batch, [z,] y, x)``, 1/mm.
        """
        if len(A.domain_shape) != self.ndim:
            raise ValueError(
                f"this network was made for {self.ndim}D images, the operator has {A.domain_shape}"
            )
        scaled, norm = unit_norm(A, y)
        start = (start_image(A, y) / WATER).reshape(-1, 1, *A.domain_shape)
        data = (y / (norm * WATER)).reshape(-1, 1, *A.range_shape)
        f = start.expand(-1, self.memory, *A.domain_shape)
        h = data.new_zeros((len(data), self.memory, *A.range_shape))
        for dual, primal in zip(self.dual, self.primal, strict=True):
            # projections stay outside the stages: they are dear to compute again, cheap to keep
            projected = scaled(f[:, 1:2] if self.memory > 1 else f)
            h = h + self.stage(dual, torch.cat((h, projected, data), 1))
            f = f + self.stage(primal, torch.cat((f, scaled.adjoint(h[:, :1])), 1))
        return WATER * f[:, 0].reshape(*y.shape[: y.ndim - len(A.range_shape)], *A.domain_shape)


class Update(nn.Module):
    """Three convolutions; the last starts at a tenth: untrained, it changes little."""

    def __init__(self, in_chans: int, out_chans: int, chans: int, ndim: int) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        last = conv(chans, out_chans, 3, padding=1)
        with torch.no_grad():
            last.weight.mul_(0.1)
        self.layers = nn.Sequential(
            conv(in_chans, chans, 3, padding=1),
            nn.PReLU(chans),
            conv(chans, chans, 3, padding=1),
            nn.PReLU(chans),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_chans, *space)`` to ``(batch, out_chans, *space)``."""
        return in_own_precision(self.layers, channels_last(x) if x.ndim == 4 else x)
