"""The test subjects that no training has seen: a brain of MR, a head of CT."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from spinray.recon.mri import root_sum_of_squares
from spinray.recon.operators import Fourier

from .mri_cases import brain, object_of

HEAD = Path("ct_images") / "cranium_hu.npz"
HEAD_SPACING = 0.957  # mm


class Brain:
    """`brain8ch_full.cfl`: k-space of 8 coils, 230 x 180, and its root sum of squares.

    Figures are of the magnitude inside the object (`mri_cases.object_of`).
    """

    def __init__(self, data: Path) -> None:
        self.kspace = brain(data)
        self.shape = tuple(self.kspace.shape[1:])
        self.coils: Tensor = Fourier(self.shape).adjoint(self.kspace)
        self.target = root_sum_of_squares(self.coils)
        self.inside = object_of(self.target)
