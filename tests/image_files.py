"""Small files of images, which `load_image` reads, in every format."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import spinray as sr

PIXELS = np.random.default_rng(11).uniform(0.1, 2, (2, 6, 8)).astype(np.float32)


def write_dicom(folder: Path, multiframe: bool = False) -> Path:
    """Three slices of an image, in a folder of their own."""
    series = folder / "series"
    series.mkdir(exist_ok=True)
    image = sr.Image(PIXELS[:1] * np.ones((3, 1, 1), np.float32), (5.0, 2.0, 1.5))
    image.save(series / "slice.dcm", multiframe=multiframe)
    return series


def write_dicom_multiframe(folder: Path) -> Path:
    return write_dicom(folder, multiframe=True)


def write_image(folder: Path, name: str) -> Path:
    """A volume in the format of a suffix."""
    image = sr.Image(PIXELS[:1] * np.ones((3, 1, 1), np.float32), (5.0, 2.0, 1.5))
    return sr.save(image, folder / name)


def write_nrrd(folder: Path) -> Path:
    head = "NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\n"
    sizes = " ".join(map(str, PIXELS.shape[::-1]))
    head += f"sizes: {sizes}\nspace directions: (2,0,0) (0,2,0) (0,0,5)\n"
    head += "endian: little\nencoding: gzip\nspace origin: (1,2,3)\n\n"
    path = folder / "image.nrrd"
    path.write_bytes(head.encode() + gzip.compress(PIXELS.astype("<f4").tobytes()))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "dicom": write_dicom, "dicom multiframe": write_dicom_multiframe, "nrrd": write_nrrd,
    **{kind: partial(write_image, name=f"image.{kind}")
       for kind in ("nii", "nii.gz", "h5", "png")},
}  # fmt: skip
