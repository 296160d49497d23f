"""LoDoPaB-CT: observations of simulated low-dose scans, with the ground truth beside them.

J. Leuschner et al., Sci Data 8, 109 (2021). The files hold line integrals and images over
81.35858 1/m, attenuation at 3071 HU; here they are without unit and in 1/mm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from ....kernels.ct.geometry import ParallelBeam, VolumeGrid
from ...metrics.lodopab import MAXIMUM
from ...scan import CTScan
from ..hdf5 import dataset, find, looks_like, open_hdf5, read_array
from ..raw_file import Part, RawFile

NAME = "LoDoPaB-CT"
# Their array is (x, y) with views at t; read as (y, x) the same rays are views at pi/2 - t.
GEOMETRY = ParallelBeam(
    np.pi / 2 - (np.arange(1000) + 0.5) * np.pi / 1000, 513, 260.0 * np.sqrt(2) / 513
)
VOLUME = VolumeGrid((362, 362), (260.0 / 362, 260.0 / 362))


def matches(path: Path) -> bool:
    """Whether an HDF5 file has ``data`` of 1000 views and 513 columns a slice, and nothing else."""

    def test(file: h5py.File) -> bool:
        node = find(file, "data")
        return (
            set(file) == {"data"}
            and isinstance(node, h5py.Dataset)
            and node.shape is not None
            and node.shape[1:] == GEOMETRY.shape
        )

    return looks_like(path, test)


def open_file(path: Path) -> RawFile:
    """Look at the observations; slices of many patients follow each other."""
    with open_hdf5(path) as file:
        count = dataset(file, "data").shape[0]
    truth = truth_beside(path)
    facts = {
        "format": NAME, "slices": count, "views": GEOMETRY.shape[0],
        "ground truth": truth.name if truth.is_file() else "not beside it",
    }  # fmt: skip
    return RawFile(
        format=NAME,
        axes={"slice": count},
        size=4 * count * GEOMETRY.shape[0] * GEOMETRY.columns,
        facts=facts,
        take=lambda part: _read(path, truth, part),
    )


def truth_beside(path: Path) -> Path:
    """The file of the ground truth that goes with one of observations."""
    return path.with_name(path.name.replace("observation_", "ground_truth_"))


def _read(path: Path, truth: Path, part: Part) -> CTScan:
    index = (part.get("slice", slice(None)),)
    with open_hdf5(path) as file:
        lines = read_array(file, "data", "f", index).astype(np.float32)
    header: dict[str, Any] = {"format": NAME}
    if truth != path and truth.is_file():
        with open_hdf5(truth) as file:
            images = read_array(file, "data", "f", index).astype(np.float32)
        header["ground_truth"] = torch.from_numpy(images * np.float32(MAXIMUM))
    return CTScan(
        torch.from_numpy(lines * np.float32(1e3 * MAXIMUM)), GEOMETRY, volume=VOLUME, header=header
    )
