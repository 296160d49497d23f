"""2DeteCT: real fan-beam scans of mixed objects, three beams each."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..recon.ct import line_integrals
from ..recon.io import FormatError
from ..recon.io.errors import format_errors
from ..recon.io.readers.two_detect import (
    PARTS,
    PIXEL,
    SHAPE,
    VOLUME,
    fan_beam,
    is_shifted,
    number_of,
    readings,
)
from .examples import CTExample
from .slices import Evidence, SliceDataset
from .sources import SOURCES, advice, require_folder


class TwoDeteCT(SliceDataset[CTExample]):
    """2DeteCT: real fan-beam scans, 3600 views x 956 columns; references of 1024 x 1024 pixels.

    Detector pixels are binned by two, as in the authors' scripts, and corrected by flat and dark
    fields. The detector of slices 1 to 2830 and 5521 to 5870 stood one binned column aside; the
    columns are moved back. The geometry is that of the authors' scripts for ASTRA, seen from
    below: the columns run the other way and images keep their row 0 on top.

    Parameters
    ----------
    folder
        With slice00001, slice00002, ...
    mode
        What the network gets: 1 is low dose (90 kV, 3 W), 2 the reference dose (90 kV, 90 W), 3 is
        beam-hardened (60 kV, 60 W, no filter).
    references
        Folder of the reference reconstructions. Default: `folder`.
    slices
        Numbers of the slices to keep. One object spans many slices: split by ranges of them.
    views
        Every how many-th view is kept.

    Raises
    ------
    FileNotFoundError
        No such folder: says where the data come from.
    ValueError
        No readable slice in it, another mode.

    References
    ----------
    M. Kiss et al., Sci Data 10, 576 (2023).
    """

    name, modality = "2DeteCT", "CT"
    volume = VOLUME

    def __init__(
        self,
        folder: str | PathLike[str],
        mode: int = 2,
        *,
        references: str | PathLike[str] | None = None,
        slices: Sequence[int] | None = None,
        views: int = 1,
    ) -> None:
        if mode not in (1, 2, 3) or views < 1:
            raise ValueError(f"mode must be 1, 2 or 3 and views 1 or more, got {mode}, {views}")
        source = SOURCES["2detect"]
        root = require_folder(folder, source)
        self.references = require_folder(root if references is None else references, source)
        self.mode, self.views = mode, views
        self.geometry = fan_beam(views)
        wanted = None if slices is None else {f"slice{n:05d}" for n in slices}
        files = [
            path
            for path in root.glob(f"slice*/mode{mode}/sinogram.tif")
            if wanted is None or path.parts[-3] in wanted
        ]
        super().__init__(
            files, needed=f"slice*/mode{mode}/sinogram.tif in {root}. {advice(source)}"
        )

    def _open(self, path: Path) -> int:
        from tifffile import TiffFile

        with format_errors(path), TiffFile(path) as file:
            shape = file.series[0].shape
        if shape != SHAPE:
            raise FormatError(path, "", f"has shape {shape}, expected {SHAPE}")
        for name in PARTS[1:]:
            if not path.with_name(name).exists():
                raise FormatError(path, "", f"lacks {name} beside it")
        return 1

    def __getitem__(self, index: int) -> CTExample:
        path, _ = self.slices[index]
        counts, blank, dark = map(torch.from_numpy, readings(path.parent, self.views))
        sinogram = line_integrals(counts, blank, dark, detector_ndim=1)
        if is_shifted(number_of(path.parent) or 0):
            sinogram = torch.cat([sinogram[:, 1:], sinogram[:, -1:]], dim=1)
        target = self._reference(path)
        return CTExample(
            sinogram=sinogram.flip(-1),
            image=None,
            target=target,
            max_value=0.0 if target is None else float(target.max()),
            fname=path.parts[-3],
            slice_number=0,
        )

    def evidence(self, path: Path) -> Evidence:
        """The reference reconstruction."""
        return Evidence(None, None, self._reference(path))

    def subjects(self, path: Path) -> set[str]:
        """The slice's name: neighbours show the same objects."""
        return {path.parts[-3]}

    def _reference(self, path: Path) -> Tensor | None:
        """Reference of mode 2, from attenuation a pixel to 1/mm."""
        file = self.references / path.parts[-3] / "mode2" / "reconstruction.tif"
        if not file.exists():
            return None
        return torch.from_numpy(_tiff(file) / np.float32(PIXEL))


def _tiff(path: Path) -> NDArray[np.float32]:
    from tifffile import imread

    with format_errors(path):
        return np.asarray(imread(path), dtype=np.float32)
