"""A drawing of a geometry: orbit, detector, rays and the image's grid, from above and the side."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Geometry, VolumeGrid
from .beams import ray_frames
from .geometry import DivergentBeam, ParallelBeam

POINTS = 65  # of a drawn detector


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
    ends, edges = _detector(geometry, frames[view])
    if isinstance(geometry, ParallelBeam):  # the frame holds a direction in place of the source
        reach = float(np.linalg.norm(grid.extent)) / 2 * frames[view, 0]
        starts, ends = ends - reach, ends + reach
    else:
        starts = np.broadcast_to(frames[view, 0], ends.shape)
    top = axes[0, 0]
    if not isinstance(geometry, ParallelBeam):
        top.plot(frames[:, 0, 0], frames[:, 0, 1], ".", markersize=2, label="source")
        top.plot(*frames[view, 0, :2], "o", label=f"source, view {view}")
    top.plot(ends[:, 0], ends[:, 1], linewidth=3, color="tab:red", label="detector")
    for end in (0, -1):
        top.plot(*np.stack([starts[end], ends[end]])[:, :2].T, "k--", linewidth=0.8)
    _box(top, grid, -1, -2)
    top.set(xlabel="x (mm)", ylabel="y (mm)", title=type(geometry).__name__, aspect="equal")
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    if geometry.ndim == 3:
        _draw_side(axes[0, 1], grid, view, frames[:, 0], edges)
    return figure


def _draw_side(side: Any, grid: VolumeGrid, view: int, sources: Array, edges: Array) -> None:
    toward = edges.mean(0)[:2] - sources[view, :2]
    toward = toward / np.linalg.norm(toward)
    side.plot(sources[:, :2] @ toward, sources[:, 2], ".", markersize=2)
    side.plot(sources[view, :2] @ toward, sources[view, 2], "o")
    side.plot(edges[:, :2] @ toward, edges[:, 2], linewidth=3, color="tab:red")
    for edge in edges:
        points = np.stack([sources[view], edge])
        side.plot(points[:, :2] @ toward, points[:, 2], "k--", linewidth=0.8)
    _box(side, grid, -2, 0)
    (left, right), (bottom, high) = side.get_xlim(), side.get_ylim()
    flat = (high - bottom) < 0.4 * (right - left)  # a thin volume would be a line
    title = "from the side, z stretched" if flat else "from the side"
    side.set(xlabel=f"along view {view} (mm)", ylabel="z (mm)", title=title)
    side.set_aspect("auto" if flat else "equal")


def _detector(geometry: Geometry, frame: Array) -> tuple[Array, Array]:
    """Points along the middle row (point, 3), and the middles of lowest and highest edge (2, 3)."""
    first, center, row, column = frame
    half = np.array([[-0.5], [0.5]]) * (geometry.shape[1] if geometry.ndim == 3 else 0)
    if isinstance(geometry, DivergentBeam) and geometry.detector == "curved":
        # the frame holds unit vectors along the central ray, z and columns
        distance, pitch = geometry.source_to_detector, geometry.column_spacing
        u = np.linspace(-0.5, 0.5, POINTS) * geometry.columns + geometry.column_offset
        angle = (u * pitch / distance)[:, None]
        points = first + distance * (np.cos(angle) * center + np.sin(angle) * column)
        spacing = getattr(geometry, "row_spacing", 0.0)
        rows = (half + getattr(geometry, "row_offset", 0.0)) * spacing
        return points, first + distance * center + rows * row
    steps = np.linspace(-0.5, 0.5, POINTS)[:, None] * geometry.shape[-1]
    return center + steps * column, center + half * row


def _box(axes: Any, grid: VolumeGrid, horizontal: int, vertical: int) -> None:
    x, y = (grid.center[a] + np.array([-0.5, 0.5]) * grid.extent[a] for a in (horizontal, vertical))
    axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], color="tab:green", label="image")
