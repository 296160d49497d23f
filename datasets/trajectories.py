"""Non-Cartesian trajectories in cycles per pixel, ``(sample, ndim)`` ordered as the image axes.

The samples of a readout follow one another; values lie in [-0.5, 0.5).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GOLDEN_ANGLE = np.pi * (np.sqrt(5) - 1) / 2  # 111.246 degrees

# The golden means of two dimensions: shares of the sphere between consecutive spokes.
_GOLDEN_MEANS = (0.4656, 0.6823)


def radial(spokes: int, readout: int, *, golden: bool = True) -> Tensor:
    """Spokes through the centre of a 2D k-space, ``(spokes * readout, 2)``.

    Parameters
    ----------
    spokes
        Number of spokes.
    readout
        Samples a spoke; sample ``readout // 2`` is the centre.
    golden
        Turn by the golden angle of 111.25 degrees (Winkelmann 2007), or in equal steps over pi.
    """
    _require_positive(spokes=spokes, readout=readout)
    angle = np.arange(spokes) * (GOLDEN_ANGLE if golden else np.pi / spokes)
    direction = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    return _trajectory(_diameter(readout)[:, None] * direction[:, None])


def kooshball(spokes: int, readout: int) -> Tensor:
    """Spokes through the centre of a 3D k-space, ``(spokes * readout, 3)``.

    Directions follow the two-dimensional golden means (Chan 2009).

    Parameters
    ----------
    spokes
        Number of spokes.
    readout
        Samples a spoke; sample ``readout // 2`` is the centre.
    """
    _require_positive(spokes=spokes, readout=readout)
    z, turn = (np.arange(spokes) * mean % 1 for mean in _GOLDEN_MEANS)
    radius, azimuth = np.sqrt(1 - z**2), 2 * np.pi * turn
    direction = np.stack([z, radius * np.sin(azimuth), radius * np.cos(azimuth)], axis=-1)
    return _trajectory(_diameter(readout)[:, None] * direction[:, None])


def spiral(interleaves: int, readout: int, turns: float, *, density: float = 1.0) -> Tensor:
    """Spirals from the centre outward in 2D, evenly sampled along the arc.

    Parameters
    ----------
    interleaves
        Number of spirals, turned evenly against one another.
    readout
        Samples an interleave.
    turns
        Revolutions of an interleave; N / (2 * interleaves) reaches Nyquist for N pixels.
    density
        Radius grows with this power of the angle: 1 is Archimedean, more crowds the centre.

    Returns
    -------
    Tensor
        ``(interleaves * readout, 2)``.
    """
    _require_positive(interleaves=interleaves, readout=readout, turns=turns, density=density)
    t = np.linspace(0, 1, 512 * max(int(np.ceil(turns)), 16))
    curve = 0.5 * t**density * np.exp(2j * np.pi * turns * t)
    arc = np.concatenate([[0], np.cumsum(np.abs(np.diff(curve)))])
    t = np.interp(np.arange(readout) / readout * arc[-1], arc, t)
    first = 0.5 * t**density * np.exp(2j * np.pi * turns * t)
    turned = first * np.exp(2j * np.pi * np.arange(interleaves) / interleaves)[:, None]
    return _trajectory(np.stack([turned.imag, turned.real], axis=-1))


def _diameter(readout: int) -> NDArray[np.float64]:
    return (np.arange(readout) - readout // 2) / readout


def _trajectory(k: NDArray[np.float64]) -> Tensor:
    """Flatten ``(readout, sample, ndim)``; 0.5 itself belongs to the next period."""
    below_half = np.nextafter(np.float32(0.5), np.float32(0))
    flat = k.reshape(-1, k.shape[-1]).astype(np.float32)
    return torch.from_numpy(np.minimum(flat, below_half))


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
