"""Ellipses and ellipsoids with closed-form line integrals, and the rays of every geometry."""

from __future__ import annotations

import numpy as np

from spinray.kernels.ct.geometry import ModularBeam, ParallelBeam

# value (1/mm), x, y (mm), semi-axes a, b (mm), rotation (rad): a head in a 240 mm field of view.
HEAD = [
    (0.0400, 0.0, 0.0, 84.0, 108.0, 0.0),
    (-0.0200, 0.0, -1.0, 78.0, 102.0, 0.0),
    (-0.0020, 26.0, 0.0, 13.0, 36.0, -0.31),
    (-0.0020, -26.0, 0.0, 18.0, 48.0, 0.31),
    (0.0020, 0.0, 41.0, 25.0, 29.0, 0.0),
    (0.0020, 0.0, -70.0, 14.0, 6.0, 0.0),
]


def image_of(ellipses, grid, oversampling=8):
    """Area-averaged pixels of a sum of ellipses."""
    ny, nx = grid.shape[-2:]
    dy, dx = grid.spacing[-2:]
    sub = (np.arange(oversampling) - (oversampling - 1) / 2) / oversampling
    image = np.zeros((ny, nx))
    xs = grid.positions(-1)[:, None] + sub * dx
    ys = grid.positions(-2)[:, None] + sub * dy
    for j in range(ny):
        x, y = xs.reshape(1, -1), ys[j][:, None]
        row = sum(v * inside(x, y, *rest) for v, *rest in ellipses)
        image[j] = row.reshape(oversampling, nx, oversampling).mean((0, 2))
    return image


def inside(x, y, x0, y0, a, b, turn):
    c, s = np.cos(turn), np.sin(turn)
    u, v = (x - x0) * c + (y - y0) * s, -(x - x0) * s + (y - y0) * c
    return (u / a) ** 2 + (v / b) ** 2 <= 1


def rays(geometry, cells=1):
    """Start points and unit directions, (view, [row,] column * cells, 2 or 3).

    `cells` rays are spread over the width of each column.
    """
    n = geometry.columns * cells
    c = (np.arange(n) - (n - 1) / 2) / cells
    t = geometry.angles[:, None]
    if isinstance(geometry, ParallelBeam):
        u = (c + geometry.column_offset) * geometry.column_spacing
        start = np.stack([u * np.cos(t), u * np.sin(t)], -1)
        return start, np.stack([-np.sin(t) + 0 * u, np.cos(t) + 0 * u], -1)
    if isinstance(geometry, ModularBeam):
        r = np.arange(geometry.rows) - (geometry.rows - 1) / 2
        end = geometry.detector_center[:, None, None] + (
            r[None, :, None, None] * geometry.row_vector[:, None, None]
            + c[None, None, :, None] * geometry.column_vector[:, None, None]
        )
        start = np.broadcast_to(geometry.source[:, None, None], end.shape)
        return start, _unit(end - start)
    sid, sdd = geometry.source_to_isocenter, geometry.source_to_detector
    u = (c + geometry.column_offset) * geometry.column_spacing
    gamma = u / sdd if geometry.detector == "curved" else np.arctan(u / sdd)
    direction = np.stack([-np.sin(t - gamma), np.cos(t - gamma)], -1)
    start = np.stack([sid * np.sin(t) + 0 * u, -sid * np.cos(t) + 0 * u], -1)
    if geometry.ndim == 2:
        return start, direction
    rows = np.arange(geometry.rows) - (geometry.rows - 1) / 2
    v = (rows + geometry.row_offset) * geometry.row_spacing
    across = sdd if geometry.detector == "curved" else sdd / np.cos(gamma)
    slope = v[:, None] / (across * np.ones(n))
    shape = (len(geometry), geometry.rows, n)
    direction = np.broadcast_to(direction[:, None], (*shape, 2))
    direction = _unit(np.concatenate([direction, np.broadcast_to(slope, shape)[..., None]], -1))
    start = np.broadcast_to(start[:, None], (*shape, 2))
    z = np.broadcast_to(geometry.source_z[:, None, None], shape)
    return np.concatenate([start, z[..., None]], -1), direction


def _unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def line_integrals_of(ellipses, geometry, cells=1):
    """Closed-form line integrals, averaged over `cells` rays a column."""
    start, direction = rays(geometry, cells)
    total = np.zeros(start.shape[:-1])
    for value, *shape in ellipses:
        if len(shape) == 5:  # x, y, a, b, rotation
            x0, y0, a, b, turn = shape
            c, s = np.cos(turn), np.sin(turn)
            to_unit = np.array([[c / a, s / a], [-s / b, c / b]])
            center = np.array([x0, y0])
        else:  # x, y, z, a, b, c
            center, to_unit = np.array(shape[:3]), np.diag(1 / np.array(shape[3:]))
        p, d = (start - center) @ to_unit.T, direction @ to_unit.T
        dd, pd, pp = (d * d).sum(-1), (p * d).sum(-1), (p * p).sum(-1)
        total += value * 2 * np.sqrt(np.maximum(pd**2 - dd * (pp - 1), 0)) / dd
    return total.reshape(*total.shape[:-1], -1, cells).mean(-1)


def relative_rmse(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))
