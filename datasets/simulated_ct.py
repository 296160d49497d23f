"""CT training data made of images, through rays, photons and the logarithm.

Networks trained on them see images that went through somebody's reconstruction: `report` says what
it finds of that.
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
from ..recon.ct import from_hounsfield, line_integrals
from ..recon.mri import resize
from ..recon.operators import XRayTransform
from .examples import CTExample
from .image_folders import KINDS, Folder, image_files, read_volume
from .simulate import clinical_fan
from .slices import Evidence, SliceDataset, log_range

_MANY = 30.0  # photons that make a normal distribution, all but the skewness


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
    device
        Where scans are made: a card takes no worker processes. "auto": on the card, if there is
        one.

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
        device: str = "cpu",
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._range = log_range("photons", photons)
        if electronic_noise < 0 or upsampling < 1 or not spacing > 0:
            raise ValueError(
                f"spacing and upsampling must be positive, electronic_noise not negative: got "
                f"{spacing}, {upsampling}, {electronic_noise}"
            )
        if zoom is not None and not (len(zoom) == 2 and 0 < zoom[0] <= zoom[1]):
            raise ValueError(f"zoom must be two positive factors, the smaller first, got {zoom}")
        files = image_files(folder)
        self.electronic_noise, self.fixed = electronic_noise, fixed
        self._shape, self.zoom = shape, zoom
        self._images: dict[Path, Tensor] = {}
        super().__init__(files, needed=f"images in Hounsfield units in {folder}: {KINDS}")
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
            fine = self._upsampled(images[number : number + 1].to(self.device))[0]
            integrals = self._line_integrals(path)[number]
        else:
            fine = _turned(images[number].to(self.device), self._fine, self.zoom, random)
            integrals = self._project(fine)
        image = avg_pool2d(fine[None], self._upsampling)[0]
        counts = noisy_counts(
            integrals, photons, self.electronic_noise, int(random.randint(2**31 - 1))
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
            self._integrals[path] = self._project(
                self._upsampled(self._images[path].to(self.device))
            )
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


def noisy_counts(integrals: Tensor, photons: float, electronic_noise: float, seed: int) -> Tensor:
    """Readings as `recon.ct.simulate_counts` draws them, several times faster.

    Beyond 30 photons one normal number stands for photons and electronics, bent to the skewness
    of both (the first terms of Cornish and Fisher's expansion, Rev Inst Int Stat 5, 307 (1938)).
    Fewer photons are drawn from Poisson's distribution.
    """
    generator = torch.Generator(integrals.device).manual_seed(seed)
    mean = torch.exp(-integrals).mul_(photons)
    normal = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    variance = mean + electronic_noise**2
    counts = torch.addcmul(mean, variance.sqrt(), normal)
    counts += mean / (6 * variance) * (normal.square() - 1)
    few = mean < _MANY
    drawn = torch.poisson(mean[few], generator=generator)
    counts[few] = drawn + electronic_noise * normal[few]
    return counts


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
