"""Cartesian sampling masks: bool tensors ``([kz,] ky, kx)``, true where k-space is measured.

Readouts run along kx. In 2D `poisson` and `caipirinha` undersample both axes, as a slice of a 3D
scan does. Masks drawn anew for every training slice, fastMRI's among them, are in `line_masks`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Seeds whose first point falls into the calibration square leave sigpy with that square alone:
# then the next of these is taken.
_ATTEMPTS, _SEED_STEP = 4, 7919
_HALVINGS, _TRIALS, _TOLERANCE = 40, 30, 0.1  # of the search for the density; as sigpy's
_STEPS = 6  # from the density of another seed


def full(shape: Sequence[int]) -> Tensor:
    """Every sample."""
    return torch.ones(tuple(shape), dtype=torch.bool)


def equispaced(
    shape: Sequence[int], acceleration: float, *, calibration: int = 24, offset: int = 0
) -> Tensor:
    """Every `acceleration`-th ky line, and a fully sampled centre.

    Parameters
    ----------
    shape
        ``([kz,] ky, kx)``.
    acceleration
        Spacing of the lines, a whole number; the calibration lines come on top.
    calibration
        Lines of the centre.
    offset
        Which of the lines comes first, counted from the centre line.
    """
    lines = _calibration_lines(shape, calibration)
    if acceleration != int(acceleration) or acceleration < 1:
        raise ValueError(f"acceleration of equispaced lines must be 1, 2, ..., got {acceleration}")
    ny = shape[-2]
    lines |= (np.arange(ny) - ny // 2 - offset) % int(acceleration) == 0
    return _from_lines(shape, lines)


def random_lines(
    shape: Sequence[int], acceleration: float, *, calibration: int = 24, seed: int = 0
) -> Tensor:
    """Random ky lines and a fully sampled centre, ky / acceleration lines in all.

    Parameters
    ----------
    shape
        ``([kz,] ky, kx)``.
    acceleration
        Overall acceleration, calibration included.
    calibration
        Lines of the centre.
    seed
        For NumPy's generator.
    """
    lines = _calibration_lines(shape, calibration)
    _require_acceleration(acceleration)
    wanted = round(shape[-2] / acceleration) - int(lines.sum())
    if wanted < 0:
        raise ValueError(
            f"{calibration} calibration lines of {shape[-2]} are more than an acceleration of "
            f"{acceleration} leaves"
        )
    free = np.flatnonzero(~lines)
    lines[np.random.default_rng(seed).choice(free, wanted, replace=False)] = True
    return _from_lines(shape, lines)


def poisson(
    shape: Sequence[int], acceleration: float, *, calibration: int = 24, seed: int = 0
) -> Tensor:
    """Variable-density Poisson disc of `sigpy.mri.poisson` over the last two phase encodings.

    Parameters
    ----------
    shape
        ``(ky, kx)``, or ``(kz, ky, kx)`` with the disc over (kz, ky).
    acceleration
        Overall acceleration, the calibration square and the cut corners included.
    calibration
        Side of the fully sampled centre.
    seed
        As sigpy takes it.

    Raises
    ------
    ValueError
        No such mask: too small a matrix for the acceleration and the calibration.
    """
    _require_acceleration(acceleration)
    shape = tuple(shape)
    plane = shape[:2]
    if acceleration == 1:
        return full(shape)
    for attempt in range(_ATTEMPTS):
        found = _search(plane, acceleration, calibration, seed + attempt * _SEED_STEP)
        if found is not None:
            mask = torch.from_numpy(found[1])
            return mask if len(shape) == 2 else mask[..., None].expand(shape).clone()
    raise ValueError(
        f"no Poisson disc of {plane[0]} x {plane[1]} reaches an acceleration of {acceleration} "
        f"with a {calibration} x {calibration} centre: change the acceleration or calibration"
    )


def poisson_like(
    shape: tuple[int, int], acceleration: float, *, calibration: int = 24, seed: int = 0
) -> Tensor:
    """As `poisson`, found from the density of seed 0 in a step or two: for training, many masks."""
    slope = _density(shape, acceleration, calibration)
    for _ in range(_STEPS if slope else 0):
        disc = _disc(shape, slope, calibration, seed)
        found = disc.size / disc.sum()
        if abs(found - acceleration) < _TOLERANCE:
            return torch.from_numpy(disc)
        slope *= acceleration / found
    return poisson(shape, acceleration, calibration=calibration, seed=seed)


@functools.lru_cache(maxsize=256)
def _density(plane: tuple[int, int], acceleration: float, calibration: int) -> float:
    """Slope for seed 0; zero where there is none."""
    found = _search(plane, acceleration, calibration, 0)
    return 0.0 if found is None else found[0]


def _search(
    plane: Sequence[int], acceleration: float, calibration: int, seed: int
) -> tuple[float, np.ndarray] | None:
    """Slope of the density and mask of `sigpy.mri.poisson`; None where its search does not end.

    The search is sigpy's own, halving by halving; sigpy goes on for ever where no slope of the
    density meets the acceleration to its tolerance of 0.1.
    """
    low, high = 0.0, float(max(plane))
    if min(plane) <= calibration:
        return None
    for _ in range(_HALVINGS):
        slope = (high + low) / 2
        mask = _disc(plane, slope, calibration, seed)
        found = mask.size / mask.sum()
        if abs(found - acceleration) < _TOLERANCE:
            return slope, mask
        low, high = (slope, high) if found < acceleration else (low, slope)
    return None


def _disc(plane: Sequence[int], slope: float, calibration: int, seed: int) -> np.ndarray:
    """Poisson disc whose radius grows by this slope, corners cut."""
    from sigpy.mri.samp import _poisson

    ny, nx = plane
    y, x = np.mgrid[:ny, :nx]
    x = np.maximum(abs(x - nx / 2) - calibration / 2, 0)
    y = np.maximum(abs(y - ny / 2) - calibration / 2, 0)
    x /= x.max()
    y /= y.max()
    r = np.sqrt(x**2 + y**2)  # to the last bit: a hair may move a sample
    radii = [np.clip((1 + r * slope) * n / max(nx, ny), 1, None) for n in (nx, ny)]
    mask = _poisson(nx, ny, _TRIALS, *radii, (calibration, calibration), seed) * (r < 1)
    return np.asarray(mask > 0)


def caipirinha(
    shape: Sequence[int],
    acceleration: tuple[int, int],
    *,
    shift: int = 1,
    calibration: int = 0,
) -> Tensor:
    """2D CAIPIRINHA: a lattice of both phase encodings, each line shifted against the last one.

    Parameters
    ----------
    shape
        ``(ky, kx)``, or ``(kz, ky, kx)`` with the lattice over (kz, ky), as in `poisson`.
    acceleration
        Undersampling along those two axes; the product is the overall acceleration.
    shift
        Steps along the second axis from one measured line of the first axis to the next; 0 is
        plain two-dimensional undersampling.
    calibration
        Side of a fully sampled centre, on top.

    References
    ----------
    F. Breuer et al., Magn Reson Med 55, 549 (2006).
    """
    shape = tuple(shape)
    first, second = acceleration
    if len(shape) not in (2, 3):
        raise ValueError(f"a mask has shape ([kz,] ky, kx), got {shape}")
    if min(first, second) < 1 or first != int(first) or second != int(second):
        raise ValueError(f"acceleration must be two whole numbers of 1 or more, got {acceleration}")
    if not 0 <= shift < second:
        raise ValueError(f"shift must be 0 to {second - 1} for an undersampling of {second}")
    row, column = (np.arange(n) - n // 2 for n in shape[:2])
    line = row[:, None] // first
    lattice = (row[:, None] % first == 0) & ((column - shift * line) % second == 0)
    rows, columns = (_calibration_lines((n, 1), calibration) for n in shape[:2])
    mask = torch.from_numpy(lattice | (rows[:, None] & columns))
    return mask if len(shape) == 2 else mask[..., None].expand(shape).clone()


def _calibration_lines(shape: Sequence[int], calibration: int) -> np.ndarray:
    if len(shape) not in (2, 3):
        raise ValueError(f"a mask has shape ([kz,] ky, kx), got {tuple(shape)}")
    ny = shape[-2]
    if not 0 <= calibration <= ny:
        raise ValueError(f"calibration must be 0 to {ny} lines, got {calibration}")
    lines = np.zeros(ny, dtype=bool)
    first = ny // 2 - calibration // 2
    lines[first : first + calibration] = True
    return lines


def _require_acceleration(acceleration: float) -> None:
    if not acceleration >= 1:
        raise ValueError(f"acceleration must be at least 1, got {acceleration}")


def _from_lines(shape: Sequence[int], lines: np.ndarray) -> Tensor:
    return torch.from_numpy(lines)[:, None].expand(tuple(shape)).clone()
