"""fastMRI's knee and brain volumes, single and multi coil: https://fastmri.med.nyu.edu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch
from torch import Tensor

from ..recon.arrays import as_tensor
from ..recon.io import FormatError
from ..recon.io.hdf5 import attribute, dataset, find, has, open_hdf5, read_array, read_text
from ..recon.io.protocol import parse_header
from ..recon.io.readers.fastmri import measured_columns
from ..recon.metrics import center_crop
from .examples import MRExample
from .line_masks import MaskSampler
from .mr_slices import calibration_lines, example_noise, sensitivity_maps
from .slices import Evidence, SliceDataset, depth_of
from .sources import SOURCES, advice, require_folder

Challenge = Literal["multicoil", "singlecoil"]
TARGETS = {"multicoil": "reconstruction_rss", "singlecoil": "reconstruction_esc"}


@dataclass(frozen=True)
class _Volume:
    """What a volume's file says beside its arrays."""

    depth: int
    matrix: tuple[int, int]  # (ky, kx)
    crop: tuple[int, int]
    measured: Tensor  # (kx,): within the encoding limits, and in the file's own mask
    undersampled: bool  # the file has a mask: test data
    acquisition: str
    maximum: float
    patient: str


class FastMRI(SliceDataset[MRExample]):
    """Slices of fastMRI volumes (HDF5), masked, with the official targets.

    Where columns beyond the encoding limits are padded with zeros, the mask is false there, as
    fastMRI's own is. Volumes narrower than the crop (FLAIR 203 among the brains) are cropped to
    squares of their width, target and image.

    Parameters
    ----------
    folder
        Such as ``multicoil_train``.
    mask
        Draws the sampling; None: the whole k-space, or the file's own mask (test data), which
        always comes first.
    challenge
        "multicoil", target `reconstruction_rss`; "singlecoil", target `reconstruction_esc`.
    acquisitions
        Keep only volumes with these, such as ``["CORPD_FBK"]``. Default: all.
    volumes
        Keep only files of these names, such as one side of `split_subjects`. Default: all.
    adjacent
        Slices on each side that are given too, at a volume's ends repeated; k-space is then
        ``(2 adjacent + 1, coil, ky, kx)``.
    maps
        Whether ESPIRiT maps are estimated from the masked k-space of each slice.
    fixed_masks
        One mask a volume, seeded by its name as fastMRI's validation is; else a new one each time.

    Raises
    ------
    FileNotFoundError
        No such folder: says where the data come from.
    ValueError
        No readable volume in it.

    References
    ----------
    F. Knoll et al., Radiol Artif Intell 2, e190007 (2020).
    """

    name = "fastMRI"

    def __init__(
        self,
        folder: str | PathLike[str],
        mask: MaskSampler | None = None,
        *,
        challenge: Challenge = "multicoil",
        acquisitions: Sequence[str] | None = None,
        volumes: Sequence[str] | None = None,
        adjacent: int = 0,
        maps: bool = False,
        fixed_masks: bool = False,
    ) -> None:
        if challenge not in TARGETS:
            raise ValueError(f"challenge must be one of {', '.join(TARGETS)}, got {challenge!r}")
        if adjacent < 0:
            raise ValueError(f"adjacent must be 0 or more slices, got {adjacent}")
        root = require_folder(folder, SOURCES["fastmri"])
        self.mask, self.challenge = mask, challenge
        self.adjacent, self.maps, self.fixed_masks = adjacent, maps, fixed_masks
        self._acquisitions = None if acquisitions is None else set(acquisitions)
        self._facts: dict[Path, _Volume] = {}
        files = [path for path in root.iterdir() if path.suffix in (".h5", ".hdf5")]
        if volumes is not None:
            files = [path for path in files if path.name in set(volumes)]
        chosen = "" if acquisitions is None else f" with acquisition {', '.join(acquisitions)}"
        super().__init__(
            files, needed=f"volumes{chosen} (.h5) in {root}. {advice(SOURCES['fastmri'])}"
        )

    def _open(self, path: Path) -> int:
        facts = _read_facts(path, TARGETS[self.challenge])
        if self._acquisitions is not None and facts.acquisition not in self._acquisitions:
            return 0
        self._facts[path] = facts
        return facts.depth

    def subjects(self, path: Path) -> set[str]:
        """The file's patient_id, of which several volumes may have the same."""
        return {self._facts[path].patient}

    def __getitem__(self, index: int) -> MRExample:
        path, number = self.slices[index]
        facts = self._facts[path]
        reach = range(number - self.adjacent, number + self.adjacent + 1)
        numbers = [min(max(n, 0), facts.depth - 1) for n in reach]
        with open_hdf5(path) as file:
            kspace = torch.stack([_kspace(file, n) for n in numbers])
            name = TARGETS[self.challenge]
            target = as_tensor(file[name][number]).float() if name in file else None
        if not bool(torch.isfinite(kspace.sum())):
            raise FormatError(path, f"kspace, slice {number}", "holds NaN or infinity")
        kspace = kspace if self.adjacent else kspace[0]
        mask, calibration = self._sampling(path)
        kspace = torch.where(mask, kspace, 0)
        own = kspace[self.adjacent] if self.adjacent else kspace
        if target is not None:
            target = torch.from_numpy(center_crop(target, facts.crop)).float()
        return MRExample(
            kspace=kspace,
            mask=mask.reshape((1,) * (kspace.ndim - 2) + tuple(mask.shape)),
            trajectory=None,
            calibration=calibration,
            noise=example_noise(own),
            maps=sensitivity_maps(own) if self.maps else None,
            target=target,
            max_value=facts.maximum,
            crop_size=facts.crop,
            acquisition=facts.acquisition,
            fname=path.name,
            slice_number=number,
        )

    def evidence(self, path: Path) -> Evidence:
        """The middle slice; the columns that the header calls padding are no crime."""
        facts = self._facts[path]
        middle = facts.depth // 2
        with open_hdf5(path) as file:
            kspace = _kspace(file, middle)
            name = TARGETS[self.challenge]
            target = as_tensor(file[name][middle]).float() if name in file else None
        return Evidence(kspace, facts.measured[None], target)

    def images(self, path: Path) -> Tensor:
        """The targets."""
        name = TARGETS[self.challenge]
        with open_hdf5(path) as file:
            stored = np.asarray(file[name]) if name in file else np.zeros((0, 1, 1))
        return as_tensor(stored.astype(np.float32))

    def _sampling(self, path: Path) -> tuple[Tensor, int]:
        facts = self._facts[path]
        measured = facts.measured[None]
        if facts.undersampled or self.mask is None:
            return measured, calibration_lines(measured)
        drawn, calibration = self.mask(facts.matrix, self._seed(path.name, self.fixed_masks))
        return drawn & measured, calibration


def _read_facts(path: Path, target_name: str) -> _Volume:
    with open_hdf5(path) as file:
        kspace = dataset(file, "kspace")
        if kspace.ndim not in (3, 4) or 0 in kspace.shape:
            raise FormatError(
                path, "kspace", f"has shape {kspace.shape}, expected (slice, [coil,] ky, kx)"
            )
        if kspace.dtype.kind != "c":
            raise FormatError(path, "kspace", f"must be complex, is {kspace.dtype}")
        rows, columns = kspace.shape[-2:]
        header = parse_header(read_text(file, "ismrmrd_header"))
        layout = header.encoding[0]
        matrix = layout.reconSpace.matrixSize
        crop = (int(matrix.x), int(matrix.y))
        measured = measured_columns(layout, columns)
        lines = np.ones(columns, dtype=bool) if measured is None else measured
        undersampled = has(file, "mask")
        if undersampled:
            own = read_array(file, "mask").astype(bool).ravel()
            if own.shape != (columns,):
                raise FormatError(path, "mask", f"has {own.size} columns, kspace has {columns}")
            lines = lines & own
        maximum = attribute(file, "max", None)
        if find(file, target_name) is not None:
            target = dataset(file, target_name)
            if target.ndim != 3 or depth_of(target) != depth_of(kspace):
                raise FormatError(
                    path, target_name, f"has shape {target.shape}, kspace {kspace.shape}"
                )
            crop = tuple(target.shape[-2:])
            if maximum is None:
                maximum = float(np.max(read_array(file, target_name)))
        if columns < crop[1]:
            crop = (columns, columns)  # narrow FLAIR volumes
        return _Volume(
            depth_of(kspace),
            (rows, columns),
            (min(int(crop[0]), rows), int(crop[1])),
            torch.from_numpy(lines),
            undersampled,
            str(attribute(file, "acquisition", "")),
            float(maximum or 0.0),
            str(attribute(file, "patient_id", path.resolve())),
        )


def _kspace(file: h5py.File, number: int) -> Tensor:
    """One slice, ``(coil, ky, kx)``."""
    data = as_tensor(np.asarray(file["kspace"][number]).astype(np.complex64))
    return data if data.ndim == 3 else data[None]
