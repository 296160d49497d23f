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
    signal is left there: of quiet scans the result is somewhat too large. Samples that are zero in
    all coils, as where files are padded, do not count; 0 where there are no others.

    Parameters
    ----------
    kspace
        Complex ``(coil, [kz,] ky, kx)``, or non-Cartesian ``(coil, sample)``.
    mask
        Of Cartesian data, bool ``([kz,] ky, kx)`` or with axes of length 1: what was measured.
    trajectory
        Of non-Cartesian data ``(sample, 2 or 3)``, in cycles per pixel.

    Raises
    ------
    ValueError
        Neither mask nor trajectory.
    """
    if trajectory is not None:
        samples, frequency = kspace, trajectory.norm(dim=-1)
    elif mask is not None:
        shape = kspace.shape[1:]
        measured = mask.expand(shape)
        axes = [torch.arange(n, device=mask.device) / n - 0.5 for n in shape]
        distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
        samples, frequency = kspace[:, measured], distance[measured]
    else:
        raise ValueError("the noise of samples needs their mask or their trajectory")
    filled = (samples != 0).any(0)
    samples, frequency = samples[:, filled], frequency[filled]
    if not frequency.numel():
        return kspace.real.new_zeros(len(kspace))
    order = frequency.argsort()
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
