"""Tables of figures of many volumes: means, CSV, comparisons."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets import Finding
from ..io import FormatError
from ..io.atomic import atomic, require_writable
from ..metrics import PairedTest, paired_test

UNITS = {"psnr": "dB", "psnr_object": "dB", "psnr_fr": "dB"}


@dataclass(frozen=True)
class VolumeFigures:
    """Figures of one volume.

    Parameters
    ----------
    volume
        Name of its file.
    acquisition
        Contrast or sequence, where it is known.
    slices
        How many.
    figures
        By name: ``mse``, ``nmse``, ``psnr``, ``ssim`` and the same inside the object with
        ``_object``; or LoDoPaB's ``psnr``, ``psnr_fr``, ``ssim``, ``ssim_fr``.
    crimes
        Names of the data crimes found in it.
    """

    volume: str
    acquisition: str
    slices: int
    figures: Mapping[str, float]
    crimes: Sequence[str] = ()


@dataclass
class Evaluation:
    """Figures of many volumes.

    Parameters
    ----------
    volumes
        In order of their names.
    skipped
        Volumes without figures, and why.
    findings
        Data crimes of the targets' data.
    """

    volumes: list[VolumeFigures] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the figures."""
        return list(self.volumes[0].figures) if self.volumes else []

    def values(self, name: str) -> NDArray[np.float64]:
        """One figure of all volumes."""
        return np.array([volume.figures[name] for volume in self.volumes])

    def summary(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Mean and standard deviation over volumes: of each acquisition, and of "all"."""
        groups = {"all": self.volumes}
        by_name = sorted(self.volumes, key=lambda volume: volume.acquisition)
        parts = {k: list(g) for k, g in groupby(by_name, key=lambda volume: volume.acquisition)}
        if len(parts) > 1:
            groups |= parts
        return {
            group: {name: _mean_and_spread([v.figures[name] for v in rows]) for name in self.names}
            for group, rows in groups.items()
        }

    def write_csv(self, path: str | PathLike[str]) -> None:
        """Write a row a volume; the file appears whole or not at all."""
        target = Path(path)
        require_writable(target)
        with atomic(target) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["volume", "acquisition", "slices", *self.names, "data_crimes"])
            for row in self.volumes:
                figures = (repr(float(row.figures[name])) for name in self.names)
                crimes = "; ".join(row.crimes)
                writer.writerow([row.volume, row.acquisition, row.slices, *figures, crimes])

    def against(self, path: str | PathLike[str]) -> dict[str, PairedTest]:
        """Paired tests against another evaluation's CSV, over the volumes that both have.

        Raises
        ------
        ValueError
            No such table, or fewer than two volumes in common.
        """
        other = _read_csv(Path(path))
        common = [row for row in self.volumes if row.volume in other]
        if len(common) < 2:
            raise ValueError(f"{path}: has {len(common)} of these volumes, a test needs 2 or more")
        shared = [name for name in self.names if all(name in other[r.volume] for r in common)]
        return {
            name: paired_test(
                [row.figures[name] for row in common], [other[row.volume][name] for row in common]
            )
            for name in shared
        }


def _mean_and_spread(values: list[float]) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), spread


def _read_csv(path: Path) -> dict[str, dict[str, float]]:
    """Figures by volume, of a table that `write_csv` wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        fixed = {"volume", "acquisition", "slices", "data_crimes"}
        if not reader.fieldnames or "volume" not in reader.fieldnames:
            raise FormatError(path, "", "is no table of spinray evaluate: no column named volume")
        try:
            return {
                row["volume"]: {k: float(v) for k, v in row.items() if k not in fixed}
                for row in reader
            }
        except (TypeError, ValueError) as error:
            raise FormatError(path, "", f"holds what is no number: {error}") from error
