"""MR training data made of images, through coil maps, phase and noise.

Networks trained on them see images that went through somebody's reconstruction: `report` says what
it finds of that. Figures on such data do not stand for raw data (Shimron et al., PNAS 119,
e2117203119, 2022).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..recon.mri import resize
from ..recon.operators import Fourier, LinearOperator, NonUniformFourier
from .coils import CoilSeries, birdcage, harmonics
from .examples import MRExample
from .image_folders import KINDS, Folder, image_files, read_volume
from .line_masks import MaskSampler
from .mr_slices import example_noise, interpolated_maps, unit_length
from .slices import Evidence, SliceDataset, log_range

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
        "true" gives the simulated maps, "espirit" estimates them from the masked k-space (every
        other pixel, the rest is interpolated); None.
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
        snr: float | Sequence[float] = 30.0,
        susceptibility: float = 0.0,
        maps: str | None = None,
        minimum: float = 0.2,
        fixed: bool = False,
    ) -> None:
        if maps not in (None, "true", "espirit"):
            raise ValueError(f'maps must be "true", "espirit" or None, got {maps!r}')
        if trajectory is not None and (mask is not None or maps == "espirit"):
            raise ValueError("a trajectory goes without mask, and with true maps or none")
        self._snr = log_range("snr", snr)
        if coils < 1 or susceptibility < 0:
            raise ValueError(
                f"coils must be positive, susceptibility not negative: got {coils}, "
                f"{susceptibility}"
            )
        if not 0 < shrink[0] <= shrink[1] <= 1:
            raise ValueError(f"shrink must rise within (0, 1], got {shrink}")
        if matrix is not None and (len(matrix) != 2 or min(matrix) < 1):
            raise ValueError(f"matrix must be (y, x) of 1 or more, got {matrix}")
        self.mask, self.matrix, self.coils = mask, matrix, coils
        self.shrink, self.turned = shrink, turned
        self.trajectory = trajectory
        self._transforms: dict[tuple[int, int], LinearOperator] = {}
        self.susceptibility = susceptibility
        self.maps, self.minimum, self.fixed = maps, minimum, fixed
        self._volumes: dict[Path, Tensor] = {}
        self._largest: dict[Path, float] = {}
        super().__init__(image_files(folder), needed=f"images in {folder}: {KINDS}")

    def _open(self, path: Path) -> int:
        volume = read_volume(path).clamp_min(0)
        means = volume.mean((-2, -1))
        volume = volume[means >= self.minimum * means.max()]
        self._volumes[path], self._largest[path] = volume, float(volume.max())
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
        deviation = _mean(image) / math.exp(random.uniform(*self._snr))
        noise = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
        mask, calibration = None, 0
        if self.trajectory is None:
            mask = torch.ones((1, 1, shape[1]), dtype=torch.bool)
            if self.mask is not None:
                drawn, calibration = self.mask(shape, random)
                mask = drawn[None]
        kspace = _measured(kspace, mask, deviation, noise)
        maps = None
        if self.maps is not None:
            maps = true_maps if self.maps == "true" else interpolated_maps(kspace)
        return MRExample(
            kspace=kspace,
            mask=mask,
            trajectory=self.trajectory,
            calibration=calibration,
            noise=example_noise(kspace, self.trajectory),
            maps=maps,
            target=image,
            max_value=self._largest[path],
            crop_size=shape,
            acquisition="simulated",
            fname=path.name,
            slice_number=number,
        )

    def _transform(self, shape: tuple[int, int]) -> LinearOperator:
        """From images to samples; planned once a shape."""
        if shape not in self._transforms:
            self._transforms[shape] = (
                _fourier(shape)
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
    (ny, nx), (my, mx) = image.shape, matrix
    along_y = _low_frequencies(torch.fft.fftfreq(my, 1 / my), ny, field[0], my)
    along_x = _low_frequencies(torch.fft.rfftfreq(mx, 1 / mx), nx, field[1], mx).mT
    kspace = along_y @ torch.complex(image @ along_x.real, image @ along_x.imag)
    scale = math.sqrt(math.prod(matrix) / math.prod(field))  # a mean over larger pixels
    scanned: Tensor = torch.fft.irfft2(scale * kspace, s=matrix, norm="ortho").abs()
    return scanned


def _low_frequencies(frequency: Tensor, points: int, field: int, count: int) -> Tensor:
    """Rows ``(frequency, points)`` of the orthonormal transform of a field of view.

    Of its `field` pixels all but the `points` in the middle are air; the rows give the origin the
    place that it has among `count` pixels. Few frequencies of few points cost less as a product
    than a whole transform, whose length may be a prime.
    """
    position = (torch.arange(points) - points // 2).double() / field + (count // 2) / count
    turns = torch.outer(frequency.double(), position)
    angle = (-2 * torch.pi * (turns - turns.round())).float()
    return torch.polar(torch.full_like(angle, 1 / math.sqrt(field)), angle)


@functools.lru_cache(maxsize=16)
def _fourier(shape: tuple[int, int]) -> Fourier:
    return Fourier(shape)


@functools.lru_cache(maxsize=16)
def _array(coils: int, extent: tuple[float, float]) -> CoilSeries:
    return birdcage(coils, extent)


def random_maps(coils: int, shape: tuple[int, int], random: np.random.RandomState) -> Tensor:
    """Birdcage maps ``(coil, y, x)`` whose harmonics vary, root sum of squares one, complex64."""
    if coils == 1:
        return torch.ones((1, *shape), dtype=torch.complex64)
    array = _array(coils, (float(shape[0]), float(shape[1])))
    size = np.abs(array.coefficients).max(axis=(-2, -1), keepdims=True)
    noise = random.normal(size=(2, *array.coefficients.shape))
    order = np.abs(np.arange(array.coefficients.shape[-1]) - array.orders[-1])
    decay = np.exp(-np.add.outer(order, order))  # the higher the harmonic, the less it varies
    varied = array.coefficients + _VARIETY * size * decay * (noise[0] + 1j * noise[1])
    return unit_length(_series(varied, shape))


def random_phase(shape: tuple[int, int], random: np.random.RandomState) -> Tensor:
    """Smooth phase ``(y, x)`` in radians: a few harmonics over twice the field of view, float32."""
    orders = np.arange(-_PHASE, _PHASE + 1)
    decay = np.exp(-np.hypot(*np.meshgrid(orders, orders)))
    coefficients = decay * (random.normal(size=decay.shape) + 1j * random.normal(size=decay.shape))
    return _series(2 * coefficients, shape).real + random.uniform(-np.pi, np.pi)


def _series(coefficients: NDArray[np.complex128], shape: tuple[int, int]) -> Tensor:
    """Values ``(*batch, y, x)`` of a `CoilSeries`, in single precision."""
    along_y, along_x = (
        torch.from_numpy(harmonics(count // 2, (np.arange(n) - (n - 1) / 2) / n))
        for count, n in zip(coefficients.shape[-2:], shape, strict=True)
    )
    rows = torch.from_numpy(coefficients) @ along_x.mT  # few: in double precision
    return along_y.to(torch.complex64) @ rows.to(torch.complex64)


def tissue_phase(image: Tensor, largest: float, random: np.random.RandomState) -> Tensor:
    """Phase ``(y, x)`` in radians of the field of a slice whose susceptibility follows intensity.

    The slice lies at any angle to B0; `largest` is the most that its standard deviation over the
    object may be. R. Salomir et al., Concepts Magn Reson B 19, 26 (2003).
    """
    polar, turn = math.acos(random.uniform(-1, 1)), random.uniform(0, math.pi)
    y, x = torch.fft.fftfreq(image.shape[0]), torch.fft.rfftfreq(image.shape[1])
    along = math.sin(polar) * (math.cos(turn) * y[:, None] + math.sin(turn) * x)
    square = y[:, None] ** 2 + x**2
    square[0, 0] = 1.0
    dipole = 1 / 3 - along**2 / square
    dipole[0, 0] = 0.0
    field = torch.fft.irfft2(torch.fft.rfft2(image) * dipole, s=image.shape)
    deviation = field[image > 0.1 * image.max()].std(correction=0)
    strength = random.choice((-1.0, 1.0)) * random.uniform(0, largest)
    phase: Tensor = field * (strength / float(deviation.clamp_min(torch.finfo(field.dtype).tiny)))
    return phase


def _mean(image: Tensor) -> float:
    """Mean of the object: what exceeds a tenth of the maximum."""
    inside = image[image > 0.1 * image.max()]
    return float(inside.mean()) if inside.numel() else 0.0


def _measured(
    kspace: Tensor, mask: Tensor | None, deviation: float, generator: torch.Generator
) -> Tensor:
    """Samples with complex white noise of this standard deviation a part; zeros off the mask."""

    def noisy(samples: Tensor) -> Tensor:
        noise = torch.randn(samples.shape, dtype=torch.complex64, generator=generator)
        return samples.add_(noise, alpha=math.sqrt(2) * deviation)

    if mask is None:
        return noisy(kspace)
    flat, places = kspace.flatten(1), mask.expand(1, *kspace.shape[1:]).flatten().nonzero()[:, 0]
    samples = noisy(flat.index_select(1, places))
    return torch.zeros_like(flat).index_copy_(1, places, samples).view_as(kspace)
