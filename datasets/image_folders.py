"""Any folder of images or raw scans as training data."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..recon.arrays import as_tensor, require_finite
from ..recon.io import FormatError, load, load_image
from ..recon.io.errors import format_errors
from ..recon.scan import MRScan
from .examples import MRExample
from .line_masks import MaskSampler
from .mr_slices import calibration_lines, coil_combined, example_noise, sensitivity_maps
from .slices import Evidence, SliceDataset
from .sources import require_folder

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".npy", ".npz", ".h5", ".hdf5")
DICOM = (".dcm", ".ima")
KINDS = "NIfTI, NRRD, DICOM, npy, npz or HDF5"  # for people
# the list first: LightningCLI takes the first that fits, and any list fits a str
Folder = Sequence[str | PathLike[str]] | str | PathLike[str]


def image_files(folder: Folder) -> list[Path]:
    """Image files of a folder and those in it, or the files of a list.

    DICOM files of one folder are one volume, and stand as that folder.
    """
    if not isinstance(folder, str | PathLike):
        return [Path(path) for path in folder]
    files = [p for p in require_folder(folder).rglob("*") if p.is_file()]
    images = [p for p in files if p.name.lower().endswith(SUFFIXES)]
    series = {p.parent for p in files if p.suffix.lower() in DICOM}
    return sorted([*images, *series])


def read_volume(path: Path) -> Tensor:
    """Read images ``(slice, y, x)``, real, float32: NIfTI, NRRD, DICOM, npy, npz, Spinray's HDF5.

    A folder is a series of DICOM slices, in the order of their places along the slice normal. Of
    an .npz the one array with two or three axes is taken, or the first of ``images`` and
    ``hu`` that it has.

    Raises
    ------
    FormatError
        No image, complex values, NaN.
    """
    with format_errors(path):
        if path.is_dir():
            data = _series(path)
        else:
            data = _archived(path) if zipfile.is_zipfile(path) else load_image(path).data
        if data.ndim < 2 or 0 in data.shape:
            raise FormatError(path, "", f"has shape {tuple(data.shape)}, expected (slice, y, x)")
        if data.is_complex():
            data = data.abs()
        volume = data.reshape(-1, *data.shape[-2:]).float()
        require_finite("the image", volume)
        return volume


def _series(folder: Path) -> Tensor:
    slices = [load_image(p) for p in folder.iterdir() if p.suffix.lower() in DICOM]
    shapes = {tuple(image.data.shape) for image in slices}
    if len(shapes) != 1:
        raise FormatError(folder, "", f"holds slices of shapes {shapes}: one series a folder")
    normal = slices[0].affine[:3, 2]
    slices.sort(key=lambda image: float(image.affine[:3, 3] @ normal))
    return torch.stack([image.data.float() for image in slices])


def _archived(path: Path) -> Tensor:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    images = [name for name, a in arrays.items() if a.ndim in (2, 3) and a.dtype.kind in "iuf"]
    named = [name for name in ("images", "hu") if name in images]
    chosen = named[:1] or images
    if len(chosen) != 1:
        raise FormatError(
            path, "", f"holds {', '.join(arrays)}: expected one array (slice, y, x), or images, hu"
        )
    return as_tensor(arrays[chosen[0]])


class ScanFolder(SliceDataset[MRExample]):
    """Slices of fully sampled Cartesian MR scans in any format that `spinray.load` reads.

    The target is the root sum of squares of the whole k-space, cropped to the scan's image.

    Parameters
    ----------
    folder
        A folder of scans (ISMRMRD, BART cfl, npy, ...), or a list of files.
    mask
        Draws the sampling; None: the whole k-space.
    maps, fixed_masks
        As for `FastMRI`.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        No fully sampled Cartesian 2D scan in it.
    """

    name = "scan folder"

    def __init__(
        self,
        folder: Folder,
        mask: MaskSampler | None = None,
        *,
        maps: bool = False,
        fixed_masks: bool = False,
    ) -> None:
        if isinstance(folder, str | PathLike):
            root = require_folder(folder)
            files = [p for p in root.rglob("*") if p.is_file() and p.suffix != ".hdr"]
        else:
            files = [Path(path) for path in folder]
        self.mask, self.maps, self.fixed_masks = mask, maps, fixed_masks
        self._maximum: dict[Path, float] = {}
        self._last: tuple[Path, MRScan] | None = None
        super().__init__(files, needed=f"fully sampled Cartesian 2D scans in {folder}")

    def _open(self, path: Path) -> int:
        scan = self._scan(path)
        kspace = scan.kspace.flatten(0, -4) if scan.kspace.ndim > 3 else scan.kspace[None]
        peaks = [float(coil_combined(k, self._crop(scan)).max()) for k in kspace]
        self._maximum[path] = max(peaks)
        return len(kspace)

    def __getitem__(self, index: int) -> MRExample:
        path, number = self.slices[index]
        scan = self._scan(path)
        kspace = scan.kspace.reshape(-1, *scan.kspace.shape[-3:])[number].to(torch.complex64)
        shape = (int(kspace.shape[-2]), int(kspace.shape[-1]))
        crop = self._crop(scan)
        target = coil_combined(kspace, crop)
        mask = torch.ones((1, shape[1]), dtype=torch.bool)
        calibration = 0
        if self.mask is not None:
            mask, calibration = self.mask(
                shape, self._seed(path.name, self.fixed_masks, number if scan.batch_shape else 0)
            )
        kspace = torch.where(mask, kspace, 0)
        return MRExample(
            kspace=kspace,
            mask=mask[None],
            trajectory=None,
            calibration=calibration or calibration_lines(mask),
            noise=example_noise(kspace),
            maps=sensitivity_maps(kspace) if self.maps else None,
            target=target,
            max_value=self._maximum[path],
            crop_size=crop,
            acquisition=str(scan.header.get("protocol", "")),
            fname=path.name,
            slice_number=number,
        )

    def evidence(self, path: Path) -> Evidence:
        """The slice in the middle, as measured."""
        scan = self._scan(path)
        slices = scan.kspace.reshape(-1, *scan.kspace.shape[-3:])
        kspace = slices[len(slices) // 2].to(torch.complex64)
        return Evidence(kspace, None, coil_combined(kspace, self._crop(scan)))

    def _scan(self, path: Path) -> MRScan:
        """Read a scan; the last one is kept, since a volume's slices are read in turn."""
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        scan = load(path)
        if not isinstance(scan, MRScan) or not scan.is_cartesian or scan.ndim != 2:
            raise FormatError(path, "", f"is {scan}, expected a Cartesian 2D MR scan")
        if scan.acceleration > 1.1:
            raise FormatError(path, "", f"is {scan.acceleration:.1f}x undersampled: no target")
        self._last = (path, scan)
        return scan

    @staticmethod
    def _crop(scan: MRScan) -> tuple[int, int]:
        return int(scan.image_shape[0]), int(scan.image_shape[1])
