"""From a slice of k-space to an `MRExample`: masks, calibration lines, maps, crops."""

from __future__ import annotations

import torch
from torch import Tensor

from ..recon.mri import espirit, resize, root_sum_of_squares
from ..recon.operators import Fourier


def calibration_lines(mask: Tensor) -> int:
    """Count the measured lines in a row about the centre of a mask ``(1, kx)``; 0 if all are."""
    lines = mask.reshape(-1, mask.shape[-1]).all(dim=0)
    centre = lines.numel() // 2
    if bool(lines.all()) or not bool(lines[centre]):
        return 0
    gaps = torch.nonzero(~lines).ravel()
    left = int(gaps[gaps < centre].max()) if bool((gaps < centre).any()) else -1
    right = int(gaps[gaps > centre].min()) if bool((gaps > centre).any()) else lines.numel()
    return right - left - 1


def sensitivity_maps(kspace: Tensor) -> Tensor:
    """ESPIRiT maps ``(coil, y, x)`` from the centre of masked k-space; ones for a single coil."""
    return torch.ones_like(kspace) if kspace.shape[-3] == 1 else espirit(kspace)


def coil_combined(kspace: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Root sum of squares ``(y, x)`` of fully sampled k-space ``(coil, ky, kx)``, cropped."""
    images = Fourier(kspace.shape[-2:]).adjoint(kspace)
    combined = root_sum_of_squares(images)
    return combined if shape is None else resize(combined, shape)
