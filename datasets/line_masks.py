"""Masks for training: drawn anew for each slice or volume, fastMRI's line masks bit for bit.

A mask sampler is called with the k-space matrix ``(ky, kx)`` and a seed; it returns a bool mask
``(ky or 1, kx)`` and how many lines (or samples a side) of its centre are fully sampled. fastMRI
keeps the readout along the image's y axis, so its lines are columns: they run along ky and are
chosen along kx.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from . import masks

Seed = int | Sequence[int] | RandomState
Kind = Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"]
Lines = NDArray[np.bool_]

_DISCS = 32  # a matrix and acceleration


class MaskSampler(ABC):
    """What a dataset calls for a mask. A class, no Protocol: configurations name its subclasses."""

    @abstractmethod
    def __call__(self, matrix: Sequence[int], seed: Seed) -> tuple[Tensor, int]:
        """Mask ``(ky or 1, kx)``, bool, and the number of lines of its centre."""


@dataclass(frozen=True)
class LineMask(MaskSampler):
    """fastMRI's line masks: the same bits as its package (0.3.0) for the same seed.

    Parameters
    ----------
    kind
        "random": each line beyond the centre with equal chance. "equispaced": every R-th line,
        the centre on top. "equispaced_fraction": spread so that with the centre one in R is
        measured (the public multi-coil test data). "magic": equispaced with opposite offsets on
        the two sides of k-space, for its conjugate symmetry (Defazio, arXiv:1912.01101);
        "magic_fraction" the same with one in R measured in all.
    center_fractions
        Part of the lines that the fully sampled centre takes. Of several, one is drawn a mask.
    accelerations
        R, belonging to `center_fractions` one by one.
    any_combination
        Whether fraction and acceleration are drawn independently.

    Raises
    ------
    ValueError
        An unknown kind, values out of range, lists of different lengths; when called, a centre
        that alone has more lines than the acceleration leaves.
    """

    kind: Kind = "random"
    center_fractions: tuple[float, ...] = (0.08,)
    accelerations: tuple[int, ...] = (4,)
    any_combination: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "center_fractions", tuple(self.center_fractions))
        object.__setattr__(self, "accelerations", tuple(self.accelerations))
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if not self.center_fractions or not all(0 <= f <= 1 for f in self.center_fractions):
            raise ValueError(f"center_fractions must be in [0, 1], got {self.center_fractions}")
        if not self.accelerations or not all(a >= 1 for a in self.accelerations):
            raise ValueError(f"accelerations must be 1, 2, ..., got {self.accelerations}")
        if len(self.center_fractions) != len(self.accelerations) and not self.any_combination:
            raise ValueError(
                f"{len(self.center_fractions)} center_fractions and {len(self.accelerations)} "
                "accelerations: as many of each, or any_combination=True"
            )

    def __call__(self, matrix: Sequence[int], seed: Seed) -> tuple[Tensor, int]:
        """Mask ``(1, kx)`` for a k-space ``(ky, kx)``, and the lines of its centre."""
        lines, calibration = self.lines(int(matrix[-1]), seed)
        return torch.from_numpy(lines)[None], calibration

    def lines(self, count: int, seed: Seed, offset: int | None = None) -> tuple[Lines, int]:
        """Which of `count` lines are measured, and how many lines the centre has.

        Parameters
        ----------
        count
            Lines of the k-space.
        seed
            As NumPy's `RandomState` takes it, or one, which moves on: fastMRI seeds with a volume's
            file name, ``tuple(map(ord, name))``.
        offset
            The first line of equispaced and magic masks. Default: drawn.
        """
        random = seed if isinstance(seed, RandomState) else RandomState(seed)
        fraction, acceleration = self._draw(random)
        calibration = round(count * fraction)
        if self.kind == "magic_fraction":
            wanted = round(count / acceleration)
            calibration = max(min(calibration, wanted), 1)
            rest = wanted - calibration
            outer = _magic(count, round(count / rest), offset, random) if rest > 0 else False
        elif self.kind == "magic":
            outer = _magic(count, acceleration, offset, random)
        elif self.kind == "equispaced":
            offset = random.randint(0, high=round(acceleration)) if offset is None else offset
            outer = np.arange(count) % acceleration == offset % acceleration
            outer &= np.arange(count) >= offset
        elif calibration * acceleration >= count:
            raise ValueError(
                f"{calibration} lines of the centre of {count} leave none for an acceleration of "
                f"{acceleration}: a smaller center_fraction or acceleration"
            )
        elif self.kind == "random":
            chance = (count / acceleration - calibration) / (count - calibration)
            outer = random.uniform(size=count) < chance
        else:
            outer = _spread(count, acceleration, calibration, offset, random)
        lines = np.zeros(count, dtype=bool)
        first = (count - calibration + 1) // 2
        lines[first : first + calibration] = True
        return lines | outer, calibration

    def _draw(self, random: RandomState) -> tuple[float, int]:
        """Draw even from lists of one, as fastMRI does: the generator must move on alike."""
        if self.any_combination:
            fraction = float(random.choice(self.center_fractions))
            return fraction, int(random.choice(self.accelerations))
        index = random.randint(len(self.center_fractions))
        return self.center_fractions[index], self.accelerations[index]


@dataclass(frozen=True)
class CaipirinhaMask(MaskSampler):
    """`masks.caipirinha` with a lattice and a shift drawn for each mask.

    Parameters
    ----------
    accelerations
        Undersampling along (ky, kx); of several, one is drawn a mask.
    calibration
        Side of the fully sampled centre.
    """

    accelerations: tuple[tuple[int, int], ...] = ((2, 2),)
    calibration: int = 24

    def __call__(self, matrix: Sequence[int], seed: Seed) -> tuple[Tensor, int]:
        """Mask ``(ky, kx)``, and the side of its centre."""
        random = seed if isinstance(seed, RandomState) else RandomState(seed)
        first, second = self.accelerations[random.randint(len(self.accelerations))]
        lattice = masks.caipirinha(
            matrix,
            (first, second),
            shift=int(random.randint(second)),
            calibration=self.calibration,
        )
        return lattice, self.calibration


class MaskMixture(MaskSampler):
    """Draws one of several mask samplers for each mask.

    Parameters
    ----------
    samplers
        Such as `LineMask` and `PoissonMask`.
    turned
        Whether half of the masks are transposed, so that lines run along either axis.
    """

    def __init__(self, samplers: Sequence[MaskSampler], *, turned: bool = False) -> None:
        if not samplers:
            raise ValueError("a mixture needs at least one mask sampler")
        self.samplers, self.turned = tuple(samplers), turned

    def __call__(self, matrix: Sequence[int], seed: Seed) -> tuple[Tensor, int]:
        """Mask ``(ky, kx)``, bool, and the number of lines of its centre."""
        random = seed if isinstance(seed, RandomState) else RandomState(seed)
        sampler = self.samplers[random.randint(len(self.samplers))]
        shape = tuple(matrix)
        turn = self.turned and bool(random.randint(2))
        mask, lines = sampler(shape[::-1] if turn else shape, random)
        mask = mask.expand(shape[::-1] if turn else shape)
        return (mask.mT if turn else mask).contiguous(), lines


@dataclass(frozen=True)
class PoissonMask(MaskSampler):
    """Poisson discs of `masks.poisson`, with an acceleration drawn for each mask.

    A disc is one of 32 of its matrix and acceleration, found when first asked for and kept, flipped
    along either axis and, if square, transposed at random: 256 discs that cost next to nothing.

    Parameters
    ----------
    accelerations
        Overall acceleration; of several, one is drawn a mask.
    calibration
        Side of the fully sampled centre.
    """

    accelerations: tuple[float, ...] = (8.0,)
    calibration: int = 24

    def __call__(self, matrix: Sequence[int], seed: Seed) -> tuple[Tensor, int]:
        """Mask ``(ky, kx)``, and the side of its centre."""
        random = seed if isinstance(seed, RandomState) else RandomState(seed)
        acceleration = float(random.choice(self.accelerations))
        ny, nx = (int(n) for n in matrix)
        disc = _disc((ny, nx), acceleration, self.calibration, int(random.randint(_DISCS)))
        disc = disc.flip([axis for axis in (0, 1) if random.randint(2)])
        disc = disc.mT if ny == nx and random.randint(2) else disc
        # Flipped about the middle, a square of another parity than the matrix lies off the centre.
        square = disc[_centre(ny, self.calibration), _centre(nx, self.calibration)]
        square.fill_(True)
        return disc.contiguous(), self.calibration


@functools.lru_cache(maxsize=512)
def _disc(shape: tuple[int, int], acceleration: float, calibration: int, seed: int) -> Tensor:
    return masks.poisson_like(shape, acceleration, calibration=calibration, seed=seed)


def _centre(count: int, calibration: int) -> slice:
    first = count // 2 - calibration // 2
    return slice(first, first + calibration)


def _spread(
    count: int, acceleration: int, calibration: int, offset: int | None, random: RandomState
) -> Lines:
    """Lines at a fractional step, rounded, so that with the centre one in R is measured."""
    step = acceleration * (calibration - count) / (calibration * acceleration - count)
    offset = random.randint(0, high=round(step)) if offset is None else offset
    lines = np.zeros(count, dtype=bool)
    lines[np.around(np.arange(offset, count - 1, step)).astype(int)] = True
    return lines


def _magic(count: int, acceleration: int, offset: int | None, random: RandomState) -> Lines:
    """Every R-th line, at offsets that mirror onto different lines left and right of the centre."""
    offset = random.randint(0, high=acceleration) if offset is None else offset
    right, left = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    positive = np.zeros((count + 1) // 2, dtype=bool)
    negative = np.zeros(count // 2, dtype=bool)
    positive[right::acceleration] = True
    negative[left::acceleration] = True
    return np.fft.fftshift(np.concatenate([positive, negative[::-1]]))
