"""Losses without target images: weighted SSDU and equivariance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..models import MoDL
from ..operators import Sense
from ..zero_shot.self_supervised import relative_misfit
from ..zero_shot.splitting import central, held_back

HELD = 0.4  # of the samples, which the loss sees and the network does not
CENTRE = 2  # samples on each side of the centre, which the network always sees
WINDOW = 9  # samples a side, over which the mask's density is taken


def ssdu_loss(
    model: MoDL, maps: Tensor, kspace: Tensor, mask: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Split the samples: predict one part from the other. Returns the loss and the image.

    Squared errors of samples are weighted by the inverse of the chance that one which the network
    does not see ends in the loss, so that their expected sum is that over all that it does not see.

    Parameters
    ----------
    model
        Called with the operator and the data of the part that it sees.
    maps, kspace
        ``(batch, coil, ky, kx)``.
    mask
        Bool ``(batch, ky, kx)``, or with axes of length 1.
    noise
        Standard deviation of the samples' noise (real part), ``(batch,)``.

    Returns
    -------
    tuple
        The loss, without unit, and the network's image ``(batch, y, x)``.

    Raises
    ------
    ValueError
        Samples too few to hold some back.

    References
    ----------
    B. Yaman et al., SSDU, Magn Reson Med 84, 3172 (2020); C. Millard, M. Chiew, weighted SSDU, IEEE
    Trans Comput Imaging 9, 707 (2023).
    """
    mask = mask.expand(len(kspace), *kspace.shape[-2:])
    centre = central(mask, CENTRE)
    given, held = held_back(mask, HELD, torch.default_generator, keep=centre)
    image = model(Sense(maps, mask=given), kspace * given[:, None], noise=noise)
    weight = (held * ssdu_weight(mask).sqrt())[:, None]
    predicted = Sense(maps, mask=held)(image)
    return relative_misfit(weight * predicted, weight * kspace), image


def ssdu_weight(mask: Tensor) -> Tensor:
    """Inverse of the chance that a sample which the network does not see is in the loss.

    With p the mask's density and h the part held back: ``(1 - (1 - h) p) / (h p)``; shaped as the
    mask, bool ``(batch, ky, kx)``, whose own neighbourhoods tell its density.
    """
    full = mask[:, None].float()
    density = functional.avg_pool2d(full, WINDOW, 1, WINDOW // 2, count_include_pad=False)[:, 0]
    density = density.clamp_min(1 / WINDOW**2)
    return (1 - (1 - HELD) * density) / (HELD * density)


def equivariance_loss(model: MoDL, A: Sense, image: Tensor, noise: Tensor) -> Tensor:
    """Scan a moved image with A and reconstruct it: what comes out shall be the moved image.

    The scan has noise, as in robust equivariant imaging: a network that is told of noise would
    else never meet it.

    Parameters
    ----------
    model
        The network.
    A
        The batch's operator.
    image
        The network's own reconstruction ``(batch, y, x)``.
    noise
        Standard deviation of the noise of real parts, ``(batch,)``.

    References
    ----------
    D. Chen, J. Tachella, M. E. Davies, Equivariant imaging, ICCV (2021); Robust equivariant
    imaging, CVPR (2022).
    """
    ny, nx = image.shape[-2:]
    shift = [int(torch.randint(-n // 8, n // 8 + 1, ())) for n in (ny, nx)]
    moved = torch.roll(image.detach(), shift, (-2, -1))
    for axis in (-2, -1):
        moved = moved.flip(axis) if bool(torch.rand(()) < 0.5) else moved
    data = A(moved)
    deviation = noise.to(data.real).reshape(-1, *[1] * (data.ndim - 1))
    data = data + math.sqrt(2) * deviation * torch.randn_like(data)
    again = model(A, data, noise=noise)
    return (again - moved).abs().square().mean() / moved.abs().square().mean().clamp_min(1e-30)
