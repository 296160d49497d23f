"""Patches of images, to train denoisers on: the priors of `spinray.diffusion`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..recon.arrays import item_scale
from ..recon.ct import from_hounsfield
from ..recon.ct.hounsfield import WATER
from .examples import PatchExample
from .image_folders import KINDS, Folder, image_files, read_volume
from .simulated_mr import random_phase, tissue_phase
from .slices import Evidence, SliceDataset

_MARGIN = 4  # a patch may lie by one in so many parts outside its image


class ImagePatches(SliceDataset[PatchExample]):
    """A random patch of every slice, new each time: sized, turned and, for MR, given a phase.

    MR images get a smooth phase and are measured in units of their robust maximum; CT images in
    units of the attenuation of water.

    Parameters
    ----------
    folder
        Of NIfTI, NRRD, DICOM, npy, npz or HDF5 images, or a list of files: a file is a subject, and
        counts as often as it is listed.
    hounsfield
        Whether images are CT, in Hounsfield units; otherwise they are magnitudes of MR.
    patch
        Pixels a side.
    shrink
        Images are made smaller by a factor drawn between these two, at most 1.
    jitter
        MR: intensities are multiplied by a factor drawn between ``1 / (1 + jitter)`` and
        ``1 + jitter``.
    turned
        Whether images are turned and flipped at random.
    susceptibility
        MR: as of `SimulatedMR`.
    minimum
        Slices whose mean is below this part of their volume's brightest slice are left out.
    fixed
        The same patch of a slice each time: for validation.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        No readable image in it, options out of range.
    """

    name = "image patches"

    def __init__(
        self,
        folder: Folder,
        *,
        hounsfield: bool = False,
        patch: int = 96,
        shrink: tuple[float, float] = (1.0, 1.0),
        jitter: float = 0.0,
        turned: bool = False,
        susceptibility: float = 0.0,
        minimum: float = 0.2,
        fixed: bool = False,
    ) -> None:
        if not 0 < shrink[0] <= shrink[1] <= 1 or jitter < 0 or patch < 8:
            raise ValueError(
                f"shrink must rise within (0, 1], jitter be 0 or more, patch 8 or more: got "
                f"{shrink}, {jitter}, {patch}"
            )
        self.hounsfield, self.patch, self.shrink, self.jitter = hounsfield, patch, shrink, jitter
        self.turned, self.minimum, self.fixed = turned, minimum, fixed
        self.susceptibility = susceptibility
        self.modality = "CT" if hounsfield else "MR"
        self._images: dict[Path, Tensor] = {}
        super().__init__(image_files(folder), needed=f"images in {folder}: {KINDS}")

    def _open(self, path: Path) -> int:
        if path not in self._images:
            images = read_volume(path)
            images = (from_hounsfield(images) / WATER if self.hounsfield else images).clamp_min(0)
            means = images.mean((-2, -1))
            images = images[means >= self.minimum * means.max()]
            self._images[path] = images if self.hounsfield else images / item_scale(images, 2)
        return len(self._images[path])

    def __getitem__(self, index: int) -> PatchExample:
        path, number = self.slices[index]
        random = np.random.RandomState(self._seed(path.name, self.fixed, number + 1))
        image = _resampled(self._images[path][number], random.uniform(*self.shrink))
        if self.turned:
            image = torch.rot90(image, random.randint(4)).contiguous()
            image = image.flip(0) if random.randint(2) else image
        if not self.hounsfield:
            gain = math.exp(random.uniform(-1, 1) * math.log1p(self.jitter))
            shape = (int(image.shape[0]), int(image.shape[1]))
            phase = random_phase(shape, random)
            if self.susceptibility:
                phase += tissue_phase(image, self.susceptibility, random)
            image = torch.polar(gain * image, phase)
        values, position = self._cut(image, random)
        return PatchExample(values, position, path.name, number)

    def _cut(self, image: Tensor, random: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """A patch and its place; pixels outside the image are zero."""
        margin = self.patch // _MARGIN
        padded = functional.pad(image, (margin,) * 4)
        window, places = [], []
        for n in image.shape:
            least, most = sorted((-margin, n + margin - self.patch))
            first = random.randint(least, most + 1)
            window.append(first)
            places.append((torch.arange(first, first + self.patch) + 0.5) * (2 / n) - 1)
        for axis, first in enumerate(window):
            # where the patch is larger than the image and its margin, there is more to fill
            start, stop = first + margin, first + margin + self.patch
            size = padded.shape[axis]
            part = padded.narrow(axis, max(start, 0), min(stop, size) - max(start, 0))
            gaps = (max(-start, 0), max(stop - size, 0))
            padded = functional.pad(part, (*((0, 0) if axis == 0 else ()), *gaps))
        position = torch.stack(torch.meshgrid(*places, indexing="ij")).float()
        return padded.contiguous(), position

    def evidence(self, path: Path) -> Evidence:
        """The slice in the middle."""
        images = self._images[path]
        return Evidence(None, None, images[len(images) // 2])

    def images(self, path: Path) -> Tensor:
        """All slices."""
        return self._images[path]


def _resampled(image: Tensor, factor: float) -> Tensor:
    """A smaller image of the same field, without aliasing."""
    shape = [max(1, round(n * factor)) for n in image.shape]
    if tuple(shape) == tuple(image.shape):
        return image
    smaller: Tensor = functional.interpolate(
        image[None, None], shape, mode="bicubic", antialias=True, align_corners=False
    )[0, 0]
    return smaller.clamp_min(0)
