"""MR training data made of images, through coil maps, phase and noise.

Networks trained on them see images that went through somebody's reconstruction: `report` says what
it finds of that. Figures on such data do not stand for raw data (Shimron et al., PNAS 119,
e2117203119, 2022).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..kernels.ct.geometry import VolumeGrid
from ..recon.mri import resize
from ..recon.operators import Fourier, LinearOperator, NonUniformFourier
from .coils import CoilSeries, birdcage
from .examples import MRExample
from .image_folders import Folder, image_files, read_volume
from .line_masks import MaskSampler
from .mr_slices import sensitivity_maps
from .slices import Evidence, SliceDataset

_VARIETY = 0.15  # of the coils' harmonics, relative: no two slices see the same array
_PHASE = 2  # highest harmonic of the image phase over twice the field of view


class SimulatedMR(SliceDataset[MRExample]):
    """Multi-coil k-space of magnitude images: coil maps, smooth phase and noise, new each time.

    The maps are a birdcage whose harmonics vary, with a root sum of squares of one: the target is
    the image itself. A smaller matrix is a coarser scan of the whole image: outer k-space is left
    out. Nothing is interpolated.

    Parameters
    ----------
    folder
        Of NIfTI, NRRD, DICOM, npy, npz or HDF5 images, or a list of files; a file is a subject.
    mask
        Draws the sampling; None: the whole k-space.
    trajectory
        Non-Cartesian instead: ``(sample, 2)``, such as `trajectories.radial`.
    matrix
        ``(y, x)`` of k-space and target: images get air around them until they have its shape or
        more, and less resolution where they have more. Default: each image's own.
    shrink
        Objects are made smaller by a factor drawn between these two, at most 1, by leaving out
        outer k-space: few subjects go further so.
    turned
        Whether images are turned by right angles and flipped at random.
    coils
        Receive coils.
    snr
        Mean of the object over the standard deviation of the noise in either part of a sample; of
        a pair, each slice's is drawn between them (evenly in the logarithm).
    susceptibility
        Largest phase in radians (standard deviation over the object) that follows the tissue, of a
        field by dipoles; each slice's is drawn between 0 and it. Such phases are not smooth.
    maps
        "true" gives the simulated maps, "espirit" estimates them from the masked k-space; None.
    minimum
        Slices whose mean is below this part of their volume's brightest slice are left out.
    fixed
        The same coils, phase, noise and mask for a slice each time: for validation.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        No readable image in it, options out of range.
    """

    name, simulated = "simulated MR", "k-space"

    def __init__(
        self,
        folder: Folder,
        mask: MaskSampler | None = None,
        *,
        trajectory: Tensor | None = None,
        matrix: tuple[int, int] | None = None,
        shrink: tuple[float, float] = (1.0, 1.0),
        turned: bool = False,
        coils: int = 8,
        snr: float | tuple[float, float] = 30.0,
        susceptibility: float = 0.0,
        maps: str | None = None,
        minimum: float = 0.2,
        fixed: bool = False,
    ) -> None:
        if maps not in (None, "true", "espirit"):
            raise ValueError(f'maps must be "true", "espirit" or None, got {maps!r}')
        if trajectory is not None and (mask is not None or maps == "espirit"):
            raise ValueError("a trajectory goes without mask, and with true maps or none")
        low, high = snr if isinstance(snr, tuple) else (snr, snr)
        if not 0 < low <= high or coils < 1 or susceptibility < 0:
            raise ValueError(
                f"snr and coils must be positive, susceptibility not negative: got {snr}, {coils}, "
                f"{susceptibility}"
            )
        if not 0 < shrink[0] <= shrink[1] <= 1:
            raise ValueError(f"shrink must rise within (0, 1], got {shrink}")
        self.mask, self.matrix, self.coils = mask, matrix, coils
        self.shrink, self.turned = shrink, turned
        self.trajectory = trajectory
        self._transforms: dict[tuple[int, int], LinearOperator] = {}
        self._snr, self.susceptibility = (math.log(low), math.log(high)), susceptibility
        self.maps, self.minimum, self.fixed = maps, minimum, fixed
        self._volumes: dict[Path, Tensor] = {}
        super().__init__(image_files(folder), needed=f"images in {folder}")

    def _open(self, path: Path) -> int:
        volume = read_volume(path).clamp_min(0)
        means = volume.mean((-2, -1))
        volume = volume[means >= self.minimum * means.max()]
        self._volumes[path] = volume
        return len(volume)

    def __getitem__(self, index: int) -> MRExample:
        path, number = self.slices[index]
        seed = self._seed(path.name, self.fixed, number + 1)
        random = np.random.RandomState(seed)
        volume = self._volumes[path]
        image = self._seen(volume[number], random)
        shape = (int(image.shape[0]), int(image.shape[1]))
        true_maps = random_maps(self.coils, shape, random)
        phase = random_phase(shape, random)
        if self.susceptibility:
            phase += tissue_phase(image, self.susceptibility, random)
        complex_image = torch.polar(image, phase)
        kspace = self._transform(shape)(true_maps * complex_image)
        snr = math.exp(random.uniform(*self._snr))
        kspace += _noise(image, kspace.shape, snr, random)
        mask, calibration = None, 0
        if self.trajectory is None:
            mask = torch.ones((1, 1, shape[1]), dtype=torch.bool)
            if self.mask is not None:
                drawn, calibration = self.mask(shape, random)
                mask = drawn[None]
            kspace = torch.where(mask, kspace, 0)
        maps = None
        if self.maps is not None:
            maps = true_maps if self.maps == "true" else sensitivity_maps(kspace)
        return MRExample(
            kspace=kspace,
            mask=mask,
            trajectory=self.trajectory,
            calibration=calibration,
            maps=maps,
            target=image,
            max_value=float(volume.max()),
            crop_size=shape,
            acquisition="simulated",
            fname=path.name,
            slice_number=number,
        )

    def _transform(self, shape: tuple[int, int]) -> LinearOperator:
        """From images to samples; planned once a shape."""
        if shape not in self._transforms:
            self._transforms[shape] = (
                Fourier(shape)
                if self.trajectory is None
                else NonUniformFourier(self.trajectory, shape)
            )
        return self._transforms[shape]

    def _seen(self, image: Tensor, random: np.random.RandomState) -> Tensor:
        """A slice as it lies in the field of view."""
        if self.turned:
            image = torch.rot90(image, random.randint(4))
            image = image.flip(0) if random.randint(2) else image
        matrix = self.matrix or (int(image.shape[0]), int(image.shape[1]))
        varied = self.shrink[0] < 1  # without it, nothing is drawn
        return _scanned(image, matrix, random.uniform(*self.shrink) if varied else 1.0)

    def evidence(self, path: Path) -> Evidence:
        """The image from which k-space is made: that is what may be spoilt."""
        volume = self._volumes[path]
        return Evidence(None, None, volume[len(volume) // 2])

    def images(self, path: Path) -> Tensor:
        """All slices."""
        return self._volumes[path]


def _scanned(image: Tensor, matrix: tuple[int, int], shrink: float = 1.0) -> Tensor:
    """A magnitude ``(y, x)`` as a scan of this matrix shows it, the whole object in view."""
    coarser = max(1.0, *(n / m for n, m in zip(image.shape, matrix, strict=True))) / shrink
    field = tuple(math.ceil(coarser * m - 1e-9) for m in matrix)
    padded = resize(image, field)
    if field == matrix:
        return padded
    kspace = resize(Fourier(field)(padded.to(torch.complex64)), matrix)
    scale = math.sqrt(math.prod(matrix) / math.prod(field))  # a mean over larger pixels
    return (scale * Fourier(matrix).adjoint(kspace)).abs()


def random_maps(coils: int, shape: tuple[int, int], random: np.random.RandomState) -> Tensor:
    """Birdcage maps ``(coil, y, x)`` whose harmonics vary, root sum of squares one, complex64."""
    if coils == 1:
        return torch.ones((1, *shape), dtype=torch.complex64)
    extent = tuple(float(n) for n in shape)
    array = birdcage(coils, extent)
    size = np.abs(array.coefficients).max(axis=(-2, -1), keepdims=True)
    noise = random.normal(size=(2, *array.coefficients.shape))
    order = np.abs(np.arange(array.coefficients.shape[-1]) - array.orders[-1])
    decay = np.exp(-np.add.outer(order, order))  # the higher the harmonic, the less it varies
    varied = array.coefficients + _VARIETY * size * decay * (noise[0] + 1j * noise[1])
    maps = CoilSeries(varied, extent).maps(VolumeGrid(shape, (1.0, 1.0)))
    maps = maps / np.linalg.norm(maps, axis=0)
    return torch.from_numpy(maps).to(torch.complex64)


def random_phase(shape: tuple[int, int], random: np.random.RandomState) -> Tensor:
    """Smooth phase ``(y, x)`` in radians: a few harmonics over twice the field of view, float32."""
    orders = np.arange(-_PHASE, _PHASE + 1)
    decay = np.exp(-np.hypot(*np.meshgrid(orders, orders)))
    coefficients = decay * (random.normal(size=decay.shape) + 1j * random.normal(size=decay.shape))
    extent = tuple(float(n) for n in shape)
    series = CoilSeries(2 * coefficients[None].astype(np.complex128), extent)
    phase = series.maps(VolumeGrid(shape, (1.0, 1.0)))[0].real
    return torch.from_numpy(phase + random.uniform(-np.pi, np.pi)).float()


def tissue_phase(image: Tensor, largest: float, random: np.random.RandomState) -> Tensor:
    """Phase ``(y, x)`` in radians of the field of a slice whose susceptibility follows intensity.

    The slice lies at any angle to B0; `largest` is the most that its standard deviation over the
    object may be. R. Salomir et al., Concepts Magn Reson B 19, 26 (2003).
    """
    polar, turn = math.acos(random.uniform(-1, 1)), random.uniform(0, math.pi)
    y, x = (torch.fft.fftfreq(n) for n in image.shape)
    along = math.sin(polar) * (math.cos(turn) * y[:, None] + math.sin(turn) * x)
    square = y[:, None] ** 2 + x**2
    square[0, 0] = 1.0
    dipole = 1 / 3 - along**2 / square
    dipole[0, 0] = 0.0
    field = torch.fft.ifft2(torch.fft.fft2(image) * dipole).real
    deviation = field[image > 0.1 * image.max()].std(correction=0)
    strength = random.choice((-1.0, 1.0)) * random.uniform(0, largest)
    phase: Tensor = field * (strength / float(deviation.clamp_min(torch.finfo(field.dtype).tiny)))
    return phase


def _noise(image: Tensor, shape: torch.Size, snr: float, random: np.random.RandomState) -> Tensor:
    """Complex white noise for an SNR of the object: what exceeds a tenth of the maximum."""
    inside = image[image > 0.1 * image.max()]
    sigma = float(inside.mean()) / snr if inside.numel() else 0.0
    generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
    noise = torch.randn(shape, dtype=torch.complex64, generator=generator)
    return noise.mul_(math.sqrt(2) * sigma)  # sigma is that of a part
