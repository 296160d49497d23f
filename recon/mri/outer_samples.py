"""The noise of MR data without a noise scan: by the outermost samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

OUTER = 0.97  # of the samples lie further in: beyond, there is little but noise
LEAST = 30  # samples that a median is taken of


def outer_noise(kspace: Tensor, trajectory: Tensor | None = None) -> Tensor:
    """Standard deviation of each coil's complex noise ``(coil,)`` from the outermost samples.

    The median magnitude of complex normal noise is ``s sqrt(ln 2)``; the median hardly minds what
    signal is left there: of quiet scans the result is somewhat too large. Samples that are zero in
    all coils, not measured or padded, do not count; 0 where there are no others.

    Parameters
    ----------
    kspace
        Complex ``(coil, [kz,] ky, kx)``, or non-Cartesian ``(coil, sample)``.
    trajectory
        Of non-Cartesian data ``(sample, 2 or 3)``, in cycles per pixel.
    """
    if trajectory is None:
        axes = [torch.arange(n, device=kspace.device) / n - 0.5 for n in kspace.shape[1:]]
        frequency = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0).flatten()
    else:
        frequency = trajectory.norm(dim=-1)
    samples = kspace.flatten(1)
    measured = (samples != 0).any(0).nonzero().ravel()
    if not measured.numel():
        return kspace.real.new_zeros(len(kspace))
    order = measured[frequency[measured].argsort()]
    outer = order[min(int(OUTER * len(order)), max(0, len(order) - LEAST)) :]
    median: Tensor = samples[:, outer].abs().median(1).values
    return median / math.sqrt(math.log(2))


def part_noise(deviation: Tensor) -> float:
    """Standard deviation of the noise of real parts, one for all coils.

    Parameters
    ----------
    deviation
        Of complex samples, each coil's; the mean is one of squares.
    """
    return float(deviation.square().mean().sqrt()) / math.sqrt(2)
