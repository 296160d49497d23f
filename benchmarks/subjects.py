"""The test subjects that no training has seen: a brain of MR, a head of CT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spinray.recon.mri import root_sum_of_squares
from spinray.recon.operators import Fourier

from .mri_cases import read_cfl

HEAD = Path("ct_images") / "cranium_hu.npz"
HEAD_SPACING = 0.957  # mm


class Brain:
    """`brain8ch_full.cfl`: k-space of 8 coils, 230 x 180, and its root sum of squares.

    Figures are of the magnitude inside the object: where that exceeds 8 % of its 99.5 percentile.
    """

    def __init__(self, data: Path) -> None:
        kspace = np.moveaxis(read_cfl(data / "mr_kspace" / "brain8ch_full"), -1, 0)
        self.kspace = torch.from_numpy(np.ascontiguousarray(kspace))
        self.shape = tuple(self.kspace.shape[1:])
        self.coils: Tensor = Fourier(self.shape).adjoint(self.kspace)
        self.target = root_sum_of_squares(self.coils)
        self.inside = self.target > 0.08 * self.target.flatten().quantile(0.995)
