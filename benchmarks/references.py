"""The reference scans of the quality table: phantoms in closed form, other ones for every subject.

Anyone can make them: no data are needed. A subject is a named phantom of another size, place and
turn, with its parts moved and changed in value and small lesions added, from the subject's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sigpy.mri
import torch
from torch import Tensor

import spinray as sr
from spinray.datasets import reference_image, simulate_ct, simulate_mr
from spinray.datasets.phantoms import (
    WATER,
    Ellipse,
    EllipsePhantom,
    EllipsoidPhantom,
    mr_grid,
    phantom,
)
from spinray.datasets.trajectories import radial

LESIONS = 5
FRAMES, SPOKES = 8, 13  # of the dynamic scan
FIELD = 240.0  # mm
MOVED, TURNED, CHANGED = 2.0, 0.05, 0.05  # parts; mm, radians, share of value: deviations
SCALES, TURN, SHIFT = (0.88, 1.0), 0.2, 5.0  # the whole head, within the field of view
# how many shapes, from the first, are the head itself; contrast of lesions
PARTS = {
    "shepp-logan": (2, 0.15), "head": (3, 0.04 * WATER), "head-3d": (3, 0.04 * WATER),
}  # fmt: skip

Scan = sr.MRScan | sr.CTScan
SERIES = ("grasp", "llr", "low-rank-sparse", "subspace")


@dataclass(frozen=True)
class Reference:
    """A kind of scan; `make(subject, pixels)` gives a scan and its truth ``(slice, y, x)``.

    A `heavy` one has one subject in quick runs. Figures are taken in a `share` of the slices, about
    the middle: rays of cones and helices cross slices beyond, which methods must be free to fill.
    """

    name: str
    modality: str
    make: Callable[[int, int], tuple[Scan, Tensor]]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of methods
    heavy: bool = False
    share: float = 1.0

    def middle(self, image: Any) -> Any:
        """The slices ``(slice, y, x)`` that count."""
        first = (len(image) - round(self.share * len(image))) // 2
        return image[first : len(image) - first]


def subject(name: str, seed: int) -> EllipsePhantom | EllipsoidPhantom:
    """A named phantom, changed as people differ: its size, place and turn, its parts, lesions."""
    rng = np.random.default_rng(seed)
    found = phantom(name)
    fixed, contrast = PARTS[name]
    inside = found.shapes[fixed - 1]
    shapes = [
        shape
        if i < fixed
        else replace(
            shape,
            value=shape.value * (1 + CHANGED * rng.standard_normal()),
            center=tuple(np.array(shape.center) + MOVED * rng.standard_normal(found.ndim)),
            angle=shape.angle + TURNED * rng.standard_normal(),
        )
        for i, shape in enumerate(found.shapes)
    ]
    for _ in range(LESIONS):
        size = np.array(inside.semi_axes)
        shapes.append(replace(
            inside, value=contrast * rng.uniform(0.3, 1), angle=0.0,
            center=tuple(np.array(inside.center) + 0.5 * size * rng.uniform(-1, 1, found.ndim)),
            semi_axes=tuple(size * rng.uniform(0.03, 0.08, found.ndim)),
        ))  # fmt: skip
    scale, turn = rng.uniform(*SCALES), rng.uniform(-TURN, TURN)
    shift = rng.uniform(-SHIFT, SHIFT, 2)
    return type(found)(
        f"{name} {seed}", tuple(_placed(shape, scale, turn, shift) for shape in shapes)
    )


def _placed(shape: Any, scale: float, turn: float, shift: Any) -> Any:
    """A shape of a head that is larger, turned about z and moved in the plane."""
    *z, y, x = scale * np.array(shape.center)
    c, s = np.cos(turn), np.sin(turn)
    place = (*z, s * x + c * y + shift[0], c * x - s * y + shift[1])
    axes = tuple(scale * np.array(shape.semi_axes))
    return replace(shape, center=place, semi_axes=axes, angle=shape.angle + turn)


def _mr(**options: Any) -> Callable[[int, int], tuple[Scan, Tensor]]:
    def make(seed: int, n: int) -> tuple[Scan, Tensor]:
        scan = simulate_mr(
            subject("shepp-logan", seed), matrix=n, field_of_view=FIELD, coils=8, seed=seed,
            **({"snr": 30.0} | options),
        )  # fmt: skip
        return scan, reference_image(scan).data[None]

    return make


def _ct(
    geometry: Callable[[int], Any], photons: float, height: float = 0.0
) -> Callable[[int, int], Any]:
    """Scans of a head; of 3D geometries on a volume as high, in mm, as their rays reach."""

    def make(seed: int, n: int) -> tuple[Scan, Tensor]:
        beams = geometry(n)
        made = subject("head-3d" if beams.ndim == 3 else "head", seed)
        side, thickness = 220.0, 256.0 / n
        grid = (
            sr.VolumeGrid((round(height / thickness), n, n), (thickness, side / n, side / n))
            if beams.ndim == 3
            else sr.VolumeGrid((n, n), (side / n, side / n))
        )
        scan = simulate_ct(made, geometry=beams, photons=photons, volume=grid, seed=seed)
        truth = reference_image(scan).data
        return scan, truth if truth.ndim == 3 else truth[None]

    return make


def fan(views: int) -> Callable[[int], sr.FanBeam]:
    """A fan over a full turn, as wide as the head."""
    return lambda n: sr.FanBeam(
        np.arange(views) * 2 * np.pi / views, 2 * n, 420.0 / (2 * n), 595.0, 1085.6, "curved"
    )


def _limited(n: int) -> sr.ParallelBeam:
    return sr.ParallelBeam(np.arange(2 * n) * np.deg2rad(120) / (2 * n), 2 * n, 230.0 / (2 * n))


def _cone(n: int) -> sr.ConeBeam:
    angles = np.arange(2 * n) * np.pi / n
    return sr.ConeBeam(angles, 16, 2 * n, 2.0, 420.0 / (2 * n), 595.0, 1085.6)


def _helix(n: int) -> sr.HelicalBeam:
    angles = (np.arange(4 * n) - 2 * n) * np.pi / n
    pitch = 16 * 2.0 * 595.0 / 1085.6
    return sr.HelicalBeam(
        angles, 16, 2 * n, 2.0, 420.0 / (2 * n), 595.0, 1085.6, "curved", pitch=pitch
    )


def _dynamic(seed: int, n: int) -> tuple[Scan, Tensor]:
    """A lesion takes up contrast during one long run of golden-angle spokes."""
    grid, still = mr_grid((n, n), (FIELD, FIELD)), subject("shepp-logan", seed)
    lesion = EllipsePhantom("lesion", (Ellipse(0.6, (20.0, -15.0), (12.0, 9.0)),))
    first, change = (torch.from_numpy(p.image(grid)).float() for p in (still, lesion))
    uptake = 1 - torch.exp(-torch.linspace(0, 4, FRAMES))
    truth = first + uptake[:, None, None] * change
    trajectory = radial(FRAMES * SPOKES, 2 * n).reshape(FRAMES, -1, 2)
    maps = torch.from_numpy(sigpy.mri.birdcage_maps((8, n, n))).to(torch.complex64)
    kspace = sr.Sense(maps, trajectory=trajectory)(truth.to(torch.complex64))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    kspace = kspace + noise * float(first[first > 0.1].mean()) / 30
    scan = sr.MRScan(
        kspace.movedim(0, 1).flatten(1), trajectory=trajectory.flatten(0, 1), image_shape=(n, n),
        readout_length=2 * n,
    )  # fmt: skip
    return scan, truth


REFERENCES = (
    Reference("MR, Cartesian 4x", "mri", _mr(acceleration=4, mask="poisson")),
    Reference("MR, Cartesian 8x", "mri", _mr(acceleration=8, mask="poisson", calibration=16)),
    Reference("MR, Cartesian 4x, unseen mask: lines", "mri", _mr(acceleration=4, mask="random")),
    Reference("MR, Cartesian 4x, unseen noise: SNR 8", "mri",
              _mr(acceleration=4, mask="poisson", snr=8.0)),
    Reference("MR, radial 4x", "mri", _mr(acceleration=4, trajectory="radial")),
    Reference("MR, spiral 2x", "mri", _mr(acceleration=2, trajectory="spiral")),
    Reference("MR, dynamic, 13 spokes a frame", "mri", _dynamic,
              {name: {"spokes": SPOKES} for name in SERIES}),
    Reference("CT, low dose", "ct", _ct(fan(360), 3e3)),
    Reference("CT, unseen noise: 600 photons", "ct", _ct(fan(360), 6e2)),
    Reference("CT, sparse view", "ct", _ct(fan(60), 1e5)),
    Reference("CT, limited angle of 120 degrees", "ct", _ct(_limited, 1e5)),
    Reference("CT, circular cone", "ct", _ct(_cone, 1e4, 24.0), heavy=True, share=1 / 3),
    Reference("CT, helix", "ct", _ct(_helix, 1e4, 56.0), heavy=True, share=1 / 7),
)  # fmt: skip
NOISES = {"mri": (5.0, 10.0, 20.0, 40.0, 80.0), "ct": (1e3, 3e3, 1e4, 1e5)}  # SNR, photons


def noisy(modality: str, noise: float) -> Reference:
    """The reference of the noise curve: Cartesian 4x, or a fan of 360 views."""
    if modality == "mri":
        return Reference(f"MR, SNR {noise:g}", "mri",
                         _mr(acceleration=4, mask="poisson", snr=noise))  # fmt: skip
    return Reference(f"CT, {noise:g} photons", "ct", _ct(fan(360), noise))
