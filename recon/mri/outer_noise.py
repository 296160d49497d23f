"""The noise of MR data without a noise scan: by the outermost samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

OUTER = 0.97  # of the samples lie further in: beyond, there is little but noise
LEAST = 30  # samples that a median is taken of


def outer_noise(
    kspace: Tensor, *, mask: Tensor | None = None, trajectory: Tensor | None = None
) -> Tensor:
    """Standard deviation of each coil's complex noise ``(coil,)`` from the outermost samples.

    The median magnitude of complex normal noise is ``s sqrt(ln 2)``; the median hardly minds what
    signal is left there. Half of the variance lies in either part.

    Parameters
    ----------
    kspace
        Complex ``(coil, [kz,] ky, kx)``, or non-Cartesian ``(coil, sample)``.
    mask
        Of Cartesian data, bool ``([kz,] ky, kx)`` or with axes of length 1: what was measured.
    trajectory
        Of non-Cartesian data ``(sample, 2 or 3)``, in cycles per pixel.
    """
    if trajectory is not None:
        samples, frequency = kspace, trajectory.norm(dim=-1)
    else:
        assert mask is not None
        shape = kspace.shape[1:]
        measured = mask.expand(shape)
        axes = [torch.arange(n, device=mask.device) / n - 0.5 for n in shape]
        distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
        samples, frequency = kspace[:, measured], distance[measured]
    order = frequency.argsort()
    outer = order[min(int(OUTER * len(order)), max(0, len(order) - LEAST)) :]
    median: Tensor = samples[:, outer].abs().median(1).values
    return median / math.sqrt(math.log(2))
