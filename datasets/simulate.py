"""Raw scans with a known truth: `simulate_mr` and `simulate_ct`.

Image values are the phantom's own: k-space of a phantom with Fourier integral F is scaled by
``1 / (sqrt(pixels) * pixel volume)``, so that the centred orthonormal inverse transform of a full
scan returns the phantom's values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels.ct.base import checked_count
from ..kernels.ct.geometry import (
    ConeBeam,
    FanBeam,
    Geometry,
    HelicalBeam,
    ModularBeam,
    ParallelBeam,
    VolumeGrid,
)
from ..recon.image import Image, supine_affine
from ..recon.scan import CTScan, MRScan
from . import masks, trajectories
from .coils import CoilSeries, birdcage
from .phantoms import EllipsePhantom, EllipsoidPhantom, mr_grid
from .phantoms import phantom as named_phantom

Phantom = EllipsePhantom | EllipsoidPhantom

NOISE_SAMPLES = 8192  # of the noise scan, a coil
REFERENCE_FRAMES = 32  # of the blank and the dark scan
GAIN_SPREAD = 0.03  # of the detector columns
DARK_LEVEL = 50.0  # counts

# A clinical scanner's fan, in mm.
SOURCE_TO_ISOCENTER, SOURCE_TO_DETECTOR = 595.0, 1085.6
# Its helix: rows of 1.5 mm at the isocentre that travel by all of their height in a turn.
HELIX_ROWS, HELIX_SLICE, HELIX_TURNS = 16, 1.5, 3
# A flat panel that turns about the patient; its rows are of 2 mm at the isocentre.
PANEL_SOURCE_TO_ISOCENTER, PANEL_SOURCE_TO_DETECTOR = 1000.0, 1500.0
PANEL_ROWS, PANEL_SLICE = 64, 2.0

SOLID = ("helical", "cone")  # names of 3D geometries

RAYS_AT_A_TIME = 1 << 21


def simulate_mr(
    phantom: str | Phantom | Tensor | NDArray[np.generic] = "shepp-logan",
    *,
    matrix: int | Sequence[int] = 256,
    field_of_view: float | Sequence[float] = 240.0,
    coils: int = 8,
    trajectory: str = "cartesian",
    acceleration: float = 1.0,
    mask: str | Tensor | None = None,
    calibration: int | None = None,
    snr: float | None = None,
    noise_correlation: float = 0.0,
    seed: int = 0,
) -> MRScan:
    """Multi-coil k-space of a phantom in closed form, or of an image by its discrete transform.

    Parameters
    ----------
    phantom
        A phantom or its name (see `phantoms.PHANTOMS`); or an image ``([z,] y, x)``, real or
        complex. An image gives k-space of its own pixels: reconstructing it on the same grid
        commits an inverse crime that a phantom doesn't.
    matrix
        Pixels ``([nz,] ny, nx)`` or one number for all axes; of an image, its shape.
    field_of_view
        In mm, in axis order or one number.
    coils
        Receive coils of a birdcage; one coil is uniform.
    trajectory
        "cartesian"; "radial" (golden-angle spokes, a kooshball in 3D, readouts 2x oversampled);
        "spiral" (2D, Archimedean).
    acceleration
        1 is Nyquist: all samples, pi/2 N spokes (pi/2 N^2 in 3D), or N/2 turns of spiral in all.
    mask
        Cartesian undersampling: "random" or "equispaced" lines, "poisson" (of the last two phase
        encodings; a 2D one is a slice of a 3D scan, whose readout lies across), or a bool
        ``([kz,] ky, kx)``. Default: what a scanner does, lines in 2D and Poisson in 3D.
    calibration
        Fully sampled lines in the centre of an undersampled mask. Default: 24, or half of the lines
        that the acceleration leaves of a small matrix.
    snr
        Mean of the object over the standard deviation of the real part of the noise in every
        sample (the transform is orthonormal: in every pixel of a full scan too). The noise scan
        then has 8192 samples. Default: no noise.
    noise_correlation
        Correlation of the noise of neighbouring coils, in [0, 1).
    seed
        Of mask and noise.

    Returns
    -------
    MRScan
        complex64, with `header` telling phantom, coils and noise; see `reference_image`.

    Raises
    ------
    ValueError
        Unknown names, shapes that do not fit.
    """
    if isinstance(phantom, str):
        phantom = named_phantom(phantom)
    if not isinstance(phantom, EllipsePhantom | EllipsoidPhantom):
        phantom = torch.as_tensor(phantom)
        matrix = tuple(phantom.shape)
    ndim = phantom.ndim
    shape = tuple(int(n) for n in _per_axis("matrix", matrix, ndim))
    extent = _per_axis("field_of_view", field_of_view, ndim)
    grid = mr_grid(shape, extent)
    samples = readout = sampled = None
    if trajectory == "cartesian":
        sampled = _mask(mask, shape, acceleration, calibration, seed)
    else:
        samples, readout = _trajectory(trajectory, shape, acceleration)
    array = birdcage(coils, extent)
    kspace = _kspace(phantom, array, grid, samples)
    noise = None
    if snr is not None:
        if not 0 < snr < np.inf:
            raise ValueError(f"snr must be positive and finite, got {snr}")
        sigma = _signal(phantom, grid) / snr
        generator = torch.Generator().manual_seed(seed)
        mix = _noise_mixing(coils, noise_correlation)
        kspace += sigma * _noise(mix, kspace.shape[1:], generator)
        noise = sigma * _noise(mix, (NOISE_SAMPLES,), generator)
    if sampled is not None:
        kspace *= sampled
    return MRScan(
        kspace=kspace,
        mask=sampled,
        trajectory=samples,
        noise=noise,
        image_shape=shape,
        spacing=grid.spacing,
        affine=supine_affine(grid.shape, grid.spacing, grid.center),
        readout_length=readout,
        header={"phantom": phantom, "coils": array, "snr": snr, "seed": seed},
    )


def simulate_ct(
    phantom: str | EllipsePhantom | EllipsoidPhantom | None = None,
    *,
    geometry: str | Geometry = "fan",
    views: int = 720,
    columns: int = 736,
    photons: float | None = 1e5,
    electronic_noise: float = 5.0,
    subrays: int = 3,
    volume: VolumeGrid | None = None,
    seed: int = 0,
) -> CTScan:
    """Detector readings of a phantom, with blank and dark scans, from its line integrals.

    Parameters
    ----------
    phantom
        In attenuation 1/mm, or its name (see `phantoms.PHANTOMS`). Default: "head", and "head-3d"
        for 3D geometries.
    geometry
        "parallel" (over pi), "fan" (a clinical fan over 2 pi, curved, quarter-column offset),
        "helical" (the same with 16 rows of 1.5 mm, three turns about z = 0 at pitch 1), "cone" (a
        flat panel of 64 rows of 2 mm over 2 pi), all just wide enough for the phantom; or any CT
        geometry.
    views, columns
        Of a named geometry; of a helix, the views of a turn.
    photons
        Expected photons a ray without object; the detector's columns differ by 3 % in gain.
        Default 1e5. None: line integrals without noise.
    electronic_noise
        Standard deviation of the readout noise in photons.
    subrays
        Rays across a column, whose intensities are averaged.
    volume
        Grid of the scan. Default: what the geometry sees.
    seed
        Of gains and noise.

    Returns
    -------
    CTScan
        float32, with `header` telling the phantom and the dose; see `reference_image`.

    Raises
    ------
    ValueError
        Unknown names; 2D phantom and 3D geometry.
    """
    if phantom is None:
        solid = geometry in SOLID if isinstance(geometry, str) else geometry.ndim == 3
        phantom = "head-3d" if solid else "head"
    if isinstance(phantom, str):
        phantom = named_phantom(phantom)
    if isinstance(geometry, str):
        geometry = _named_geometry(geometry, views, columns, 1.05 * phantom.radius)
    integrals = _mean_line_integrals(phantom, geometry, subrays)
    header = {"phantom": phantom, "photons": photons, "seed": seed}
    if photons is not None and not 10 <= photons <= 1e12:
        raise ValueError(f"photons must lie between 10 and 1e12 a ray, got {photons:g}")
    if photons is None:
        return CTScan(integrals.float(), geometry, volume=volume, header=header)

    from ..recon.ct import simulate_counts

    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(4)]
    generator = torch.Generator().manual_seed(seeds[0])
    detector = geometry.shape[1:]
    frames = torch.zeros((REFERENCE_FRAMES, *detector), dtype=torch.float64)
    gain = 1 + GAIN_SPREAD * torch.randn(detector, generator=generator, dtype=torch.float64)
    counts = simulate_counts(integrals, photons, electronic_noise=electronic_noise, seed=seeds[1])
    blank = simulate_counts(frames, photons, electronic_noise=electronic_noise, seed=seeds[2])
    dark = electronic_noise * torch.randn(frames.shape, generator=generator, dtype=torch.float64)
    readings = [(gain * reading + DARK_LEVEL).float() for reading in (counts, blank, dark)]
    return CTScan(
        geometry=geometry,
        counts=readings[0],
        blank=readings[1],
        dark=readings[2],
        volume=volume,
        header=header,
    )


def reference_image(scan: MRScan | CTScan) -> Image:
    """Return the truth of a simulated scan on the scan's grid: the mean of the phantom in a voxel.

    Raises
    ------
    ValueError
        A scan that was not simulated in this process: files do not keep the phantom.
    """
    phantom = scan.header.get("phantom")
    if phantom is None:
        raise ValueError(f"no phantom in the header of {scan}: it was not simulated here")
    if isinstance(scan, MRScan):
        modality, grid = "MR", mr_grid(scan.image_shape, scan.field_of_view)
    else:
        modality, grid = "CT", scan.grid
    if not isinstance(phantom, Tensor):
        subsamples = 8 if grid.ndim == 2 else 4
        phantom = torch.from_numpy(phantom.image(grid, subsamples=subsamples)).float()
    frame = scan.affine if isinstance(scan, CTScan) else None
    affine = supine_affine(grid.shape, grid.spacing, grid.center, frame)
    return Image(phantom, grid.spacing, affine, {"method": "phantom", "modality": modality})


def _kspace(
    phantom: Phantom | Tensor, array: CoilSeries, grid: VolumeGrid, trajectory: Tensor | None
) -> Tensor:
    if isinstance(phantom, Tensor):
        from ..recon.operators import Sense

        maps = torch.from_numpy(array.maps(grid)).to(torch.complex64)
        return Sense(maps, trajectory=trajectory, ndim=phantom.ndim)(phantom.to(torch.complex64))
    scale = 1 / (np.sqrt(np.prod(grid.shape)) * np.prod(grid.spacing))
    if trajectory is None:
        kspace = array.cartesian_kspace(phantom, grid.shape)
    else:
        kspace = array.kspace(phantom, trajectory.numpy() / np.array(grid.spacing))
    return torch.from_numpy(scale * kspace).to(torch.complex64)


def _mask(
    mask: str | Tensor | None,
    shape: tuple[int, ...],
    acceleration: float,
    calibration: int | None,
    seed: int,
) -> Tensor:
    if isinstance(mask, Tensor):
        return mask
    if acceleration == 1:
        return masks.full(shape)
    if mask is None:
        mask = "random" if len(shape) == 2 else "poisson"
    if calibration is None:
        room = shape[-2] / max(acceleration, 1) / 2
        calibration = 24 if mask == "poisson" else min(24, max(1, round(room)))
    if mask == "poisson":
        return masks.poisson(shape, acceleration, calibration=calibration, seed=seed)
    if mask == "equispaced":
        return masks.equispaced(shape, acceleration, calibration=calibration)
    if mask == "random":
        return masks.random_lines(shape, acceleration, calibration=calibration, seed=seed)
    raise ValueError(f'mask must be "poisson", "equispaced", "random" or a tensor, got {mask!r}')


def _trajectory(name: str, shape: tuple[int, ...], acceleration: float) -> tuple[Tensor, int]:
    """Trajectory and samples a readout at Nyquist over `acceleration` for the longest axis."""
    if not acceleration > 0:
        raise ValueError(f"acceleration must be positive, got {acceleration}")
    n, ndim = max(shape), len(shape)
    if name == "radial":
        spokes = int(np.ceil(np.pi / 2 * n ** (ndim - 1) / acceleration))
        make = trajectories.radial if ndim == 2 else trajectories.kooshball
        return make(spokes, 2 * n), 2 * n
    if name == "spiral" and ndim == 2:
        interleaves = int(np.ceil(16 / acceleration))
        turns = n / (2 * acceleration * interleaves)
        readout = int(np.ceil(np.pi / 2 * turns * n)) + n // 2  # the arc in steps of 1/N, and more
        return trajectories.spiral(interleaves, readout, turns), readout
    raise ValueError(
        f'trajectory must be "cartesian", "radial" or (2D) "spiral", got {name!r} in {ndim}D'
    )


def _signal(phantom: Phantom | Tensor, grid: VolumeGrid) -> float:
    """Mean magnitude where the image exceeds a tenth of its maximum."""
    if not isinstance(phantom, Tensor):
        phantom = torch.from_numpy(phantom.image(grid, subsamples=1))
    magnitude = phantom.abs()
    return float(magnitude[magnitude > 0.1 * magnitude.max()].mean())


def _noise_mixing(coils: int, correlation: float) -> Tensor:
    """Cholesky factor of the noise covariance ``correlation^|i - j|``, ``(coil, coil)``."""
    if not 0 <= correlation < 1:
        raise ValueError(f"noise_correlation must be in [0, 1), got {correlation}")
    coil = np.arange(coils)
    factor = np.linalg.cholesky(correlation ** np.abs(coil[:, None] - coil))
    return torch.from_numpy(factor).to(torch.complex64)


def _noise(mix: Tensor, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Complex noise ``(coil, *shape)`` whose real and imaginary parts have variance one."""
    white = torch.randn((len(mix), *shape), dtype=torch.complex64, generator=generator)
    noise: Tensor = torch.tensordot(mix, white, dims=1)
    return 2**0.5 * noise


def _named_geometry(name: str, views: int, columns: int, radius: float) -> Geometry:
    views, columns = checked_count("views", views), checked_count("columns", columns)
    if name == "parallel":
        return ParallelBeam(np.arange(views) * np.pi / views, columns, 2 * radius / columns)
    if name == "fan":
        return clinical_fan(radius, views, columns)
    if name == "helical":
        count = HELIX_TURNS * views
        fan = 2 * np.arcsin(min(radius / SOURCE_TO_ISOCENTER, 1))
        return HelicalBeam(
            (np.arange(count) - (count - 1) / 2) * 2 * np.pi / views,
            HELIX_ROWS,
            columns,
            HELIX_SLICE * SOURCE_TO_DETECTOR / SOURCE_TO_ISOCENTER,
            fan * SOURCE_TO_DETECTOR / columns,
            SOURCE_TO_ISOCENTER,
            SOURCE_TO_DETECTOR,
            detector="curved",
            column_offset=0.25,
            pitch=HELIX_ROWS * HELIX_SLICE,
        )
    if name == "cone":
        sid, sdd = PANEL_SOURCE_TO_ISOCENTER, PANEL_SOURCE_TO_DETECTOR
        pitch = 2 * sdd * np.tan(np.arcsin(min(radius / sid, 0.9))) / columns
        angles, row = np.arange(views) * 2 * np.pi / views, PANEL_SLICE * sdd / sid
        return ConeBeam(angles, PANEL_ROWS, columns, row, pitch, sid, sdd)
    raise ValueError(
        f"geometry must be parallel, fan, helical, cone or a CT geometry, got {name!r}"
    )


def clinical_fan(radius: float, views: int, columns: int) -> FanBeam:
    """Return the curved fan of a clinical scanner just wide enough for a radius in mm, full turn.

    Raises
    ------
    ValueError
        A radius that reaches to the source.
    """
    if not 0 < radius < 0.9 * SOURCE_TO_ISOCENTER:
        raise ValueError(f"a source at {SOURCE_TO_ISOCENTER} mm takes no radius of {radius:.0f} mm")
    fan = 2 * np.arcsin(radius / SOURCE_TO_ISOCENTER)
    return FanBeam(
        np.arange(views) * 2 * np.pi / views,
        columns,
        fan * SOURCE_TO_DETECTOR / columns,
        SOURCE_TO_ISOCENTER,
        SOURCE_TO_DETECTOR,
        detector="curved",
        column_offset=0.25,
    )


def _mean_line_integrals(phantom: Phantom, geometry: Geometry, subrays: int) -> Tensor:
    """Line integral that the mean intensity over a column's width stands for, `geometry.shape`."""
    fine = _subdivided(geometry, subrays)
    result = np.empty(geometry.shape)
    step = max(RAYS_AT_A_TIME // int(np.prod(fine.shape[1:])), 1)
    for view in range(0, len(geometry), step):
        transmission = np.exp(-phantom.line_integrals(fine[view : view + step]))
        mean = transmission.reshape(-1, *geometry.shape[1:], subrays).mean(-1)
        result[view : view + step] = -np.log(mean)
    return torch.from_numpy(result)


def _subdivided(geometry: Geometry, parts: int) -> Geometry:
    """The same detector with each column cut into parts."""
    changes: dict[str, object] = {"columns": geometry.shape[-1] * parts}
    if isinstance(geometry, ModularBeam):
        changes["column_vector"] = geometry.column_vector / parts
    else:
        changes["column_spacing"] = geometry.column_spacing / parts  # type: ignore[attr-defined]
        changes["column_offset"] = geometry.column_offset * parts  # type: ignore[attr-defined]
    return dataclasses.replace(geometry, **changes)


def _per_axis(name: str, value: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * ndim
    if len(values) != ndim or not min(values) > 0:
        raise ValueError(f"{name} needs {ndim} positive values ([z,] y, x), got {value}")
    return values
