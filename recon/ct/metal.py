"""Normalised metal artefact reduction (NMAR)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ...kernels.ct.geometry import Geometry, VolumeGrid
from ..operators.xray import XRayTransform
from .corrections import bridged
from .hounsfield import WATER, from_hounsfield, to_hounsfield

Reconstruct = Callable[[Tensor, Geometry, VolumeGrid], Tensor]

METAL = 3000.0  # HU: more than dense bone
_AIR, _BONE = -300.0, 300.0  # HU: what the prior holds for air, and for bone
_SMOOTH = 1.0  # pixels: streaks must not become bone
_MOST = 0.2  # of what is not air


def reduce_metal(
    sinogram: Tensor,
    geometry: Geometry,
    reconstruct: Reconstruct,
    volume: VolumeGrid | None = None,
    *,
    threshold: float = METAL,
    water: float = WATER,
) -> tuple[Tensor, Tensor]:
    """Replace the rays through metal by what a prior image of the rest lets expect.

    A first image is made of rays through metal bridged straight; its air and soft tissue are made
    even, its bone is kept. The sinogram over that of this prior is smooth, so that bridging it does
    little harm, and is multiplied by the prior's again.

    Parameters
    ----------
    sinogram
        Line integrals ``(*batch, view, [row,] column)``.
    geometry
        Any; a 2D geometry takes stacks of slices as batch.
    reconstruct
        ``(sinogram, geometry, volume) -> image``, such as `fbp` or `fdk`.
    volume
        Grid that covers the object. Default: over the field of view.
    threshold
        In HU: what exceeds it in the uncorrected image is metal.
    water
        Attenuation of water in 1/mm.

    Returns
    -------
    Tensor, Tensor
        The sinogram without metal; and the metal in the uncorrected image, bool
        ``(*batch, [z,] y, x)``, to be put back. Without metal, the sinogram as it was.

    Raises
    ------
    ValueError
        Metal that fills more than a fifth of the object, or shades whole views.

    References
    ----------
    E. Meyer et al., Med Phys 37, 5482 (2010).
    """
    grid = volume or geometry.default_volume()
    image = to_hounsfield(reconstruct(sinogram, geometry, grid), water)
    metal = image > threshold
    if not bool(metal.any()):
        return sinogram, metal
    share = float(metal.sum()) / float((metal | (image > _AIR)).sum())
    if share > _MOST:
        raise ValueError(
            f"metal fills {share:.0%} of the object, too much to see around it: is "
            f"{threshold:g} HU the right threshold, {water:g}/mm water?"
        )
    A = XRayTransform(geometry, grid)
    trace = A(metal.to(sinogram.dtype)) > 0.25 * min(grid.spacing)
    if bool(trace.all(dim=-1).any()):
        raise ValueError(
            "metal shades whole rows of the detector: nothing beside it to bridge from"
        )
    bridged_once = bridged(sinogram.clone(), trace)
    first = to_hounsfield(reconstruct(bridged_once, geometry, grid), water)
    prior = A(from_hounsfield(_prior(first, metal, grid.ndim), water).clamp_min(0))
    least = 0.02 * float(prior.max())  # beside the object the prior holds nothing to divide by
    scale = prior.clamp_min(least)
    corrected = bridged(sinogram / scale, trace) * scale
    return torch.where(trace, corrected, sinogram), metal


def _prior(image: Tensor, metal: Tensor, ndim: int) -> Tensor:
    """Air and soft tissue made even, bone as it is, soft tissue for metal, in HU."""
    sigma = (0.0,) * (image.ndim - ndim) + (_SMOOTH,) * ndim
    smooth = torch.from_numpy(gaussian_filter(image.cpu().numpy(), sigma)).to(image)
    prior = torch.where(smooth < _AIR, -1000.0, 0.0)
    prior = torch.where(smooth > _BONE, image, prior)
    return torch.where(metal, 0.0, prior)
