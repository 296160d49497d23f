"""Noise2Inverse: a denoiser for CT that learns from the noisy scan alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.ct.geometry import Geometry, VolumeGrid
from ..ct import fbp, fdk
from ..ct.hounsfield import WATER
from ..models import UNet
from ..seeding import seeded
from ..solvers.common import Callback

SPLITS = 4  # sets of views
RATE = 2e-3


def noise2inverse(
    sinogram: Tensor,
    geometry: Geometry,
    volume: VolumeGrid,
    *,
    steps: int = 1000,
    chans: int = 16,
    seed: int = 0,
    callback: Callback | None = None,
) -> Tensor:
    """Denoise a CT scan by a network trained on it: from some of the views predict the others.

    The views are dealt to four sets, each reconstructed with a plain ramp filter, whose noise is
    then independent. A U-Net learns to predict the image of one set from the mean of the others;
    what it cannot predict is noise. The result is the mean of its four predictions.

    Parameters
    ----------
    sinogram
        Line integrals ``(*slices, view, [row,] column)``; a stack is learned from together.
    geometry
        Parallel, fan or circular cone beam with views enough for filtered back projection.
    volume
        Grid of the image.
    steps
        Of the optimiser, one slice each.
    chans
        Width of the U-Net's finest level.
    seed
        Of weights and order.
    callback
        ``callback(step, image, loss)`` after each step, with what it predicts of one slice.

    Returns
    -------
    Tensor
        Attenuation ``(*slices, [z,] y, x)``, 1/mm.

    Raises
    ------
    ValueError
        Fewer than 32 views, no step; as `fbp` and `fdk`.

    References
    ----------
    A. A. Hendriksen, D. M. Pelt, K. J. Batenburg, Noise2Inverse, IEEE Trans Comput Imaging 6, 1320
    (2020).
    """
    views = geometry.shape[0]
    if views < 8 * SPLITS:
        raise ValueError(f"noise2inverse needs {8 * SPLITS} views or more, got {views}")
    if steps < 1:
        raise ValueError(f"noise2inverse needs 1 step or more, got {steps}")
    axis = sinogram.ndim - len(geometry.shape)
    analytic = fbp if len(volume.shape) == 2 else fdk
    parts = []
    for first in range(SPLITS):
        index = torch.arange(first, views, SPLITS, device=sinogram.device)
        part = sinogram.index_select(axis, index)
        parts.append(analytic(part, geometry[first::SPLITS], volume))
    images = torch.stack(parts) / WATER
    shape = images.shape[1:]
    images = images.reshape(SPLITS, -1, *shape[-2:])
    with seeded(seed, images.device):
        network = _trained(images, steps, chans, callback)
        with torch.no_grad():
            slices = [_prediction(network, images[:, index]) for index in range(images.shape[1])]
    return WATER * torch.stack(slices).reshape(shape)


def others(images: Tensor, k: int) -> Tensor:
    """Mean of all sets' images but the k-th's."""
    return (images.sum(0) - images[k]) / (len(images) - 1)


def _prediction(network: UNet, images: Tensor) -> Tensor:
    """Mean of what the network predicts of one slice ``(set, y, x)`` without each of the sets.

    Seen from each of the eight sides that it was trained on.
    """
    sources = torch.stack([others(images, k) for k in range(len(images))])[:, None]
    total = torch.zeros_like(images[0])
    for turns in range(4):
        for mirror in (False, True):
            found = network(_turned(sources, turns, mirror))[:, 0].mean(0)
            back = torch.rot90(found, -turns)
            total += back.flip(-1) if mirror else back
    return total / 8


def _turned(images: Tensor, turns: int, mirror: bool) -> Tensor:
    """``(..., y, x)``, mirrored, then turned by right angles."""
    return torch.rot90(images.flip(-1) if mirror else images, turns, (-2, -1))


def _trained(images: Tensor, steps: int, chans: int, callback: Callback | None) -> UNet:
    """U-Net that predicts one set's slice from the others'."""
    network = UNet(1, 1, chans, 3).to(images).train()
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        slice_index = int(torch.randint(images.shape[1], ()))
        k = int(torch.randint(SPLITS, ()))
        source = others(images[:, slice_index], k)
        target = images[k, slice_index]
        turns, mirror = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
        pair = _turned(torch.stack((source, target)), turns, mirror)
        out = network(pair[None, :1])[0, 0]
        loss = (out - pair[1]).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if callback is not None:
            callback(step, WATER * out.detach(), float(loss.detach()))
    return network.eval()
