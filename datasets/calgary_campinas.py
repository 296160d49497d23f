"""Calgary-Campinas (CC359) raw brains: 3D T1, 12 or 32 coils."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..recon.io import FormatError
from ..recon.io.hdf5 import dataset, open_hdf5
from .examples import MRExample
from .line_masks import MaskSampler
from .mr_slices import coil_combined, example_noise, sensitivity_maps
from .slices import Evidence, SliceDataset, depth_of
from .sources import SOURCES, advice, require_folder

MEASURED_SLICES = 0.85  # of kz: the rest is zero-filled partial Fourier
ENDS = 50  # slices along the readout at each end, without brain


class CalgaryCampinas(SliceDataset[MRExample]):
    """Sagittal slices ``(ky, kz)`` of Calgary-Campinas volumes, both phase encodings undersampled.

    The files hold k-space after a Fourier transform along the readout, real and imaginary parts
    in turn, with the origin of k-space in the centre and that of the image in the corner; here
    both are centred. Of kz only the first 85 % were measured: the rest is zero and outside the
    mask. The target is the root sum of squares of what was measured.

    Parameters
    ----------
    folder
        Such as ``Train``.
    mask
        Draws the sampling over ``(ky, kz)``, such as `PoissonMask`; None: all that was measured.
    crop_ends
        Slices left out at both ends of the readout, which hold no brain (50 in the challenge).
    volumes, maps, fixed_masks
        As for `FastMRI`.

    Raises
    ------
    FileNotFoundError
        No such folder: says where the data come from.
    ValueError
        No readable volume in it.

    References
    ----------
    R. Souza et al., NeuroImage 170, 482 (2018).
    """

    name = "Calgary-Campinas"

    def __init__(
        self,
        folder: str | PathLike[str],
        mask: MaskSampler | None = None,
        *,
        crop_ends: int = ENDS,
        volumes: Sequence[str] | None = None,
        maps: bool = False,
        fixed_masks: bool = False,
    ) -> None:
        source = SOURCES["calgary-campinas"]
        root = require_folder(folder, source)
        self.mask, self.maps, self.fixed_masks = mask, maps, fixed_masks
        self.crop_ends = crop_ends
        self._maximum: dict[Path, float] = {}
        files = [path for path in root.iterdir() if path.suffix in (".h5", ".hdf5")]
        if volumes is not None:
            files = [path for path in files if path.name in set(volumes)]
        super().__init__(files, needed=f"volumes (.h5) in {root}. {advice(source)}")

    def _open(self, path: Path) -> int:
        with open_hdf5(path) as file:
            kspace = dataset(file, "kspace")
            if kspace.ndim != 4 or kspace.shape[-1] % 2 or kspace.dtype.kind != "f":
                raise FormatError(
                    path,
                    "kspace",
                    f"is {kspace.dtype} {kspace.shape}, expected float (x, ky, kz, 2 coils)",
                )
            depth = depth_of(kspace) - 2 * self.crop_ends
            if depth < 1:
                raise FormatError(
                    path, "kspace", f"has {depth_of(kspace)} slices, crop_ends={self.crop_ends}"
                )
            return depth

    def __getitem__(self, index: int) -> MRExample:
        path, number = self.slices[index]
        kspace, measured = self._read(path, number)
        shape = (int(kspace.shape[-2]), int(kspace.shape[-1]))
        target = coil_combined(kspace)
        mask, calibration = measured, 0
        if self.mask is not None:
            drawn, calibration = self.mask(shape, self._seed(path.name, self.fixed_masks))
            mask = drawn & measured
        kspace = torch.where(mask, kspace, 0)
        return MRExample(
            kspace=kspace,
            mask=mask[None],
            trajectory=None,
            calibration=calibration,
            noise=example_noise(kspace),
            maps=sensitivity_maps(kspace) if self.maps else None,
            target=target,
            max_value=self._volume_maximum(path),
            crop_size=shape,
            acquisition="T1",
            fname=path.name,
            slice_number=number + self.crop_ends,
        )

    def evidence(self, path: Path) -> Evidence:
        """The slice in the middle of the readout."""
        middle = sum(1 for other, _ in self.slices if other == path) // 2
        kspace, measured = self._read(path, middle)
        return Evidence(kspace, measured, coil_combined(kspace))

    def _read(self, path: Path, number: int) -> tuple[Tensor, Tensor]:
        """k-space ``(coil, ky, kz)`` and where it was measured, ``(1, kz)``."""
        with open_hdf5(path) as file:
            return _slice(np.asarray(file["kspace"][number + self.crop_ends]))

    def _volume_maximum(self, path: Path) -> float:
        """Maximum of the volume's targets: found once, when first asked for."""
        if path not in self._maximum:
            with open_hdf5(path) as file:
                node = file["kspace"]
                inner = range(self.crop_ends, depth_of(node) - self.crop_ends)
                peaks = [float(coil_combined(_slice(np.asarray(node[n]))[0]).max()) for n in inner]
            self._maximum[path] = max(peaks)
        return self._maximum[path]


def _slice(stored: np.ndarray) -> tuple[Tensor, Tensor]:
    """From ``(ky, kz, 2 coils)`` to centred k-space ``(coil, ky, kz)`` and the mask of kz."""
    rows, columns = stored.shape[:2]
    kspace = torch.from_numpy(
        np.ascontiguousarray((stored[..., ::2] + 1j * stored[..., 1::2]).transpose(2, 0, 1))
    ).to(torch.complex64)
    measured = torch.arange(columns) < int(np.ceil(columns * MEASURED_SLICES))
    # A shift of the image from the corner to the centre is a phase of k-space.
    phase = torch.ones((), dtype=torch.float64)
    for n in (rows, columns):
        turns = (torch.arange(n) - n // 2) * (n // 2) / n
        phase = phase[..., None] * torch.exp(2j * torch.pi * turns.double())
    return kspace * measured * phase.to(torch.complex64), measured[None]
