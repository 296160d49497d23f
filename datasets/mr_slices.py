"""From a slice of k-space to an `MRExample`: masks, calibration lines, maps, crops."""

from __future__ import annotations

import torch
from torch import Tensor

from ..recon.mri import espirit, outer_noise, part_noise, resize, root_sum_of_squares
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


def example_noise(kspace: Tensor, trajectory: Tensor | None = None) -> float:
    """Noise of an `MRExample`'s ``(coil, ky, kx)`` or ``(coil, sample)``."""
    return part_noise(outer_noise(kspace, trajectory))


def sensitivity_maps(kspace: Tensor) -> Tensor:
    """ESPIRiT maps ``(coil, y, x)`` from the centre of masked k-space; ones for a single coil."""
    return torch.ones_like(kspace) if kspace.shape[-3] == 1 else espirit(kspace)


def interpolated_maps(kspace: Tensor) -> Tensor:
    """`sensitivity_maps` of every other pixel, and linear in between: enough for training.

    Inside the object they are within 1 % of the full ones. Matrices of odd sides get the full ones.
    """
    if any(n % 2 for n in kspace.shape[-2:]):
        return sensitivity_maps(kspace)
    coarse = sensitivity_maps(resize(kspace, [n // 2 for n in kspace.shape[-2:]]))
    rows = torch.stack([coarse, torch.lerp(coarse, coarse.roll(-1, -2), 0.5)], -2).flatten(-3, -2)
    maps = torch.stack([rows, torch.lerp(rows, rows.roll(-1, -1), 0.5)], -1).flatten(-2)
    return unit_length(maps)


def unit_length(maps: Tensor) -> Tensor:
    """Complex maps ``(coil, y, x)`` over their root sum of squares, zeros where there are none."""
    real, imaginary = torch.view_as_real(maps).square().sum(0).unbind(-1)
    square = (real + imaginary).clamp_min(torch.finfo(real.dtype).tiny)
    return maps * square.rsqrt()


def coil_combined(kspace: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Root sum of squares ``(y, x)`` of fully sampled k-space ``(coil, ky, kx)``, cropped."""
    images = Fourier(kspace.shape[-2:]).adjoint(kspace)
    combined = root_sum_of_squares(images)
    return combined if shape is None else compared_part(combined, shape)


def compared_part(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """The centre of ``(..., y, x)`` that is compared with a target of a shape; zeros where smaller.

    Cut as `metrics.center_crop` and fastMRI cut targets: an odd centre of an even image starts a
    pixel before that of `resize`.
    """
    y, x = (
        slice((n - m) // 2, (n - m) // 2 + m) if m < n else slice(None)
        for n, m in zip(image.shape[-2:], shape, strict=True)
    )
    return resize(image[..., y, x], shape)
