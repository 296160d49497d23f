"""Density compensation from the geometry of the trajectory, without iteration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, Voronoi
from torch import Tensor

Points = NDArray[np.float64]


def radial_density(trajectory: Tensor, image_shape: Sequence[int], readout_length: int) -> Tensor:
    """Weights of radial samples: the sector of a ring (2D) or shell (3D) that each stands for.

    Parameters
    ----------
    trajectory
        ``(sample, ndim)`` in cycles per pixel: straight spokes through, from or to the middle, at
        any angles in 2D, evenly spread in 3D.
    image_shape
        ``([z,] y, x)``.
    readout_length
        Samples a spoke.

    Returns
    -------
    Tensor
        ``(sample,)`` in cells of the image's Cartesian grid, as `density_compensation`.

    Raises
    ------
    ValueError
        Readouts that do not divide the samples.
    """
    k, ndim = _readouts(trajectory, readout_length)
    ends = k[:, -1] - k[:, 0]
    direction = ends / ends.norm(dim=1, keepdim=True).clamp_min(1e-12)
    radius = (k * direction[:, None]).sum(-1)
    if bool((radius[:, -1] < -0.3 * radius[:, 0]).all()):  # to the middle: as if from it
        radius, direction = -radius, -direction
    whole = bool((radius[:, 0] < -0.3 * radius[:, -1]).all())
    if ndim == 3:
        share = torch.full((len(k),), (2 if whole else 4) * math.pi / len(k), dtype=k.dtype)
    else:
        period = math.pi if whole else 2 * math.pi
        angle, order = (torch.atan2(direction[:, 0], direction[:, 1]) % period).sort()
        gaps = torch.diff(angle, append=angle[:1] + period)
        share = torch.empty_like(angle)
        share[order] = (gaps + gaps.roll(1)) / 2
    return _rings(radius, share, image_shape).to(trajectory)


def spiral_density(trajectory: Tensor, image_shape: Sequence[int], readout_length: int) -> Tensor:
    """Weights of spirals whose interleaves are turns of one another about the middle, in 2D.

    Each sample stands for its part of the ring between its neighbours, whatever the pitch.

    Parameters
    ----------
    trajectory
        ``(sample, 2)`` in cycles per pixel, out from or in to the middle.
    image_shape
        ``(y, x)``.
    readout_length
        Samples an interleave.

    Returns
    -------
    Tensor
        ``(sample,)`` in cells of the image's Cartesian grid, as `density_compensation`.

    Raises
    ------
    ValueError
        Readouts that do not divide the samples, a 3D trajectory.

    References
    ----------
    R. D. Hoge et al., Magn Reson Med 38, 117 (1997).
    """
    k, ndim = _readouts(trajectory, readout_length)
    if ndim != 2:
        raise ValueError(f"spirals are 2D, the trajectory has {ndim} axes")
    share = torch.full((len(k),), 2 * math.pi / len(k), dtype=k.dtype)
    return _rings(k.norm(dim=-1), share, image_shape).to(trajectory)


def voronoi_density(trajectory: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Weights of any samples: the part of k-space that is nearest to each.

    Samples at one place share its cell. At the border, cells end half a sample outside: on a disc
    (ball), or on a box where the samples fill its corners.

    Parameters
    ----------
    trajectory
        ``(sample, ndim)`` in cycles per pixel. In 3D, a minute for some 1e5 samples.
    image_shape
        ``([z,] y, x)``.

    Returns
    -------
    Tensor
        ``(sample,)`` in cells of the image's Cartesian grid, as `density_compensation`.

    References
    ----------
    V. Rasche et al., IEEE Trans Med Imaging 18, 385 (1999).
    """
    if trajectory.ndim != 2 or trajectory.shape[-1] not in (2, 3):
        raise ValueError(f"trajectory must be (sample, 2 or 3), got {tuple(trajectory.shape)}")
    samples = trajectory.detach().double().numpy(force=True) * np.array(image_shape)
    # float32 samples of one place may differ in the last bit
    _, first, member, count = np.unique(
        np.round(samples, 4), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    points = samples[first]
    diagram = Voronoi(np.concatenate([points, _mirrored(points, np.array(image_shape))]))
    regions = [diagram.regions[i] for i in diagram.point_region[: len(points)]]
    if points.shape[1] == 2:
        sizes = np.array([_area(diagram.vertices[r], p) for r, p in zip(regions, points,
                                                                       strict=True)])  # fmt: skip
    else:
        sizes = np.array([ConvexHull(diagram.vertices[region]).volume for region in regions])
    return torch.from_numpy(sizes / count)[member.reshape(-1)].to(trajectory)


def _readouts(trajectory: Tensor, readout_length: int) -> tuple[Tensor, int]:
    if (
        trajectory.ndim != 2
        or readout_length < 2
        or trajectory.shape[0] % readout_length
        or trajectory.shape[-1] not in (2, 3)
    ):
        raise ValueError(
            f"trajectory must be (sample, 2 or 3) in readouts of {readout_length}, "
            f"got {tuple(trajectory.shape)}"
        )
    ndim = trajectory.shape[-1]
    return trajectory.detach().cpu().double().reshape(-1, readout_length, ndim), ndim


def _rings(radius: Tensor, share: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Size of the ring sectors between the middles of neighbouring radii, in grid cells.

    Radii ``(readout, sample)`` may be signed, as those of whole spokes; `share` is each readout's
    angle or solid angle.
    """
    ndim = len(image_shape)
    middle = (radius[:, 1:] + radius[:, :-1]) / 2
    first, last = 2 * radius[:, :1] - middle[:, :1], 2 * radius[:, -1:] - middle[:, -1:]
    if bool((radius >= 0).all()):  # from or to the middle: no further than it
        first, last = first.clamp_min(0), last.clamp_min(0)
    edges = torch.cat([first, middle, last], 1)
    primitive = edges.sign() * edges.abs() ** ndim / ndim
    return ((primitive.diff(dim=1).abs() * share[:, None]) * math.prod(image_shape)).flatten()


def _mirrored(points: Points, shape: Points) -> Points:
    """Mirror images of the outer samples, which end the cells of the border."""
    scaled = points / shape
    radius, reach = np.linalg.norm(scaled, axis=1), np.abs(scaled).max()
    if radius.max() > 1.2 * reach:  # there are samples in the corners
        return np.concatenate([_beyond(points, axis) for axis in range(points.shape[1])])
    ordered = np.unique(radius.round(6))
    half = (ordered[-1] - ordered[-2]) / 2 if len(ordered) > 1 else 0.5 / float(shape.max())
    border = ordered[-1] + half
    outer = radius > 0.75 * border
    mirrored: Points = scaled[outer] * (2 * border / radius[outer] - 1)[:, None] * shape
    return mirrored


def _beyond(points: Points, axis: int) -> Points:
    """Samples near both ends of an axis, mirrored half a sample beyond them."""
    values = np.unique(points[:, axis].round(4))
    copies = []
    for end, half in ((values[0], values[0] - values[1]), (values[-1], values[-1] - values[-2])):
        near = np.abs(points[:, axis] - end) < max(4.0, (values[-1] - values[0]) / 4)
        copy = points[near].copy()
        copy[:, axis] = 2 * end + half - copy[:, axis]
        copies.append(copy)
    return np.concatenate(copies)


def _area(vertices: Points, centre: Points) -> float:
    """Area of a convex polygon."""
    angle = np.argsort(np.arctan2(*(vertices - centre).T))
    x, y = (vertices[angle] - centre).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
