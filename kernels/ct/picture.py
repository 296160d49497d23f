"""A drawing of a geometry: orbit, detector, rays and the image's grid, from above and the side."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Geometry, VolumeGrid
from .beams import ray_frames
from .geometry import DivergentBeam, ParallelBeam

POINTS = 65  # of an edge of a drawn detector


def draw(geometry: Geometry, volume: VolumeGrid | None = None, view: int = 0) -> Any:
    """Draw a geometry with matplotlib; the figure shows one view's detector and rays.

    Parameters
    ----------
    geometry
    volume : the grid to draw, the geometry's default if None
    view : whose detector and outermost rays are drawn

    Returns
    -------
    matplotlib Figure: from above (x, y), in 3D also from the side (along the view, z)
    """
    import matplotlib.pyplot as plt

    grid = volume or geometry.default_volume()
    if grid.ndim != geometry.ndim:
        raise ValueError(f"a {geometry.ndim}D geometry needs a {geometry.ndim}D volume, got {grid}")
    count = geometry.ndim - 1
    figure, axes = plt.subplots(
        1, count, figsize=(5 * count, 5), squeeze=False, layout="constrained"
    )
    frames = ray_frames(geometry)
    detector = _outline(geometry, frames[view])
    if isinstance(geometry, ParallelBeam):  # the frame holds a direction in place of the source
        reach = float(np.linalg.norm(grid.extent)) / 2 * frames[view, 0]
        starts, detector = detector - reach, detector + reach
    else:
        starts = np.broadcast_to(frames[view, 0], detector.shape)
    ends = [0, POINTS - 1, POINTS, 2 * POINTS - 1]
    rays = np.stack([starts[ends], detector[ends]], axis=1)
    top = axes[0, 0]
    if not isinstance(geometry, ParallelBeam):
        top.plot(*frames[:, 0, :2].T, ".", markersize=2, label="source")
        top.plot(*frames[view, 0, :2], "o", label=f"source, view {view}")
    top.plot(*detector[:, :2].T, linewidth=3, color="tab:red", label="detector")
    for ray in rays:
        top.plot(*ray[:, :2].T, "k--", linewidth=0.8)
    _box(top, grid, np.eye(3)[:2])
    top.set(xlabel="x (mm)", ylabel="y (mm)", title=type(geometry).__name__, aspect="equal")
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    if geometry.ndim == 3:
        _draw_side(axes[0, 1], grid, view, frames[:, 0], detector, rays)
    return figure


def _draw_side(
    side: Any, grid: VolumeGrid, view: int, sources: Array, detector: Array, rays: Array
) -> None:
    toward = np.append(detector[:-1].mean(0)[:2] - sources[view, :2], 0.0)
    length = float(np.linalg.norm(toward))  # of a ray along z, any direction is the side
    frame = np.stack([toward / length if length > 1e-9 else np.eye(3)[0], np.eye(3)[2]])
    side.plot(*(frame @ sources.T), ".", markersize=2)
    side.plot(*(frame @ sources[view]), "o")
    side.plot(*(frame @ detector.T), linewidth=3, color="tab:red")
    for ray in rays:
        side.plot(*(frame @ ray.T), "k--", linewidth=0.8)
    _box(side, grid, frame)
    (left, right), (bottom, high) = side.get_xlim(), side.get_ylim()
    flat = (high - bottom) < 0.4 * (right - left)  # a thin volume would be a line
    title = "from the side, z stretched" if flat else "from the side"
    side.set(xlabel=f"along view {view} (mm)", ylabel="z (mm)", title=title)
    side.set_aspect("auto" if flat else "equal")


def _outline(geometry: Geometry, frame: Array) -> Array:
    """Points along the detector's lowest edge and back along its highest, ``(point, 3)``.

    In a plane both are the detector itself.
    """
    first, center, row, column = frame
    half = np.array([-0.5, 0.5]) * (geometry.shape[1] if geometry.ndim == 3 else 0)
    along = np.linspace(-0.5, 0.5, POINTS) * geometry.shape[-1]
    if isinstance(geometry, DivergentBeam) and geometry.detector == "curved":
        # the frame holds unit vectors along the central ray, z and columns
        distance = geometry.source_to_detector
        angle = (along + geometry.column_offset) * geometry.column_spacing / distance
        angle = angle[:, None]
        middle = first + distance * (np.cos(angle) * center + np.sin(angle) * column)
        half = (half + getattr(geometry, "row_offset", 0.0)) * getattr(geometry, "row_spacing", 0.0)
    else:
        middle = center + along[:, None] * column
    low, high = (middle + h * row for h in half)
    return np.concatenate([low, high[::-1], low[:1]])


def _box(axes: Any, grid: VolumeGrid, frame: Array) -> None:
    """Draw the extent of a grid along two directions, the rows of `frame`."""
    center, extent = (np.append(v[::-1], 0.0)[:3] for v in (grid.center, grid.extent))
    middle, reach = frame @ center, np.abs(frame) @ extent / 2
    x, y = (m + np.array([-1, 1]) * r for m, r in zip(middle, reach, strict=True))
    axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], color="tab:green", label="image")
