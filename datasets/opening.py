"""`open_dataset`: a folder as the data set that it looks like."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import h5py

from .calgary_campinas import CalgaryCampinas
from .fastmri import TARGETS, FastMRI
from .image_folders import ScanFolder
from .lodopab import LoDoPaB
from .mayo import MayoImages
from .simulated_ct import SimulatedCT
from .simulated_mr import SimulatedMR
from .slices import SliceDataset
from .sources import SOURCES, require_folder
from .two_detect import TwoDeteCT

KINDS: dict[str, Callable[..., SliceDataset[Any]]] = {
    "fastmri": FastMRI,
    "calgary-campinas": CalgaryCampinas,
    "lodopab": LoDoPaB,
    "2detect": TwoDeteCT,
    "mayo": MayoImages,
    "scans": ScanFolder,
    "mr-images": SimulatedMR,
    "ct-images": SimulatedCT,
}


def open_dataset(
    folder: str | PathLike[str], kind: str = "auto", **options: Any
) -> SliceDataset[Any]:
    """Open a folder as one of `KINDS`, found by the names and first bytes of its files.

    Parameters
    ----------
    folder
        Of the data.
    kind
        A name in `KINDS`. "auto" tells the public data sets and raw scans apart; folders of images
        need "mr-images" or "ct-images".
    options
        Of the data set, such as ``mask``.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        An unknown kind, a folder in which nothing readable is found.
    """
    if kind not in ("auto", *KINDS):
        raise ValueError(f"kind must be auto or one of {', '.join(KINDS)}, got {kind!r}")
    root = require_folder(folder, SOURCES.get(kind))
    if kind == "auto":
        kind = kind_of(root)
    if kind == "fastmri":
        options.setdefault("challenge", _challenge(root))
    return KINDS[kind](root, **options)


def kind_of(folder: str | PathLike[str]) -> str:
    """Which of `KINDS` a folder looks like."""
    root = require_folder(folder)
    if any(root.glob("observation_*.hdf5")):
        return "lodopab"
    if any(root.glob("slice?????/mode?/sinogram.tif")):
        return "2detect"
    for path in sorted([*root.glob("*.h5"), *root.glob("*.hdf5")]):
        try:
            with h5py.File(path, "r") as file:
                if "kspace" in file:
                    # Calgary-Campinas has real and imaginary parts as channels
                    complete = "ismrmrd_header" in file or file["kspace"].dtype.kind == "c"
                    return "fastmri" if complete else "calgary-campinas"
        except OSError:
            continue  # broken: the next one tells
    if any(root.glob("*/**/*.dcm")):
        return "mayo"
    return "scans"


def _challenge(root: Path) -> str:
    """Which target the first readable volume has; test data have none, but their coils count."""
    for path in sorted([*root.glob("*.h5"), *root.glob("*.hdf5")]):
        try:
            with h5py.File(path, "r") as file:
                named = [name for name, target in TARGETS.items() if target in file]
                if named:
                    return named[0]
                if "kspace" in file:
                    return "multicoil" if file["kspace"].ndim == 4 else "singlecoil"
        except OSError:
            continue
    return "multicoil"
