"""Simulated scans: values, positions, orientation, noise and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spinray.datasets import reference_image, simulate_ct, simulate_mr
from spinray.datasets.phantoms import (
    WATER,
    Ellipse,
    EllipsePhantom,
    Ellipsoid,
    EllipsoidPhantom,
    letter_f,
    water_disc,
)
from spinray.kernels.ct.geometry import ConeBeam, ModularBeam, ParallelBeam, VolumeGrid

DISC = EllipsePhantom("disc", (Ellipse(0.6, (30.0, -50.0), (12.0, 20.0)),))


def _direct_adjoint(kspace: Tensor, trajectory: Tensor, shape: tuple[int, int]) -> Tensor:
    """1/sqrt(N) sum_j y_j exp(+2 pi i k_j . n), n from -(N // 2): float64, no library."""
    k = trajectory.double()
    ny, nx = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
    wave_y = torch.exp(2j * torch.pi * k[:, 0, None] * ny)
    wave_x = torch.exp(2j * torch.pi * k[:, 1, None] * nx)
    image = torch.einsum("...s,sy,sx->...yx", kspace.to(torch.complex128), wave_y, wave_x)
    return image / np.sqrt(np.prod(shape))


def _grid_trajectory(shape: tuple[int, ...]) -> Tensor:
    axes = [(torch.arange(n, dtype=torch.float64) - n // 2) / n for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(shape))


@pytest.mark.parametrize("matrix", [(48, 64), (45, 50)])
def test_inverse_transform_of_a_cartesian_scan_is_the_phantom(matrix: tuple[int, int]) -> None:
    scan = simulate_mr(DISC, matrix=matrix, field_of_view=(240.0, 200.0), coils=1)
    image = _direct_adjoint(scan.kspace.flatten(-2), _grid_trajectory(matrix), matrix)[0]
    dy, dx = 240 / matrix[0], 200 / matrix[1]
    row, column = matrix[0] // 2 + round(30 / dy), matrix[1] // 2 - round(50 / dx)
    assert image[row, column].real == pytest.approx(0.6, abs=0.06)  # Gibbs ringing
    y, x = (torch.arange(n) - n // 2 for n in matrix)
    mass = image.real.sum()
    assert mass * dy * dx == pytest.approx(0.6 * np.pi * 240, rel=1e-4)
    assert (image.real * y[:, None] * dy).sum() / mass == pytest.approx(30, abs=0.7)
    assert (image.real * x * dx).sum() / mass == pytest.approx(-50, abs=0.7)
    assert scan.spacing == pytest.approx((dy, dx))


def test_values_away_from_edges_and_orientation() -> None:
    """After a mild window against ringing, the F is the reference F, and no flipped one."""
    n = 128
    scan = simulate_mr(letter_f(), matrix=n, coils=1)
    filter_1d = torch.hann_window(n, periodic=True)
    window = filter_1d[:, None] * filter_1d
    image = _direct_adjoint((scan.kspace * window).flatten(-2), _grid_trajectory((n, n)), (n, n))
    image = image[0].real
    truth = reference_image(scan).data.double()
    assert image[64 + 20, 64 - 16] == pytest.approx(1.0, abs=0.03)  # the stem alone
    assert image[64 - 32, 64 + 12] == pytest.approx(0.8, abs=0.03)  # the upper bar

    def distance(other: Tensor) -> float:
        return float((image - other).norm() / truth.norm())

    assert distance(truth) < 0.3
    flips = [truth.flip(0), truth.flip(1), truth.flip(0, 1), truth.T, truth.T.flip(0)]
    assert min(distance(flip) for flip in flips) > 0.6


def test_energy_is_the_image_energy() -> None:
    scan = simulate_mr(DISC, matrix=128, coils=8)
    truth = reference_image(scan).data
    energy = float(scan.kspace.abs().square().sum())
    assert energy == pytest.approx(float(truth.square().sum()), rel=0.03)


@pytest.mark.parametrize("kind", ["radial", "spiral"])
def test_trajectory_scans_hold_the_same_fourier_values(kind: str) -> None:
    """Along a trajectory, k-space is the discrete transform of a finely sampled coil image."""
    scan = simulate_mr(DISC, matrix=32, coils=3, trajectory=kind, acceleration=4)
    assert scan.trajectory is not None
    k = scan.trajectory[::37]
    assert kind in repr(scan)
    factor, n = 16, 32
    fine = VolumeGrid((factor * n,) * 2, 240 / (factor * n), 120 / (factor * n) * -1)
    coil_images = scan.header["coils"].maps(fine) * DISC.image(fine)
    axis = (np.arange(factor * n) - factor * n // 2) / factor
    wave_y = np.exp(-2j * np.pi * k[:, :1].double().numpy() * axis)
    wave_x = np.exp(-2j * np.pi * k[:, 1:].double().numpy() * axis)
    expected = np.einsum("cyx,sy,sx->cs", coil_images, wave_y, wave_x, optimize=True)
    expected /= n * factor**2
    found = scan.kspace[:, ::37].numpy()
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


def test_acceleration_counts() -> None:
    assert simulate_mr(matrix=64, coils=2).acceleration == 1
    scan = simulate_mr(matrix=96, coils=2, acceleration=4)
    assert scan.acceleration == pytest.approx(4, abs=0.1)
    assert scan.undersampled_axes == ("ky",)  # a 2D scan leaves out lines, never samples of a line
    disc = simulate_mr(matrix=96, coils=2, acceleration=4, mask="poisson")
    assert disc.acceleration == pytest.approx(4, abs=0.1)
    assert disc.undersampled_axes == ("ky", "kx")
    lines = simulate_mr(matrix=64, coils=2, acceleration=4, mask="random", calibration=8)
    assert lines.acceleration == 4
    assert bool((lines.kspace[:, ~lines.mask] == 0).all())  # type: ignore[index]
    full = simulate_mr(matrix=64, coils=1, trajectory="radial")
    half = simulate_mr(matrix=64, coils=1, trajectory="radial", acceleration=2)
    assert full.kspace.shape[-1] == 101 * 128
    assert half.kspace.shape[-1] == 51 * 128
    for kind, shape in (("radial", 64), ("spiral", 64), ("radial", (12, 12, 12))):
        phantom = "shepp-logan" if shape == 64 else "shepp-logan-3d"
        for factor in (1, 3):
            scan = simulate_mr(phantom, matrix=shape, coils=1, trajectory=kind, acceleration=factor)
            assert scan.acceleration == pytest.approx(factor, rel=0.03)
    given = torch.rand(64, 64) < 0.5
    assert torch.equal(simulate_mr(matrix=64, coils=1, mask=given, acceleration=2).mask, given)


def test_scan_in_3d_shows_the_solid_where_it_is() -> None:
    solid = EllipsoidPhantom("one", (Ellipsoid(1.0, (-40.0, 20.0, 50.0), (30.0, 35.0, 45.0)),))
    shape = (16, 20, 18)
    scan = simulate_mr(solid, matrix=shape, field_of_view=240.0, coils=1)
    spectrum = torch.fft.ifftn(torch.fft.ifftshift(scan.kspace[0]), norm="ortho")
    image = torch.fft.fftshift(spectrum).real
    truth = reference_image(scan).data
    assert torch.corrcoef(torch.stack([image.flatten(), truth.flatten()]))[0, 1] > 0.97
    assert float(image.sum()) == pytest.approx(float(truth.sum()), rel=0.01)
    ball = simulate_mr(solid, matrix=12, coils=2, trajectory="radial", acceleration=8)
    assert ball.trajectory is not None
    assert ball.trajectory.shape[-1] == 3


def test_noise_has_the_stated_level_and_correlation() -> None:
    quiet = simulate_mr("shepp-logan", matrix=96, coils=4)
    noisy = simulate_mr("shepp-logan", matrix=96, coils=4, snr=20, noise_correlation=0.4, seed=5)
    truth = reference_image(quiet).data
    sigma = float(truth[truth > 0.1].mean()) / 20
    for noise in (noisy.kspace - quiet.kspace, noisy.noise):
        flat = noise.reshape(4, -1)  # type: ignore[union-attr]
        assert float(flat.real.std()) == pytest.approx(sigma, rel=0.05)
        assert float(flat.imag.std()) == pytest.approx(sigma, rel=0.05)
        correlation = torch.corrcoef(flat)
        assert complex(correlation[1, 2]) == pytest.approx(0.4, abs=0.05)
        assert complex(correlation[0, 2]) == pytest.approx(0.16, abs=0.05)
    assert quiet.noise is None
    sampled = simulate_mr(matrix=96, coils=4, snr=20, acceleration=3)
    assert bool((sampled.kspace[:, ~sampled.mask] == 0).all())  # type: ignore[index]


def test_seeds_repeat() -> None:
    make = lambda seed: simulate_mr(matrix=64, coils=2, acceleration=3, snr=9, seed=seed)  # noqa: E731
    assert torch.equal(make(1).kspace, make(1).kspace)
    assert not torch.equal(make(1).kspace, make(2).kspace)
    make_ct = lambda seed: simulate_ct(views=8, columns=64, photons=1e3, seed=seed)  # noqa: E731
    assert torch.equal(make_ct(1).counts, make_ct(1).counts)
    assert not torch.equal(make_ct(1).counts, make_ct(2).counts)
    assert not torch.equal(make_ct(1).blank, make_ct(2).blank)


@pytest.mark.parametrize("kind", ["cartesian", "radial"])
def test_an_image_is_transformed_by_the_discrete_transform(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(12, 10, dtype=torch.complex64, generator=generator)
    scan = simulate_mr(image, coils=2, trajectory=kind)
    k = _grid_trajectory((12, 10)) if scan.trajectory is None else scan.trajectory
    from spinray.datasets.phantoms import mr_grid

    maps = torch.from_numpy(scan.header["coils"].maps(mr_grid((12, 10), (240, 240))))
    back = _direct_adjoint(scan.kspace.flatten(1), k, (12, 10))
    # <E x, E x> = <x, E^H E x> with the direct adjoint and the maps.
    energy = float(scan.kspace.abs().square().sum())
    found = (image.conj() * (maps.conj() * back).sum(0)).sum()
    assert complex(found) == pytest.approx(energy, rel=2e-3)
    assert torch.equal(reference_image(scan).data, image)


def test_affine_puts_the_origin_at_the_centre_index() -> None:
    scan = simulate_mr(matrix=(64, 48), coils=1, field_of_view=(192.0, 96.0))
    assert scan.affine is not None
    np.testing.assert_allclose(scan.affine @ (24, 32, 0, 1), (0, 0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(scan.affine @ (25, 33, 1, 1), (-2, -3, 1, 1))
    np.testing.assert_array_equal(reference_image(scan).affine, scan.affine)


def test_ct_counts_are_poisson_about_beer_and_lambert() -> None:
    """Gain and dark level taken out, water's mean and variance are the expected photons."""
    photons = 2000.0
    scan = simulate_ct(
        water_disc(50),
        geometry=ParallelBeam(np.linspace(0, 3, 600), 64, 0.5),
        photons=photons,
        electronic_noise=0.0,
        seed=2,
    )
    assert scan.counts is not None
    assert scan.blank is not None
    assert scan.dark is not None
    dark = scan.dark.double().mean(0)
    gain = (scan.blank.double().mean(0) - dark) / photons
    assert float(gain.std()) == pytest.approx(0.03, abs=0.012)
    quanta = (scan.counts.double() - dark) / gain
    chord = 2 * np.sqrt(50**2 - scan.geometry.column_positions**2)  # type: ignore[attr-defined]
    expected = photons * np.exp(-WATER * chord)
    np.testing.assert_allclose(quanta.mean(0).numpy(), expected, rtol=0.02)
    np.testing.assert_allclose(quanta.var(0).mean(), expected.mean(), rtol=0.03)
    assert float(scan.sinogram[:, 32].mean()) == pytest.approx(WATER * 100, rel=0.01)


def test_electronic_noise_is_in_counts_and_dark_frames() -> None:
    disc = water_disc(50)
    geometry = ParallelBeam(np.linspace(0, 3, 500), 8, 1.0)
    scan = simulate_ct(disc, geometry=geometry, photons=500, electronic_noise=30.0)
    assert scan.counts is not None
    assert scan.dark is not None
    assert float(scan.dark.std()) == pytest.approx(30, rel=0.12)
    assert float(scan.counts.var()) == pytest.approx(900 + 500 * np.exp(-2.0), rel=0.2)


@pytest.mark.parametrize("geometry", ["parallel", "fan"])
def test_noiseless_ct_sees_all_of_the_phantom_once(geometry: str) -> None:
    scan = simulate_ct("head", geometry=geometry, views=12, columns=300, photons=None)
    assert scan.counts is None
    assert scan.sinogram.dtype == torch.float32
    assert float(scan.sinogram[:, [0, -1]].abs().max()) == 0
    exact = scan.header["phantom"].line_integrals(scan.geometry)
    inside = exact > 0.5  # the mean over a column differs where the edge lies
    assert np.median(np.abs(scan.sinogram.numpy() - exact)[inside]) < 5e-3
    whole = scan.header["phantom"].kspace(np.zeros(2)).real
    truth = reference_image(scan)
    area = np.prod(truth.spacing)
    assert float(truth.data.sum()) * area == pytest.approx(whole, rel=1e-3)


def test_column_width_averages_intensities_not_line_integrals() -> None:
    """A half-covered opaque edge transmits one half: -log 0.5, not half the attenuation."""
    edge = EllipsePhantom("slab", (Ellipse(10.0, (0.0, 100.0), (1e4, 100.0)),))
    scan = simulate_ct(
        edge, geometry=ParallelBeam([0.0], 1, 2.0), photons=None, subrays=2, volume=None
    )
    assert float(scan.sinogram[0, 0]) == pytest.approx(np.log(2), rel=1e-3)


def test_any_geometry_in_3d() -> None:
    solid = EllipsoidPhantom("ball", (Ellipsoid(0.02, (3.0, 5.0, -8.0), (20.0, 20.0, 20.0)),))
    cone = ConeBeam([0.0, 1.0], 5, 9, 8.0, 8.0, 300.0, 500.0, column_offset=0.25)
    modular = ModularBeam([[0, -300, 0]], [[0, 200, 0]], [[0, 0, 8]], [[8, 0, 0]], 5, 9)
    for geometry in (cone, modular):
        scan = simulate_ct(solid, geometry=geometry, photons=1e5)
        assert scan.counts is not None
        assert scan.counts.shape == geometry.shape
        exact = torch.from_numpy(solid.line_integrals(geometry))
        core = exact > 0.6
        assert bool(core.any())
        assert float((scan.sinogram - exact)[core].abs().max()) < 0.1


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="unknown phantom"):
        simulate_mr("elephant")
    with pytest.raises(ValueError, match=r'"cartesian", "radial" or \(2D\) "spiral", got .zigzag'):
        simulate_mr(trajectory="zigzag")
    with pytest.raises(ValueError, match="in 3D"):
        simulate_mr("shepp-logan-3d", matrix=8, trajectory="spiral")
    with pytest.raises(ValueError, match="mask must be"):
        simulate_mr(matrix=32, acceleration=2, mask="magic")
    with pytest.raises(ValueError, match="matrix needs 2 positive"):
        simulate_mr(matrix=(32, 32, 32))
    with pytest.raises(ValueError, match="noise_correlation"):
        simulate_mr(matrix=32, snr=3, noise_correlation=1.0)
    with pytest.raises(ValueError, match="geometry must be"):
        simulate_ct(geometry="spiral")
    with pytest.raises(ValueError, match="geometry has 2"):
        simulate_ct("shepp-logan-3d", views=4, columns=16)
    with pytest.raises(ValueError, match="not simulated here"):
        reference_image(simulate_mr(matrix=16, coils=1).replace(header={}))
