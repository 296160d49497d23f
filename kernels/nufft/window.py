"""The interpolation window and what it costs: width, shape and oversampling for a tolerance.

The window is Kaiser-Bessel (Jackson et al. 1991), its shape tuned numerically for each width and
oversampling so that the expected l2 error of a transform of white noise is least.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .fft import fast_length

MAX_WIDTH, LEAST_UPSAMPLING = 16, 1.2
# Measured nanoseconds of one thread and coil: a grid point in one FFT pass, one window tap in
# interpolation and spreading (mean), and a sample's remaining work.
COST_FFT, COST_TAP, COST_SAMPLE = 1.9, 0.09, 4.0
EPSILON = 6e-8  # single precision
# How far the expected error stays below the tolerance, by dimension, down to what single precision
# can reach: no less far than ducc0's at 1e-3 and 1e-5, since every digit more costs time.
SAFETY, LEAST_SAFETY, SINGLE_PRECISION = (3.0, 4.6, 7.5), 3.2, 3e-7


@dataclass(frozen=True)
class Window:
    """Kaiser-Bessel window of `width` grid cells with shape parameter `beta`."""

    width: int
    beta: float

    def transform(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fourier transform at `frequency` (cycles per grid cell)."""
        square = self.beta**2 - (np.pi * self.width * np.asarray(frequency)) ** 2
        z = np.sqrt(np.abs(square))
        z = np.where(z < 1e-9, 1e-9, z)  # where both branches are one
        ratio = np.where(square > 0, np.sinh(np.minimum(z, self.beta)), np.sin(z)) / z
        value: NDArray[np.float64] = ratio * (self.width / np.i0(self.beta))
        return value

    def deapodisation(self, pixels: int, cells: int) -> NDArray[np.float64]:
        """Factor for each pixel of an axis on a grid of `cells`, with the transform's 1/sqrt(n)."""
        frequency = (np.arange(pixels) - pixels // 2) / cells
        return np.asarray(1 / self.transform(frequency) / np.sqrt(pixels))

    def polynomials(self) -> NDArray[np.float64]:
        """Coefficients (power, tap): weights of the taps for a fraction s in [-1, 1].

        The first tap lies ``(s + 1) / 2 - width / 2`` from the sample, the others follow.
        """
        degree = min(self.width + 8, 22)
        s = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        distance = (s[:, None] + 1) / 2 - self.width / 2 + np.arange(self.width)
        inside = np.clip(1 - (2 * distance / self.width) ** 2, 0, None)
        values = np.i0(self.beta * np.sqrt(inside)) / np.i0(self.beta)
        series = chebyshev.chebfit(s, values, degree)
        powers = [chebyshev.cheb2poly(series[:, tap]) for tap in range(self.width)]
        table = np.zeros((degree + 1, self.width))
        for tap, coefficients in enumerate(powers):
            table[: len(coefficients), tap] = coefficients
        return table

    def error(self, upsampling: float) -> float:
        """Expected relative l2 error of one dimension for white noise: what aliases back."""
        inside = np.linspace(-0.5, 0.5, 33) / upsampling
        orders = np.concatenate([np.arange(-16, 0), np.arange(1, 17)])
        alias = self.transform(inside[:, None] + orders) ** 2
        power = alias.sum(1) / self.transform(inside) ** 2
        return float(np.sqrt(np.trapezoid(power, dx=1 / 32)))

    def rounding(self, upsampling: float) -> float:
        """How much one dimension amplifies rounding: deapodisation lifts what the window sank."""
        inside = np.linspace(-0.5, 0.5, 33) / upsampling
        lift = np.sqrt(np.mean(1 / self.transform(inside) ** 2))
        x = np.linspace(-1, 1, 257)
        energy = np.mean((np.i0(self.beta * np.sqrt(1 - x**2)) / np.i0(self.beta)) ** 2)
        return float(lift * np.sqrt(energy * self.width))


@functools.lru_cache(maxsize=512)
def best_window(width: int, upsampling: float) -> tuple[Window, float]:
    """Return the window of least error for a width and oversampling, and that error."""
    start = np.pi * width * (1 - 0.5 / upsampling)
    low, high = 0.75 * start, 1.05 * start
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(14):
        a, b = high - golden * (high - low), low + golden * (high - low)
        if Window(width, a).error(upsampling) < Window(width, b).error(upsampling):
            high = b
        else:
            low = a
    window = Window(width, (low + high) / 2)
    return window, window.error(upsampling)


@functools.lru_cache(maxsize=512)
def least_upsampling(width: int, error: float) -> float | None:
    """Return the least oversampling up to 2.5 at which a width reaches an error, or None."""
    low, high = LEAST_UPSAMPLING, 2.5
    if best_window(width, high)[1] > error:
        return None
    if best_window(width, low)[1] <= error:
        return low
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (low, middle) if best_window(width, middle)[1] <= error else (middle, high)
    return high


def choose(
    tolerance: float, shape: tuple[int, ...], samples: int, upsampling: float | None = None
) -> tuple[int, tuple[int, ...]]:
    """Return the window width and the grid shape of least cost that reach a tolerance.

    Raises
    ------
    ValueError
        No width up to `MAX_WIDTH` reaches the tolerance at the given upsampling.
    """
    goal = max(tolerance / SAFETY[len(shape) - 1], min(tolerance / LEAST_SAFETY, SINGLE_PRECISION))
    error = goal / np.sqrt(len(shape))
    candidates = []
    least = tuple(int(LEAST_UPSAMPLING * n) for n in shape)
    for width in range(2, MAX_WIDTH + 1):
        if candidates and cost(width, shape, least, samples) > min(candidates)[0]:
            break  # on the smallest grid a wider window already costs more
        factor = upsampling or least_upsampling(width, error)
        if factor is None or (upsampling and best_window(width, upsampling)[1] > error):
            continue
        lift = best_window(width, factor)[0].rounding(factor) ** len(shape)
        if tolerance >= 1e-6 and EPSILON * lift > tolerance / 4:
            continue
        grid = tuple(max(fast_length(int(np.ceil(factor * n))), 2 * width) for n in shape)
        grid = tuple(fast_length(n) for n in grid)
        candidates.append((cost(width, shape, grid, samples), width, grid))
    if not candidates:
        raise ValueError(
            f"no window of up to {MAX_WIDTH} points reaches tolerance={tolerance:g} at "
            f"upsampling={upsampling}: raise one of them"
        )
    _, width, grid = min(candidates)
    return width, grid


def cost(width: int, shape: tuple[int, ...], grid: tuple[int, ...], samples: int) -> float:
    """Nanoseconds of one thread for one coil, one transform and its share of the samples."""
    points = 0.0
    for axis in range(len(shape)):  # pruned: later axes hold image lines only
        points += float(np.prod(shape[:axis])) * float(np.prod(grid[axis:]))
    return COST_FFT * points + samples * (COST_TAP * width ** len(shape) + COST_SAMPLE)
