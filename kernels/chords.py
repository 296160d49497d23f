"""Lines through ellipses and ellipsoids: the sum of the chords, in closed form."""

from __future__ import annotations

from typing import Any

from numba import prange

from .threads import parallel_jit


@parallel_jit
def chords(points: Any, directions: Any, centers: Any, to_unit: Any, values: Any, out: Any) -> None:
    """Sum over the shapes of value times length of the line inside, ``(ray,)``.

    Parameters
    ----------
    points, directions
        Of each line; the directions of unit length, ``(ray, axis)``.
    centers, to_unit, values
        Of each shape: middle ``(shape, axis)``, the matrix that maps it to the unit ball
        ``(shape, axis, axis)``, and what it is worth a mm.
    out
        The sums.
    """
    ndim = points.shape[1]
    for ray in prange(len(points)):
        total = 0.0
        for shape in range(len(values)):
            matrix, dd, dp, pp = to_unit[shape], 0.0, 0.0, 0.0
            for a in range(ndim):
                p, d = 0.0, 0.0
                for b in range(ndim):
                    p += matrix[a, b] * (points[ray, b] - centers[shape, b])
                    d += matrix[a, b] * directions[ray, b]
                dd += d * d
                dp += d * p
                pp += p * p
            outside = pp - dp * dp / dd  # squared distance of the line from the middle of the ball
            if outside < 1:
                total += values[shape] * 2 * ((1 - outside) / dd) ** 0.5
        out[ray] = total
