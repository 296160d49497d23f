"""Tiny files with the layouts of public data sets, made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>
 </experimentalConditions>
 <encoding><encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
  <fieldOfView_mm><x>{rows}</x><y>{columns}</y><z>5</z></fieldOfView_mm></encodedSpace>
 <reconSpace><matrixSize><x>{crop[0]}</x><y>{crop[1]}</y><z>1</z></matrixSize>
  <fieldOfView_mm><x>{crop[0]}</x><y>{crop[1]}</y><z>5</z></fieldOfView_mm></reconSpace>
 <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum>
  <center>{center}</center></kspace_encoding_step_1></encodingLimits>
 <trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def fft(image: np.ndarray) -> np.ndarray:
    """Centred, orthonormal, over the last two axes."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(image, axes=axes)
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=axes)


def ifft(kspace: np.ndarray) -> np.ndarray:
    """The inverse of `fft`."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(kspace, axes=axes)
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=axes)


def slices(
    shape: tuple[int, ...], seed: int = 0, noise: float = 0.01, phase: float = 1.0
) -> np.ndarray:
    """Complex coil images ``(slice, [coil,] y, x)`` of a textured disc, with noise."""
    rng = np.random.default_rng(seed)
    y, x = (np.linspace(-1, 1, n) for n in shape[-2:])
    y, x = np.meshgrid(y, x, indexing="ij")
    image = np.zeros(shape, dtype=complex)
    flat = image.reshape(shape[0], -1, *shape[-2:])
    for index, item in enumerate(flat):
        angle = rng.uniform(0, 2 * np.pi, size=3)
        texture = 1 + 0.4 * np.cos(9 * x + angle[0]) * np.cos(7 * y + angle[1])
        disc = (np.hypot(1.2 * x, y) < 0.8) * texture * (1 + 0.1 * index)
        for coil, one in enumerate(item):
            turn = 2 * np.pi * coil / len(item)
            reach = 1.2 + np.cos(turn) * x + np.sin(turn) * y
            one[:] = disc * reach * np.exp(1j * phase * (angle[2] + x + 0.5 * y**2 + turn))
    image += noise * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    return image


def write_fastmri(
    path: Path,
    *,
    depth: int = 3,
    coils: int | None = 4,
    matrix: tuple[int, int] = (32, 24),
    crop: tuple[int, int] = (16, 16),
    padding: tuple[int, int] = (0, 0),
    seed: int = 0,
    mask: np.ndarray | None = None,
    targets: bool = True,
    acquisition: str = "AXT2",
    **attributes: Any,
) -> np.ndarray:
    """A volume as fastMRI's; returns its k-space. `padding` columns left and right are zero."""
    kspace = fft(slices((depth, *((coils,) if coils else ()), *matrix), seed)) * 1e-5
    columns = np.arange(matrix[1])
    measured = (columns >= padding[0]) & (columns < matrix[1] - padding[1])
    kspace = (kspace * measured).astype(np.complex64)
    image = np.abs(ifft(kspace))
    image = np.sqrt((image**2).sum(1)) if coils else image
    sides = [(n - m) // 2 for n, m in zip(matrix, crop, strict=True)]
    target = image[
        :, max(sides[0], 0) : max(sides[0], 0) + crop[0],
        max(sides[1], 0) : max(sides[1], 0) + crop[1],
    ].astype(np.float32)  # fmt: skip
    header = HEADER.format(
        rows=matrix[0], columns=matrix[1], crop=crop, center=matrix[1] // 2 - padding[0],
        maximum=matrix[1] - sum(padding) - 1,
    )  # fmt: skip
    with h5py.File(path, "w") as file:
        file["ismrmrd_header"] = header
        if mask is not None:
            kspace = kspace * mask
            file["mask"] = mask
        file["kspace"] = kspace
        if targets:
            file["reconstruction_rss" if coils else "reconstruction_esc"] = target
            file.attrs["max"] = float(target.max())
        file.attrs["acquisition"] = acquisition
        for name, value in attributes.items():
            file.attrs[name] = value
    return kspace
