"""What all datasets share: slices of volumes in files, and the broken files left out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..kernels.warn import warn
from ..recon.io import FormatError
from .examples import Example

SEEDS = 2**32  # NumPy's


class Evidence(NamedTuple):
    """One slice of a volume as the file holds it, for the checks of `crimes`.

    Parameters
    ----------
    kspace
        ``(coil, ky, kx)``, before any mask of ours; None where there is none.
    mask
        Where the file says that it was measured, broadcasting to ``(ky, kx)``; None: everywhere.
    image
        Real ``(y, x)``: the target, or what else a network would learn; None where there is none.
    """

    kspace: Tensor | None
    mask: Tensor | None
    image: Tensor | None


class SliceDataset(Dataset[Example], Generic[Example]):
    """Slices of volumes. A volume that cannot be read is left out, with a warning, and listed.

    Attributes
    ----------
    name, modality
        Of the data set; "MR" or "CT".
    simulated
        What is made of images in place of the scanner's data, such as "k-space"; else empty.
    slices
        File and index of every slice, in order: a volume's slices follow each other.
    skipped
        Files left out, and why.
    """

    name: str = "data set"
    modality: str = "MR"
    simulated: str = ""

    def __init__(self, files: Iterable[Path], *, needed: str) -> None:
        """Index the files; `needed` says what was expected where nothing is found."""
        self.slices: list[tuple[Path, int]] = []
        self.skipped: list[tuple[Path, str]] = []
        found = sorted(files)
        for path in found:
            try:
                depth = self._open(path)
            except (FormatError, OSError) as error:
                self.skipped.append((path, _reason(error)))
                continue
            self.slices += [(path, index) for index in range(depth)]
        if not self.slices:
            broken = f"; {len(self.skipped)} of {len(found)} files cannot be read, the first: "
            why = f"{broken}{self.skipped[0][0].name}: {self.skipped[0][1]}" if self.skipped else ""
            raise ValueError(f"{self.name}: empty, expected {needed}{why}")
        if self.skipped:
            names = ", ".join(path.name for path, _ in self.skipped[:5])
            more = ", ..." if len(self.skipped) > 5 else ""
            warn(
                f"{self.name}: {len(self.skipped)} of {len(found)} files cannot be read and are "
                f"left out (dataset.skipped says why): {names}{more}"
            )

    @abstractmethod
    def _open(self, path: Path) -> int:
        """Read what is needed of a volume before its data; return its number of slices."""

    @abstractmethod
    def evidence(self, path: Path) -> Evidence:
        """A slice from the middle of a volume, as it lies in the file."""

    def images(self, path: Path) -> Tensor:
        """All images of a volume that are at hand, ``(slice, y, x)``, to find them elsewhere."""
        image = self.evidence(path).image
        return torch.zeros(0, 1, 1) if image is None else image[None]

    def subjects(self, path: Path) -> set[str]:
        """Who or what was scanned; the file itself where the data do not say."""
        return {str(path.resolve())}

    @property
    def volumes(self) -> list[Path]:
        """Files that hold the slices, each once, in order."""
        return list(dict.fromkeys(path for path, _ in self.slices))

    def __len__(self) -> int:
        return len(self.slices)

    def _seed(self, fname: str, fixed: bool, part: int = 0) -> int | tuple[int, ...]:
        """Return fastMRI's seed of a volume; or a new one from torch's generator.

        Lightning and DataLoader seed that one, differently in every worker and epoch.
        """
        if fixed:
            return (*map(ord, fname), part) if part else tuple(map(ord, fname))
        return int(torch.randint(SEEDS, ()).item())


def split_subjects(
    names: Sequence[str], fractions: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int = 0
) -> list[list[str]]:
    """Split subjects at random, each whole: slices of one never stand on both sides.

    Parameters
    ----------
    names
        Subjects; repeated names count once.
    fractions
        Of the parts, adding up to at most 1; each part that is asked for gets at least one subject.
    seed
        Of the shuffling; the order of `names` has no influence.

    Raises
    ------
    ValueError
        Fewer subjects than parts, fractions that add up to more than 1.
    """
    subjects = sorted(set(names))
    if not all(f > 0 for f in fractions) or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"fractions must be positive and add up to 1 at most, got {fractions}")
    if len(subjects) < len(fractions):
        raise ValueError(f"{len(subjects)} subjects cannot make {len(fractions)} parts")
    generator = torch.Generator().manual_seed(seed)
    order = [subjects[i] for i in torch.randperm(len(subjects), generator=generator).tolist()]
    parts: list[list[str]] = []
    for index, fraction in enumerate(fractions):
        later = len(fractions) - index - 1
        count = max(1, min(round(fraction * len(subjects)), len(order) - later))
        parts.append(sorted(order[:count]))
        order = order[count:]
    return parts


def log_range(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """Logarithms of the ends of a range; a number alone is both.

    Raises
    ------
    ValueError
        Ends that are not positive or do not rise, more than two.
    """
    ends = (value, value) if isinstance(value, int | float) else tuple(value)
    if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
        raise ValueError(
            f"{name} must be a number or two, positive, the smaller first, got {value}"
        )
    return math.log(ends[0]), math.log(ends[1])


def _reason(error: Exception) -> str:
    """Why a file cannot be read, without its name."""
    if isinstance(error, FormatError):
        return f"{error.place}: {error.message}" if error.place else error.message
    return str(error)


def depth_of(node: Any) -> int:
    """Slices of an HDF5 dataset."""
    return int(node.shape[0])
