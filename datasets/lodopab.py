"""LoDoPaB-CT: simulated low-dose scans of chest slices, in the official split."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from ..recon.arrays import as_tensor
from ..recon.io import FormatError
from ..recon.io.hdf5 import dataset, open_hdf5
from ..recon.io.readers.lodopab import GEOMETRY, VOLUME, truth_beside
from ..recon.metrics.lodopab import MAXIMUM
from .examples import CTExample
from .slices import Evidence, SliceDataset, depth_of
from .sources import SOURCES, advice, require_folder

Part = Literal["train", "validation", "test"]
_SLICES = 128  # a file


class LoDoPaB(SliceDataset[CTExample]):
    """LoDoPaB-CT: 1000 parallel views x 513 columns of chest slices, 362 x 362 pixels of 0.718 mm.

    The files hold line integrals and images over 81.35858 1/m, attenuation at 3071 HU; here they
    are without unit and in 1/mm.

    Parameters
    ----------
    folder
        With the unpacked HDF5 files and the lists of patients.
    part
        "train", "validation" or "test": the official split, by patient.

    Raises
    ------
    FileNotFoundError
        No such folder: says where the data come from.
    ValueError
        No readable file of this part in it.

    References
    ----------
    J. Leuschner et al., Sci Data 8, 109 (2021).
    """

    name, modality = "LoDoPaB-CT", "CT"
    geometry, volume = GEOMETRY, VOLUME

    def __init__(self, folder: str | PathLike[str], part: Part = "train") -> None:
        root = require_folder(folder, SOURCES["lodopab"])
        files = root.glob(f"observation_{part}_*.hdf5")
        self._patients = _patients(root / f"patient_ids_rand_{part}.csv")
        super().__init__(
            files, needed=f"observation_{part}_*.hdf5 in {root}. {advice(SOURCES['lodopab'])}"
        )

    def _open(self, path: Path) -> int:
        with open_hdf5(path) as file:
            stored = dataset(file, "data")
            if stored.ndim != 3 or stored.shape[1:] != self.geometry.shape:
                raise FormatError(
                    path, "data", f"has shape {stored.shape}, expected (slice, 1000, 513)"
                )
            depth = depth_of(stored)
        truth = truth_beside(path)
        if truth.exists():
            with open_hdf5(truth) as file:
                images = dataset(file, "data")
                if images.shape != (depth, *self.volume.shape):
                    raise FormatError(
                        truth, "data", f"has shape {images.shape}, expected ({depth}, 362, 362)"
                    )
        return depth

    def subjects(self, path: Path) -> set[str]:
        """The patients of a file, which holds slices of several."""
        return {self._patient(path, n) for p, n in self.slices if p == path}

    def __getitem__(self, index: int) -> CTExample:
        path, number = self.slices[index]
        target = _read_hdf5(truth_beside(path), number)
        return CTExample(
            sinogram=MAXIMUM * 1e3 * _require(_read_hdf5(path, number), path),
            image=None,
            target=None if target is None else MAXIMUM * target,
            max_value=0.0 if target is None else MAXIMUM * float(target.max()),
            fname=path.name,
            slice_number=number,
        )

    def evidence(self, path: Path) -> Evidence:
        """An image of the file."""
        return Evidence(None, None, _read_hdf5(truth_beside(path), 0))

    def _patient(self, path: Path, number: int) -> str:
        first = int(path.stem.rsplit("_", 1)[1]) * _SLICES
        place = first + number
        return self._patients[place] if place < len(self._patients) else f"{path.name}:{number}"


def _patients(path: Path) -> list[str]:
    """One patient a slice, in order; none where the list is missing."""
    return path.read_text().split() if path.exists() else []


def _read_hdf5(path: Path, number: int) -> Tensor | None:
    if not path.exists():
        return None
    with open_hdf5(path) as file:
        return as_tensor(np.asarray(file["data"][number], dtype=np.float32))


def _require(data: Tensor | None, path: Path) -> Tensor:
    if data is None:
        raise FileNotFoundError(f"{path}: is gone")
    return data
