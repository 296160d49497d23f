"""Closed forms of the phantoms against numerical integrals that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad

from spinray.datasets.phantoms import (
    PHANTOMS,
    WATER,
    Ellipse,
    EllipsePhantom,
    Ellipsoid,
    EllipsoidPhantom,
    head,
    letter_f,
    mr_grid,
    phantom,
    rays,
    shepp_logan,
    shepp_logan_3d,
    water_disc,
)
from spinray.kernels.ct.geometry import (
    ConeBeam,
    FanBeam,
    Geometry,
    HelicalBeam,
    ModularBeam,
    ParallelBeam,
    VolumeGrid,
)

TILTED = Ellipse(0.7, center=(12.0, -20.0), semi_axes=(10.0, 25.0), angle=0.4)
SOLID = Ellipsoid(1.3, center=(4.0, -9.0, 15.0), semi_axes=(8.0, 10.0, 20.0), angle=0.5)


def test_angle_turns_from_x_towards_y() -> None:
    """The tip of the long half axis of 25 mm lies at angle 0.4 from the x axis."""
    tip = np.array([12 + 24.9 * np.sin(0.4), -20 + 24.9 * np.cos(0.4)])
    assert TILTED.contains(*tip)
    assert not TILTED.contains(12 - 24.9 * np.sin(0.4), tip[1])


@pytest.mark.parametrize("frequency", [(0.0, 0.0), (1e-7, 0.0), (0.03, -0.01), (-0.2, 0.11)])
def test_kspace_of_an_ellipse_is_its_fourier_integral(frequency: tuple[float, float]) -> None:
    """Integrate the inside analytically in u along chords of v (polar-free, adaptive)."""
    cos, sin = np.cos(TILTED.angle), np.sin(TILTED.angle)

    def wave(y: float, x: float) -> complex:
        return 0.7 * np.exp(-2j * np.pi * (frequency[0] * y + frequency[1] * x))

    def part(take: str) -> float:
        def integrand(v: float, u: float) -> float:
            x, y = -20 + cos * u - sin * v, 12 + sin * u + cos * v
            return float(getattr(wave(y, x), take))

        edge = lambda u: 10 * np.sqrt(max(1 - (u / 25) ** 2, 0))  # noqa: E731
        return float(dblquad(integrand, -25, 25, lambda u: -edge(u), edge, epsabs=1e-7)[0])

    expected = part("real") + 1j * part("imag")
    assert TILTED.kspace(np.array(frequency)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("frequency", [(0.0, 0.0, 0.0), (0.001, 0.0, 0.0), (0.02, 0.04, -0.03)])
def test_kspace_of_an_ellipsoid_is_its_fourier_integral(frequency: tuple[float, ...]) -> None:
    """In spherical coordinates of the unit ball, with a Gauss-Legendre rule."""
    node, weight = np.polynomial.legendre.leggauss(48)
    r, wr = (node + 1) / 2, weight / 2
    azimuth = np.arange(96) * 2 * np.pi / 96
    radius, c, turn = np.meshgrid(r, node, azimuth, indexing="ij")
    w = np.einsum("i,j,k->ijk", wr * r**2, weight, np.full(96, 2 * np.pi / 96))
    s = np.sqrt(1 - c**2)
    u, v = 20 * radius * s * np.cos(turn), 10 * radius * s * np.sin(turn)
    z = 4 + 8 * radius * c
    y = -9 + np.sin(0.5) * u + np.cos(0.5) * v
    x = 15 + np.cos(0.5) * u - np.sin(0.5) * v
    phase = frequency[0] * z + frequency[1] * y + frequency[2] * x
    expected = 1.3 * 8 * 10 * 20 * np.sum(w * np.exp(-2j * np.pi * phase))
    assert SOLID.kspace(np.array(frequency)) == pytest.approx(expected, rel=1e-9)


def test_ellipsoid_kspace_has_no_step_where_series_and_formula_meet() -> None:
    ball = Ellipsoid(1.0, (0, 0, 0), (1, 1, 1))
    k = np.zeros((2, 3))
    k[:, 0] = 0.03 / (2 * np.pi) * np.array([1 - 1e-9, 1 + 1e-9])
    below, above = ball.kspace(k).real
    assert below == pytest.approx(above, rel=1e-10)
    assert ball.kspace(np.zeros(3)) == pytest.approx(4 / 3 * np.pi, rel=1e-15)


def test_kspace_of_a_phantom_is_the_fft_of_its_fine_image() -> None:
    """Against the discrete transform of a 1024^2 image: low frequencies agree to its pixels."""
    n, fov = 1024, 240.0
    grid = mr_grid((n, n), (fov, fov))
    fine = shepp_logan(fov).image(grid, subsamples=4)
    transform = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(fine))) * (fov / n) ** 2
    centre = slice(n // 2 - 16, n // 2 + 17)
    axis = np.arange(-16, 17) / fov
    k = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    exact = shepp_logan(fov).kspace(k)
    assert np.abs(transform[centre, centre] - exact).max() < 2e-3 * np.abs(exact).max()


def test_image_holds_the_area_and_the_centroid() -> None:
    grid = VolumeGrid((120, 100), (0.9, 1.1), (10.0, -15.0))
    image = EllipsePhantom("one", (TILTED,)).image(grid)
    y, x = grid.positions(0)[:, None], grid.positions(1)
    assert image.sum() * 0.9 * 1.1 == pytest.approx(0.7 * np.pi * 250, rel=2e-4)
    assert (image * y).sum() / image.sum() == pytest.approx(12, abs=0.01)
    assert (image * x).sum() / image.sum() == pytest.approx(-20, abs=0.01)
    assert image.min() >= 0
    assert image.max() == pytest.approx(0.7)


def test_image_in_3d_holds_volume_and_centroid() -> None:
    grid = VolumeGrid((30, 40, 50), (1.0, 1.2, 1.1), (4.0, -9.0, 15.0))
    image = EllipsoidPhantom("one", (SOLID,)).image(grid, subsamples=4)
    assert image.sum() * 1.2 * 1.1 == pytest.approx(1.3 * 4 / 3 * np.pi * 1600, rel=1e-3)
    for axis, centre in enumerate(SOLID.center):
        position = grid.positions(axis).reshape([-1 if a == axis else 1 for a in range(3)])
        assert (image * position).sum() / image.sum() == pytest.approx(centre, abs=0.01)


def test_image_off_the_grid_is_cut_not_wrapped() -> None:
    image = EllipsePhantom("one", (TILTED,)).image(VolumeGrid((8, 8), 1.0, (200.0, 0.0)))
    assert not image.any()
    half = EllipsePhantom("one", (TILTED,)).image(VolumeGrid((200, 40), 1.0, (12.0, 0.0)))
    assert half[:, 0].any()
    assert not half[:, -1].any()


def _integral_along(shape: Ellipse | Ellipsoid, point: np.ndarray, way: np.ndarray) -> float:
    """Quadrature of the inside test along a ray, with its ends found by bisection."""
    middle = float(np.dot(np.array(shape.center) - point, way))
    t = middle + np.linspace(-60, 60, 24001)
    inside = shape.contains(*(point[:, None] + way[:, None] * t))
    return float(shape.value * inside.sum() * (t[1] - t[0]))


GEOMETRIES_2D = [
    ParallelBeam(np.linspace(0, 3, 5), 31, 4.0, 0.3),
    FanBeam(np.linspace(0, 6, 5), 31, 7.0, 300.0, 500.0, "flat", 0.25),
    FanBeam(np.linspace(0, 6, 5), 31, 7.0, 300.0, 500.0, "curved", -0.5),
]
GEOMETRIES_3D = [
    ConeBeam(np.linspace(0, 6, 4), 7, 11, 9.0, 11.0, 300.0, 500.0, "flat", 0.5, 0.25),
    ConeBeam(np.linspace(0, 6, 4), 7, 11, 9.0, 11.0, 300.0, 500.0, "curved"),
    HelicalBeam(np.linspace(0, 6, 4), 7, 11, 9.0, 11.0, 300.0, 500.0, pitch=12.0),
    ModularBeam(
        source=[[300.0, 10.0, 20.0], [-250.0, 80.0, -30.0]],
        detector_center=[[-200.0, 5.0, -10.0], [220.0, -60.0, 10.0]],
        row_vector=[[0.0, 1.0, 9.0], [1.0, 0.0, 9.0]],
        column_vector=[[1.0, 10.0, 0.0], [2.0, -9.0, 1.0]],
        rows=7,
        columns=11,
    ),
]


@pytest.mark.parametrize("geometry", GEOMETRIES_2D + GEOMETRIES_3D, ids=lambda g: repr(g)[:60])
def test_line_integrals_are_integrals_along_the_rays(geometry: Geometry) -> None:
    shape = TILTED if geometry.ndim == 2 else SOLID
    kind = EllipsePhantom if geometry.ndim == 2 else EllipsoidPhantom
    found = kind("one", (shape,)).line_integrals(geometry)  # type: ignore[arg-type]
    assert found.shape == geometry.shape
    assert np.count_nonzero(found) > 10
    point, direction = rays(geometry)
    hits = np.argwhere(found > 0)[::7]
    for index in [*map(tuple, hits), (0,) * found.ndim]:
        expected = _integral_along(shape, point[index], direction[index])
        assert found[index] == pytest.approx(expected, abs=2 * shape.value * 0.005 + 1e-9)


def test_rays_follow_the_ct_frame() -> None:
    """Written out from the convention by hand: 90 degrees, column 0, source on +x."""
    fan = FanBeam([np.pi / 2], 3, 2.0, 100.0, 150.0, "flat")
    point, direction = rays(fan)
    np.testing.assert_allclose(point[0, 0], (0.0, 100.0), atol=1e-12)  # (y, x)
    # Column 0 lies at -2 along (cos 90, sin 90) = y; the detector 150 along -x from the source.
    np.testing.assert_allclose(direction[0, 0], np.array((-2.0, -150.0)) / np.hypot(2, 150))
    parallel = ParallelBeam([0.0], 3, 2.0)
    point, direction = rays(parallel)
    np.testing.assert_allclose(point[0, :, 1], (-2, 0, 2))
    np.testing.assert_allclose(direction[0, 0], (1, 0))
    arc = FanBeam([0.0], 3, 15.0, 100.0, 150.0, "curved")
    _, direction = rays(arc)
    np.testing.assert_allclose(direction[0, 2], (np.cos(0.1), np.sin(0.1)))


def test_rays_of_cone_helix_and_modular_beams_by_hand() -> None:
    """At angle 0 the source stands at -y, columns run along x, rows along z."""
    helix = HelicalBeam([0.0, np.pi], 3, 5, 2.0, 3.0, 100.0, 150.0, pitch=10.0)
    point, direction = rays(helix)
    np.testing.assert_allclose(point[0, 0, 0], (0, -100, 0), atol=1e-12)  # (z, y, x)
    np.testing.assert_allclose(point[1, 0, 0], (5, 100, 0), atol=1e-12)
    to_last = np.array((2.0, 150.0, 6.0))
    np.testing.assert_allclose(direction[0, 2, 4], to_last / np.linalg.norm(to_last))
    curved = ConeBeam([0.0], 3, 5, 2.0, 15.0, 100.0, 150.0, "curved")
    to_last = np.array((2.0, 150 * np.cos(0.2), 150 * np.sin(0.2)))
    _, direction = rays(curved)
    np.testing.assert_allclose(direction[0, 2, 4], to_last / np.linalg.norm(to_last))
    modular = ModularBeam(
        source=[[0.0, -100.0, 5.0]],
        detector_center=[[1.0, 50.0, 0.0]],
        row_vector=[[0.0, 0.0, 2.0]],
        column_vector=[[3.0, 0.0, 0.0]],
        rows=2,
        columns=3,
    )
    point, direction = rays(modular)
    np.testing.assert_allclose(point[0, 1, 2], (5, -100, 0))
    to_last = np.array((1.0 - 5, 150.0, 4.0))
    np.testing.assert_allclose(direction[0, 1, 2], to_last / np.linalg.norm(to_last))


def test_sinogram_mass_is_the_image_mass_in_every_parallel_view() -> None:
    geometry = ParallelBeam(np.linspace(0, np.pi, 9), 4096, 0.06)
    mass = head().line_integrals(geometry).sum(axis=1) * 0.06
    exact = float(head().kspace(np.zeros(2)).real)
    np.testing.assert_allclose(mass, exact, rtol=1e-4)


def test_letter_f_is_unlike_itself_under_every_flip_and_turn() -> None:
    image = letter_f().image(mr_grid((65, 65), (200, 200)), subsamples=2)
    others = [np.rot90(image, turns) for turns in (1, 2, 3)]
    others += [np.rot90(image.T, turns) for turns in range(4)]
    for other in others:
        assert np.linalg.norm(other - image) > 0.5 * np.linalg.norm(image)


def test_head_has_the_attenuation_of_tissues() -> None:
    image = head().image(VolumeGrid((256, 256), 0.9))
    hu = 1000 * (image / WATER - 1)
    at = lambda y, x: hu[round(127.5 + y / 0.9), round(127.5 + x / 0.9)]  # noqa: E731
    assert at(0, 50) == pytest.approx(38, abs=1e-6)  # brain
    assert at(-6, -14) == pytest.approx(8, abs=1e-6)  # ventricle
    assert at(40, -38) == pytest.approx(58, abs=1e-6)  # bleed
    assert at(-120 + 6, 0) == pytest.approx(-1000)  # air
    assert at(0, 69) == pytest.approx(850, abs=1e-6)  # skull
    assert hu.min() > -1010


def test_water_disc_is_water() -> None:
    profile = water_disc(80).line_integrals(ParallelBeam([0.3], 1))
    assert profile[0, 0] == pytest.approx(160 * WATER)


def test_shepp_logan_stands_upright_and_in_3d_agrees_in_the_middle() -> None:
    grid = mr_grid((64, 64), (240, 240))
    flat = shepp_logan().image(grid)
    solid = shepp_logan_3d().image(VolumeGrid((1, 64, 64), (0.1, *grid.spacing), (0, *grid.center)))
    # The large grey ellipse is anterior: at the top of the image, small y.
    assert flat[32 - 11, 32] == pytest.approx(0.3)
    assert flat[32 + 11, 32] == pytest.approx(0.2)
    assert np.abs(flat[32 - 11, 28:36] - solid[0, 32 - 11, 28:36]).max() < 1e-9
    assert flat.max() <= 1 + 1e-12


def test_extent_and_radius_hold_the_phantom() -> None:
    for name in PHANTOMS:
        made = phantom(name)
        assert made.name == name
        box = [1.02 * e for e in made.extent]
        inside = made.image(VolumeGrid((24,) * made.ndim, [e / 24 for e in box]), subsamples=4)
        whole = made.image(VolumeGrid((48,) * made.ndim, [e / 24 for e in box]), subsamples=4)
        assert np.abs(whole).sum() == pytest.approx(np.abs(inside).sum(), rel=1e-12)
    sino = head().line_integrals(ParallelBeam([0.0, 1.0, 2.0], 400, 1.0))
    outside = np.abs(np.arange(400) - 199.5) > head().radius
    assert not sino[:, outside].any()


@settings(max_examples=25, deadline=None)
@given(
    center=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    axes=st.tuples(st.floats(4, 60), st.floats(4, 60)),
    angle=st.floats(-4, 4),
    view=st.floats(0, 3.1),
    frequency=st.floats(-0.05, 0.05),
)
def test_projection_slice_theorem(
    center: tuple[float, float],
    axes: tuple[float, float],
    angle: float,
    view: float,
    frequency: float,
) -> None:
    """The 1D transform of a parallel view is the k-space on the line of its column axis."""
    shape = EllipsePhantom("any", (Ellipse(1.0, center, axes, angle),))
    geometry = ParallelBeam([view], 8192, 0.04)
    view_data, u = shape.line_integrals(geometry)[0], geometry.column_positions
    found = np.sum(view_data * np.exp(-2j * np.pi * frequency * u)) * 0.04
    expected = shape.kspace(frequency * np.array([np.sin(view), np.cos(view)]))
    assert abs(found - expected) < 1e-3 * np.pi * axes[0] * axes[1] + 1e-3


def test_bad_phantoms_are_refused() -> None:
    with pytest.raises(ValueError, match="semi_axes must be positive"):
        Ellipse(1.0, (0, 0), (0, 1))
    with pytest.raises(ValueError, match="center needs 2"):
        Ellipse(1.0, (0, 0, 0), (1, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs shapes of 3 dimensions"):
        EllipsoidPhantom("flat", (TILTED,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown phantom 'brain'.*shepp-logan"):
        phantom("brain")
    with pytest.raises(ValueError, match="geometry has 3"):
        head().line_integrals(GEOMETRIES_3D[0])
    with pytest.raises(ValueError, match="volume has 3"):
        head().image(VolumeGrid((4, 4, 4)))
