"""The undersampled scans that MR methods are compared on, and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinray.datasets import SimulatedMR
from spinray.recon.metrics import nrmse
from spinray.recon.mri import root_sum_of_squares
from spinray.recon.operators import Fourier

from .bart import read_cfl
from .common import data_folder

# images that k-space is simulated from: file, slice, SNR
IMAGES = {
    "t2 brain": ("t2_brain.nii.gz", 13, 20.0),
    "tumour": ("brain1.nrrd", 12, 30.0),
    "colin27": ("colin27_t1.nii.gz", 90, 40.0),
    "other patient": ("brain2.nrrd", 11, 30.0),
    "chest": ("body_slices.npz", 2, 30.0),
}
DEVELOPMENT = ("t2 brain", "tumour", "colin27")  # the default weight was chosen on these alone


def folder_with_brain() -> Path | None:
    """The folder of real data, if it holds the brain slice."""
    data = data_folder()
    return data if (data / "mr_kspace" / "brain8ch_full.cfl").exists() else None


def brain(data: Path, name: str = "brain8ch_full") -> torch.Tensor:
    """K-space ``(coil, y, x)`` of the real slice, 8 x 230 x 180."""
    raw = np.moveaxis(read_cfl(data / "mr_kspace" / name), -1, 0)
    return torch.from_numpy(np.ascontiguousarray(raw))


@lru_cache(maxsize=2)
def full_scan(data: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """K-space ``(coil, y, x)`` and the image it is judged by.

    Of the real slice that is the root sum of squares, of a simulated one the image itself.
    """
    if name == "brain":
        kspace = brain(data)
        return kspace, root_sum_of_squares(Fourier(kspace.shape[1:]).adjoint(kspace))
    file, number, snr = IMAGES[name]
    path = data / "mr_images" / file
    example = SimulatedMR([path], snr=snr, minimum=0.0, fixed=True)[number]
    return example.kspace, example.target


@dataclass(frozen=True)
class Case:
    """One scan, undersampled by `sigpy.mri.poisson` with a 24 x 24 centre."""

    name: str
    acceleration: int
    seed: int

    def __str__(self) -> str:
        return f"{self.name}, {self.acceleration}x, mask {self.seed}"

    def load(self, data: Path) -> Undersampled:
        import sigpy.mri

        kspace, target = full_scan(data, self.name)
        mask = sigpy.mri.poisson(
            kspace.shape[1:], self.acceleration, calib=(24, 24), seed=self.seed
        )
        return Undersampled(kspace, torch.from_numpy(np.abs(mask) > 0), target)


def object_of(target: torch.Tensor) -> torch.Tensor:
    """Where errors count: the target exceeds 8 % of its 99.5 percentile."""
    return target > 0.08 * target.flatten().quantile(0.995)


class Undersampled:
    """K-space under a mask, and the NRMSE of magnitude images inside the object, scale fitted."""

    def __init__(self, full: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> None:
        self.mask, self.target, self.kspace = mask, target, full * mask
        self.inside = object_of(target)

    def error(self, image: Any) -> float:
        return nrmse(self.target, np.abs(np.asarray(image)), mask=self.inside, fit_scale=True)
