"""A drawing of a geometry: orbit, detector, rays and the image's grid, from above and the side."""

from __future__ import annotations

from typing import Any

import numpy as np

from .astra import view_axes
from .base import Array, Geometry, VolumeGrid
from .geometry import CircularBeam, DivergentBeam
from .modular import ModularBeam

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
    figure, axes = plt.subplots(1, count, figsize=(5 * count, 5), squeeze=False)
    sources, (starts, ends) = _sources(geometry), _rays(geometry, grid, view)
    top = axes[0, 0]
    if sources is not None:
        top.plot(sources[:, 0], sources[:, 1], ".", markersize=2, label="source")
        top.plot(*sources[view, :2], "o", label=f"source, view {view}")
    top.plot(ends[:, 0], ends[:, 1], linewidth=3, label="detector")
    for end in (0, -1):
        top.plot(*np.stack([starts[end], ends[end]])[:, :2].T, "k--", linewidth=0.8)
    _box(top, grid, -1, -2)
    top.set(xlabel="x (mm)", ylabel="y (mm)", title=str(type(geometry).__name__), aspect="equal")
    top.legend(loc="best", fontsize=8)
    if geometry.ndim == 3 and sources is not None:
        _draw_side(axes[0, 1], geometry, grid, view, sources)
    return figure


def _draw_side(side: Any, geometry: Geometry, grid: VolumeGrid, view: int, sources: Array) -> None:
    rows = _edge_rows(geometry, view)
    toward = rows.mean(0)[:2] - sources[view, :2]
    toward = toward / np.linalg.norm(toward)
    along = lambda p: np.atleast_2d(p)[:, :2] @ toward  # noqa: E731
    side.plot(along(sources), sources[:, 2], ".", markersize=2)
    side.plot(along(sources[view]), sources[view, 2], "o")
    side.plot(along(rows), rows[:, 2], linewidth=3)
    for row in rows:
        points = np.stack([sources[view], row])
        side.plot(along(points), points[:, 2], "k--", linewidth=0.8)
    _box(side, grid, -2, 0)
    side.set(xlabel=f"along view {view} (mm)", ylabel="z (mm)", title="from the side")
    side.set_aspect("equal")


def _box(axes: Any, grid: VolumeGrid, horizontal: int, vertical: int) -> None:
    x, y = (grid.center[a] + np.array([-0.5, 0.5]) * grid.extent[a] for a in (horizontal, vertical))
    axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], color="tab:green", label="image")


def _sources(geometry: Geometry) -> Array | None:
    """Positions (view, 3) in mm; none where the rays are parallel."""
    if isinstance(geometry, ModularBeam):
        return geometry.source
    if not isinstance(geometry, DivergentBeam):
        return None
    along = view_axes(geometry.angles)[1]
    z = getattr(geometry, "source_z", np.zeros(len(geometry)))
    return np.column_stack([-along * geometry.source_to_isocenter, z])


def _rays(geometry: Geometry, grid: VolumeGrid, view: int) -> tuple[Array, Array]:
    """Beginnings and ends (point, 3) of rays to points along the detector's middle row."""
    if isinstance(geometry, ModularBeam):
        steps = np.linspace(-0.5, 0.5, POINTS)[:, None] * geometry.columns
        ends = geometry.detector_center[view] + steps * geometry.column_vector[view]
        return np.broadcast_to(geometry.source[view], ends.shape), ends
    assert isinstance(geometry, CircularBeam)
    edges = geometry.column_positions[[0, -1]] + np.array([-0.5, 0.5]) * geometry.column_spacing
    u = np.linspace(float(edges[0]), float(edges[1]), POINTS)
    across, along = (a[view] for a in view_axes(geometry.angles))
    if isinstance(geometry, DivergentBeam):
        sources = _sources(geometry)
        assert sources is not None
        distance = geometry.source_to_detector
        depth = np.full(POINTS, distance)
        if geometry.detector == "curved":
            depth, u = distance * np.cos(u / distance), distance * np.sin(u / distance)
        shifts = np.multiply.outer(u, across) + np.multiply.outer(depth, along)
        ends = sources[view] + np.column_stack([shifts, np.zeros(POINTS)])
        return np.broadcast_to(sources[view], ends.shape), ends
    reach = float(np.linalg.norm(grid.extent[-2:])) / 2 * along
    ends = np.multiply.outer(u, across)
    return tuple(np.column_stack([ends + s * reach, np.zeros(POINTS)]) for s in (-1, 1))  # type: ignore[return-value]


def _edge_rows(geometry: Geometry, view: int) -> Array:
    """Middle of the lowest and of the highest detector edge (2, 3)."""
    if isinstance(geometry, ModularBeam):
        steps = np.array([[-0.5], [0.5]]) * geometry.rows
        return np.asarray(geometry.detector_center[view] + steps * geometry.row_vector[view])
    edges = geometry.row_positions[[0, -1]] + np.array([-0.5, 0.5]) * geometry.row_spacing  # type: ignore[attr-defined]
    sources = _sources(geometry)
    assert sources is not None
    along = view_axes(geometry.angles[[view]])[1][0] * geometry.source_to_detector  # type: ignore[attr-defined]
    middle = sources[view] + np.array([*along, 0.0])
    return np.stack([middle + np.array([0.0, 0.0, z]) for z in edges])
