"""2DeteCT: real fan-beam scans of mixed objects, three beams each, a folder a slice and beam.

M. Kiss et al., Sci Data 10, 576 (2023). Detector pixels are binned by two, as in the authors'
scripts. The geometry is that of their scripts for ASTRA, seen from below: the columns run the
other way and images keep their row 0 on top.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ....kernels.ct.geometry import FanBeam, VolumeGrid
from ...scan import CTScan
from ..errors import FormatError
from ..frames import TiffFrames
from ..raw_file import Part, RawFile

NAME = "2DeteCT"
PARTS = ("sinogram.tif", "dark.tif", "flat1.tif", "flat2.tif")
SHAPE = (3601, 1912)  # the last view repeats the first
_COLUMNS, _COLUMN, _SOURCE, _DETECTOR = 956, 2 * 0.0748, 431.019989, 529.000488  # mm
PIXEL = _COLUMNS * _COLUMN * _SOURCE / _DETECTOR / 1024  # mm, of the references
# The references are the middle of 2048 x 2048 pixels, one pixel off the centre.
VOLUME = VolumeGrid((1024, 1024), (PIXEL, PIXEL), (-PIXEL, -PIXEL))
_MODES = {1: "low dose: 90 kV, 3 W", 2: "90 kV, 90 W", 3: "beam hardened: 60 kV, 60 W, no filter"}
# Slices whose detector stood one binned column aside.
_SHIFTED = ((1, 2830), (5521, 5870))


def matches(path: Path) -> bool:
    """Whether a folder holds the sinogram of a beam with its dark and flat fields."""
    return path.is_dir() and all((path / name).is_file() for name in PARTS)


def open_file(path: Path, slice_number: int | None = None) -> RawFile:
    """Look at a folder such as ``slice00042/mode2``.

    Parameters
    ----------
    path
        The folder.
    slice_number
        Of the data set, by which the detector's place is known. Default: from the folder's name.
    """
    frames = TiffFrames([path / PARTS[0]])
    if frames.shape != (1, *SHAPE):
        raise FormatError(path / PARTS[0], "", f"has shape {frames.shape[1:]}, expected {SHAPE}")
    number = number_of(path) if slice_number is None else slice_number
    mode = re.fullmatch(r"mode([123])", path.name)
    facts = {
        "format": NAME, "views": SHAPE[0] - 1, "columns": _COLUMNS,
        "slice": "not in the folder's name" if number is None else str(number),
        "beam": _MODES[int(mode[1])] if mode else "not in the folder's name",
    }  # fmt: skip
    missing: tuple[str, ...] = ()
    if number is None:
        missing = ("number of the slice, by which the detector's place is known: slice_number=",)

    def take(part: Part) -> CTScan:
        if number is None:
            raise FormatError(path, "", f"lacks the {missing[0]}")
        counts, blank, dark = readings(path)
        if is_shifted(number):
            counts, blank, dark = (_moved(values) for values in (counts, blank, dark))
        flipped = (torch.from_numpy(v[..., ::-1].copy()) for v in (counts, blank, dark))
        counts_, blank_, dark_ = flipped
        return CTScan(
            counts=counts_, blank=blank_, dark=dark_, geometry=fan_beam(), volume=VOLUME,
            header={"format": NAME},
        )  # fmt: skip

    return RawFile(NAME, {}, 4 * (SHAPE[0] - 1) * _COLUMNS, facts, take, missing)


def fan_beam(views: int = 1) -> FanBeam:
    """The geometry; every how many-th view is kept."""
    angles = np.pi - np.arange(SHAPE[0] - 1)[::views] * np.pi / 1800
    return FanBeam(angles, _COLUMNS, _COLUMN, _SOURCE, _DETECTOR, detector="flat")


def number_of(path: Path) -> int | None:
    """Number of the slice by the name of a folder above, such as slice00042."""
    found = re.search(r"slice(\d{1,7})$", path.parent.name)
    return None if found is None else int(found[1])


def is_shifted(number: int) -> bool:
    """Whether the detector stood one binned column aside in this slice."""
    return any(first <= number <= last for first, last in _SHIFTED)


def readings(
    path: Path, views: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Counts ``(view, column)``, white and dark field ``(column,)``, binned, as stored."""
    counts = binned(path / PARTS[0])[:-1][::views]
    dark, *flats = (binned(path / name).reshape(-1, _COLUMNS)[0] for name in PARTS[1:])
    return counts, np.mean(flats, axis=0, dtype=np.float32), dark


def binned(path: Path) -> NDArray[np.float32]:
    """Neighbours along the rows of the one frame of a file, summed in pairs."""
    columns = TiffFrames([path]).read()[0].astype(np.float32)
    if columns.shape[-1] != SHAPE[1]:
        raise FormatError(path, "", f"has {columns.shape[-1]} columns, expected {SHAPE[1]}")
    return np.asarray(columns[..., ::2] + columns[..., 1::2])


def _moved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns moved back by one; the last stands twice."""
    return np.concatenate([values[..., 1:], values[..., -1:]], axis=-1)
