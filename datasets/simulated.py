"""Training data made of images: MR through coils, phase and noise; CT through rays and counts.

Networks trained on them see images that went through somebody's reconstruction: `report` says what
it finds of that. Figures on such data do not stand for raw data (Shimron et al., PNAS 119,
e2117203119, 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from ..kernels.ct.geometry import Geometry, VolumeGrid
from ..recon.ct import from_hounsfield, line_integrals, simulate_counts
from ..recon.mri import resize
from ..recon.operators import Fourier, LinearOperator, NonUniformFourier, XRayTransform
from .coils import CoilSeries, birdcage
from .examples import CTExample, MRExample
from .image_folders import Folder, image_files, read_volume
from .line_masks import MaskSampler
from .mr_slices import sensitivity_maps
from .simulate import clinical_fan
from .slices import Evidence, SliceDataset

_VARIETY = 0.15  # of the coils' harmonics, relative: no two slices see the same array
_PHASE = 2  # highest harmonic of the image phase over twice the field of view


class SimulatedMR(SliceDataset[MRExample]):
    """Multi-coil k-space of magnitude images: coil maps, smooth phase and noise, new each time.

    The maps are a birdcage whose harmonics vary, with a root sum of squares of one: the target is
    the image itself. Images are cropped or zero-padded to the matrix, never interpolated.

    Parameters
    ----------
    folder
        Of NIfTI, NRRD, DICOM, npy, npz or HDF5 images, or a list of files; a file is a subject.
    mask
        Draws the sampling; None: the whole k-space.
    trajectory
        Non-Cartesian instead: ``(sample, 2)``, such as `trajectories.radial`.
    matrix
        ``(y, x)`` of k-space and target. Default: each image's own.
    coils
        Receive coils.
    snr
        Mean of the object over the standard deviation of the noise in either part of a sample; of
        a pair, each slice's is drawn between them (evenly in the logarithm).
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
        coils: int = 8,
        snr: float | tuple[float, float] = 30.0,
        maps: str | None = None,
        minimum: float = 0.2,
        fixed: bool = False,
    ) -> None:
        if maps not in (None, "true", "espirit"):
            raise ValueError(f'maps must be "true", "espirit" or None, got {maps!r}')
        if trajectory is not None and (mask is not None or maps == "espirit"):
            raise ValueError("a trajectory goes without mask, and with true maps or none")
        low, high = snr if isinstance(snr, tuple) else (snr, snr)
        if not 0 < low <= high or coils < 1:
            raise ValueError(f"snr and coils must be positive, got {snr}, {coils}")
        self.mask, self.matrix, self.coils = mask, matrix, coils
        self.trajectory = trajectory
        self._transforms: dict[tuple[int, int], LinearOperator] = {}
        self._snr = (math.log(low), math.log(high))
        self.maps, self.minimum, self.fixed = maps, minimum, fixed
        self._volumes: dict[Path, Tensor] = {}
        super().__init__(image_files(folder), needed=f"images in {folder}")

    def _open(self, path: Path) -> int:
        volume = read_volume(path).clamp_min(0)
        means = volume.mean((-2, -1))
        volume = volume[means >= self.minimum * means.max()]
        self._volumes[path] = volume if self.matrix is None else resize(volume, self.matrix)
        return len(volume)

    def __getitem__(self, index: int) -> MRExample:
        path, number = self.slices[index]
        seed = self._seed(path.name, self.fixed, number + 1)
        random = np.random.RandomState(seed)
        volume = self._volumes[path]
        image = volume[number]
        shape = (int(image.shape[0]), int(image.shape[1]))
        true_maps = random_maps(self.coils, shape, random)
        complex_image = torch.polar(image, random_phase(shape, random))
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

    def evidence(self, path: Path) -> Evidence:
        """The image from which k-space is made: that is what may be spoilt."""
        volume = self._volumes[path]
        return Evidence(None, None, volume[len(volume) // 2])

    def images(self, path: Path) -> Tensor:
        """All slices."""
        return self._volumes[path]


class SimulatedCT(SliceDataset[CTExample]):
    """Fan-beam scans of CT images with photon and electronic noise, new each time.

    Images are interpolated to a finer grid and projected there, so that reconstructing them on
    their own does not undo the very same sum; the target is the mean of that grid over each pixel.

    Parameters
    ----------
    folder
        Of images in Hounsfield units (NIfTI, NRRD, DICOM, npy, npz, HDF5), or a list of files; a
        file is a subject.
    geometry
        2D CT geometry. Default: a clinical curved fan that just covers the image, 736 columns with
        a quarter-column offset.
    shape
        ``(y, x)`` to which slices are cropped or padded with air; all must have one shape.
        Default: the first file's.
    spacing
        Pixel size in mm, the same for all files.
    views
        Of the default geometry, over a full turn.
    photons
        Expected photons a ray without object; of a pair, each slice's is drawn between them
        (evenly in the logarithm).
    electronic_noise
        Standard deviation of the readout noise in photons.
    upsampling
        How many times finer the grid is that is projected.
    zoom
        Turn slices by any angle, mirror every other one and zoom them by a factor between these
        two, new each time; at 1 the longer side fills the grid. Few subjects go further so.
        Default: slices as they are.
    fixed
        The same noise (and turn) for a slice each time: for validation.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        No readable image in it, a 3D geometry, options out of range.
    """

    name, modality, simulated = "simulated CT", "CT", "projections"

    def __init__(
        self,
        folder: Folder,
        geometry: Geometry | None = None,
        *,
        shape: tuple[int, int] | None = None,
        spacing: float = 1.0,
        views: int = 984,
        photons: float | Sequence[float] = 1e4,
        electronic_noise: float = 5.0,
        upsampling: int = 2,
        zoom: tuple[float, float] | None = None,
        fixed: bool = False,
    ) -> None:
        doses = (photons, photons) if isinstance(photons, int | float) else tuple(photons)
        if len(doses) != 2:
            raise ValueError(f"photons must be a number or two, the smaller first, got {photons}")
        low, high = doses
        if not 0 < low <= high or electronic_noise < 0 or upsampling < 1 or not spacing > 0:
            raise ValueError(
                f"photons, spacing and upsampling must be positive, electronic_noise not negative: "
                f"got {photons}, {spacing}, {upsampling}, {electronic_noise}"
            )
        if zoom is not None and not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"zoom must be two positive factors, the smaller first, got {zoom}")
        files = image_files(folder)
        self._range = (math.log(low), math.log(high))
        self.electronic_noise, self.fixed = electronic_noise, fixed
        self._shape, self.zoom = shape, zoom
        self._images: dict[Path, Tensor] = {}
        super().__init__(files, needed=f"images in Hounsfield units in {folder}")
        assert self._shape is not None
        self.volume = VolumeGrid(self._shape, (spacing, spacing))
        radius = spacing * math.hypot(*self._shape) / 2
        self.geometry = geometry or clinical_fan(radius, views, columns=736)
        if self.geometry.ndim != 2:
            raise ValueError(f"the geometry must be 2D, got {self.geometry}")
        self._fine = (self._shape[0] * upsampling, self._shape[1] * upsampling)
        self._project = XRayTransform(
            self.geometry, VolumeGrid(self._fine, (spacing / upsampling,) * 2)
        ).forward
        self._upsampling = upsampling
        self._integrals: dict[Path, Tensor] = {}

    def _open(self, path: Path) -> int:
        attenuation = from_hounsfield(read_volume(path)).clamp_min(0)
        self._shape = self._shape or (int(attenuation.shape[1]), int(attenuation.shape[2]))
        self._images[path] = attenuation if self.zoom else resize(attenuation, self._shape)
        return len(attenuation)

    def __getitem__(self, index: int) -> CTExample:
        path, number = self.slices[index]
        random = np.random.RandomState(self._seed(path.name, self.fixed, number + 1))
        photons = math.exp(random.uniform(*self._range))
        images = self._images[path]
        if self.zoom is None:
            fine = self._upsampled(images[number : number + 1])[0]
            integrals = self._line_integrals(path)[number]
        else:
            fine = _turned(images[number], self._fine, self.zoom, random)
            integrals = self._project(fine)
        image = avg_pool2d(fine[None], self._upsampling)[0]
        counts = simulate_counts(
            integrals,
            photons,
            electronic_noise=self.electronic_noise,
            seed=int(random.randint(2**31 - 1)),
        )
        return CTExample(
            sinogram=line_integrals(counts, photons),
            image=None,
            target=image,
            max_value=float(images.max()),
            fname=path.name,
            slice_number=number,
        )

    def _line_integrals(self, path: Path) -> Tensor:
        """Noiseless line integrals of a volume, projected when first asked for, all at once."""
        if path not in self._integrals:
            self._integrals[path] = self._project(self._upsampled(self._images[path]))
        return self._integrals[path]

    def _upsampled(self, images: Tensor) -> Tensor:
        """Slices on the grid that is projected, by linear interpolation."""
        factor = self._upsampling
        if factor == 1:
            return images
        fine: Tensor = interpolate(
            images[None], scale_factor=(factor, factor), mode="bilinear", align_corners=False
        )[0]
        return fine.contiguous()

    def evidence(self, path: Path) -> Evidence:
        """The slice in the middle."""
        images = self._images[path]
        return Evidence(None, None, images[len(images) // 2])

    def images(self, path: Path) -> Tensor:
        """All slices."""
        return self._images[path]


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


def _turned(
    image: Tensor, shape: tuple[int, int], zoom: tuple[float, float], random: np.random.RandomState
) -> Tensor:
    """An image turned, mirrored and zoomed at random onto a grid, air around it."""
    angle, factor = random.uniform(0, 2 * math.pi), random.uniform(*zoom)
    mirror = random.choice((-1.0, 1.0))
    scale = max(image.shape) / (factor * min(shape))  # pixels of the image in one of the grid
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    x_y = scale * turn * (mirror, 1.0) * (shape[1], shape[0]) / np.array(image.shape[::-1])[:, None]
    theta = torch.from_numpy(np.concatenate((x_y, np.zeros((2, 1))), 1)).to(image)[None]
    grid = affine_grid(theta, [1, 1, *shape], align_corners=False)
    return grid_sample(image[None, None], grid, align_corners=False)[0, 0]


def _noise(image: Tensor, shape: torch.Size, snr: float, random: np.random.RandomState) -> Tensor:
    """Complex white noise for an SNR of the object: what exceeds a tenth of the maximum."""
    inside = image[image > 0.1 * image.max()]
    sigma = float(inside.mean()) / snr if inside.numel() else 0.0
    noise = random.normal(scale=sigma, size=(2, *shape)) if sigma else np.zeros((2, *shape))
    return torch.from_numpy(noise[0] + 1j * noise[1]).to(torch.complex64)
