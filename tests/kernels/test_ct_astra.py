"""Geometries to and from ASTRA's dictionaries; by its own projector where it is installed."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

import spinray as sr
from spinray.kernels.ct import Projector

ANGLES = np.linspace(0, 2 * np.pi, 12, endpoint=False) + 0.1
TURNS = np.linspace(0, 6 * np.pi, 30)
CIRCULAR = {
    "parallel": sr.ParallelBeam(ANGLES, 40, 1.5, column_offset=0.25),
    "fan": sr.FanBeam(ANGLES, 40, 2.0, 100.0, 150.0, column_offset=-0.5),
}
VOLUMES = {
    "cone": sr.ConeBeam(ANGLES, 8, 40, 2.5, 2.0, 100.0, 150.0, row_offset=1.0, column_offset=0.25),
    "helix": sr.HelicalBeam(TURNS, 8, 40, 2.5, 2.0, 100.0, 150.0, pitch=12.0),
}


@pytest.mark.parametrize("name", [*CIRCULAR, *VOLUMES])
def test_orbits_come_back_from_vectors(name):
    geometry = (CIRCULAR | VOLUMES)[name]
    back = sr.from_astra(geometry.to_astra())
    assert type(back) is type(geometry)
    for field in dataclasses.fields(geometry):
        found, expected = (getattr(g, field.name) for g in (back, geometry))
        if field.name == "detector":
            assert found == expected
        else:
            np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=field.name)


def test_many_turns_on_one_circle_come_back():
    cone = VOLUMES["cone"]
    vectors = cone.to_astra()
    vectors["Vectors"] = np.tile(vectors["Vectors"], (4, 1))
    back = sr.from_astra(vectors)
    assert isinstance(back, sr.ConeBeam)
    np.testing.assert_allclose(np.cos(back.angles), np.tile(np.cos(cone.angles), 4), atol=1e-9)
    np.testing.assert_allclose(np.sin(back.angles), np.tile(np.sin(cone.angles), 4), atol=1e-9)


CHANGES = {  # to ASTRA's source, detector centre, column step, row step
    "source moves": lambda v: v[3, 0:3].__imul__(1.01),
    "source beside": lambda v: v[:, 0:3].__iadd__(0.3 * v[:, 6:9]),
    "detector moves": lambda v: v[5, 3:6].__iadd__(v[5, 6:9]),
    "rotated in its plane": lambda v: v[:, 6:9].__iadd__(0.02 * v[:, 9:12]),
    "tilted": lambda v: v[:, 9:12].__iadd__(0.02 * v[:, 0:3]),
    "rows downward": lambda v: v[:, 9:12].__imul__(-1),
    "columns clockwise": lambda v: v[:, 6:9].__imul__(-1),
    "off the plane": lambda v: (v[:, 2].__iadd__(4.0), v[:, 5].__iadd__(4.0)),
    "one pitch more": lambda v: v[7, 6:9].__imul__(1.1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", VOLUMES)
def test_other_vectors_of_a_volume_are_modular(name, change):
    """And give the line integrals of the vectors as they are."""
    vectors = VOLUMES[name].to_astra()
    CHANGES[change](vectors["Vectors"])
    back = sr.from_astra(vectors)
    assert isinstance(back, sr.ModularBeam)
    np.testing.assert_array_equal(back.to_astra()["Vectors"], vectors["Vectors"])
    assert sr.from_astra(back.to_astra()) == back


@pytest.mark.parametrize("name", VOLUMES)
def test_a_recognised_orbit_gives_the_line_integrals_of_its_vectors(name):
    geometry = VOLUMES[name]
    source, center, column, row = np.split(geometry.to_astra()["Vectors"], 4, axis=1)
    modular = sr.ModularBeam(source, center, row, column, geometry.rows, geometry.columns)
    back = sr.from_astra(modular.to_astra())
    assert not isinstance(back, sr.ModularBeam)
    grid = sr.VolumeGrid((10, 16, 16), (2.0, 2.0, 2.0))
    image = np.random.default_rng(0).random(grid.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the helix passes by
        found = Projector(back, grid, model="joseph").forward(image)
        expected = Projector(modular, grid).forward(image)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("turn", [1, -1])
def test_fans_off_a_circle_are_one_row_of_a_modular_beam(turn):
    fan = CIRCULAR["fan"]
    vectors = fan.to_astra()
    vectors["Vectors"][:, 4:] *= turn
    vectors["Vectors"][3, :2] *= 1.1
    back = sr.from_astra(vectors)
    assert back.shape == (12, 1, 40)
    plane = sr.VolumeGrid((16, 16), 2.0)
    image = np.random.default_rng(0).random((1, 16, 16))
    found = Projector(back, sr.VolumeGrid((1, 16, 16), 2.0)).forward(image)[:, 0]
    expected = Projector(fan, plane, model="joseph").forward(image[0])
    same = np.arange(12) != 3
    np.testing.assert_allclose(found[same, ::turn], expected[same], atol=1e-9)
    assert np.abs(found[3, ::turn] - expected[3]).max() > 0.1


@pytest.mark.peer
@pytest.mark.parametrize("name", CIRCULAR)
def test_astra_projects_along_the_same_lines(name):
    astra = pytest.importorskip("astra")
    geometry = CIRCULAR[name]
    grid = sr.VolumeGrid((32, 32), (1.2, 1.2))
    y, x = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    image = np.exp(-((x - 5) ** 2 + (y + 4) ** 2) / 40)
    half = grid.extent[0] / 2
    volume = astra.create_vol_geom(32, 32, -half, half, -half, half)
    kind = {"parallel": "line", "fan": "line_fanflat"}[name]
    projector = astra.create_projector(kind, geometry.to_astra(), volume)
    _, sinogram = astra.create_sino(np.ascontiguousarray(image[::-1]), projector)
    mine = Projector(geometry, grid).forward(image)
    assert np.linalg.norm(mine - sinogram) < 0.02 * np.linalg.norm(sinogram)


def test_dictionaries_by_angles():
    parallel = {
        "type": "parallel", "DetectorCount": 40, "DetectorWidth": 1.5, "ProjectionAngles": ANGLES
    }  # fmt: skip
    assert sr.from_astra(parallel) == sr.ParallelBeam(ANGLES, 40, 1.5)
    distances = {"DistanceOriginSource": 100.0, "DistanceOriginDetector": 50.0}
    fan = {**parallel, **distances, "type": "fanflat"}
    assert sr.from_astra(fan) == sr.FanBeam(ANGLES, 40, 1.5, 100.0, 150.0)
    cone = {
        **distances, "type": "cone", "DetectorRowCount": 8, "DetectorColCount": 40,
        "DetectorSpacingX": 2.0, "DetectorSpacingY": 2.5, "ProjectionAngles": ANGLES,
    }  # fmt: skip
    assert sr.from_astra(cone) == sr.ConeBeam(ANGLES, 8, 40, 2.5, 2.0, 100.0, 150.0)


def test_what_has_no_counterpart_is_named():
    with pytest.raises(ValueError, match="curved"):
        sr.FanBeam(ANGLES, 40, 2.0, 100.0, 150.0, "curved").to_astra()
    with pytest.raises(ValueError, match="'sparse_matrix'"):
        sr.from_astra({"type": "sparse_matrix"})
    with pytest.raises(ValueError, match="lacks 'DetectorCount'"):
        sr.from_astra({"type": "fanflat_vec", "Vectors": np.zeros((3, 6))})
    with pytest.raises(ValueError, match=r"\(3, 5\), expected \(view, 6\)"):
        sr.from_astra({"type": "fanflat_vec", "Vectors": np.zeros((3, 5)), "DetectorCount": 4})
    with pytest.raises(ValueError, match="NaN or infinity in Vectors"):
        sr.from_astra({"type": "parallel_vec", "Vectors": [[np.nan] * 6], "DetectorCount": 4})
    with pytest.raises(ValueError, match="a stack of slices"):
        sr.from_astra({"type": "parallel3d"})
    shifted = CIRCULAR["parallel"].to_astra()
    shifted["Vectors"][3, 2:4] *= 3
    with pytest.raises(ValueError, match="the detector's offset runs from 0.375 to 1.125"):
        sr.from_astra(shifted)


@pytest.mark.parametrize("name", [*CIRCULAR, *VOLUMES, "modular", "curved"])
def test_plot_shows_orbit_detector_and_image(name):
    geometry = {
        **CIRCULAR, **VOLUMES, "modular": sr.from_astra(VOLUMES["cone"].to_astra()),
        "curved": sr.FanBeam(ANGLES, 40, 2.0, 100.0, 150.0, "curved"),
    }[name]  # fmt: skip
    figure = geometry.plot(view=2)
    assert len(figure.axes) == geometry.ndim - 1
    lines = {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}
    detector, box = lines["detector"], lines["image"]
    if name != "parallel":
        source = lines["source, view 2"][0]
        assert np.hypot(*source) == pytest.approx(100)
        distance = np.linalg.norm(detector - source, axis=1)
        assert distance.min() == pytest.approx(150, rel=1e-3)
        assert (distance.max() < 150.001) == (name == "curved")
    width = np.linalg.norm(detector - detector[0], axis=1).max()
    assert width == pytest.approx(60 if name == "parallel" else 80, rel=0.02)
    assert np.ptp(box[:, 0]) == pytest.approx(geometry.default_volume().extent[-1])
    if geometry.ndim == 3:
        _, source, outline, *_, box = (line.get_xydata() for line in figure.axes[1].get_lines())
        detector = outline[[0, len(outline) // 2]]
        height = TURNS[2] / np.pi * 6 if name == "helix" else 0
        np.testing.assert_allclose(source[0], [-100, height], atol=0.01)
        edges = np.array([-10.0, 10.0]) + (0.0 if name == "helix" else 2.5)
        np.testing.assert_allclose(detector[:, 0], 50, atol=0.2)  # its corners
        np.testing.assert_allclose(detector[:, 1], source[0, 1] + edges)
        size = np.array(geometry.default_volume().extent)
        turned = TURNS[2] if name == "helix" else ANGLES[2]
        across = np.abs([np.sin(turned), np.cos(turned)]) @ size[:0:-1]
        np.testing.assert_allclose(np.ptp(box, axis=0), [across, size[0]], rtol=0.005)
    with pytest.raises(ValueError, match="volume"):
        geometry.plot(sr.VolumeGrid((4,) * (5 - geometry.ndim)))


def test_plot_from_the_side_shows_a_detector_that_lies_flat():
    """Tomosynthesis: rays run down on a panel of 30 x 20 mm; the side is along x, not along y."""
    source = np.array([[-50.0, 0, 200], [50, 0, 200]])
    steps = np.tile([0.0, 1, 0], (2, 1)), np.tile([1.0, 0, 0], (2, 1))
    beam = sr.ModularBeam(source, np.tile([0.0, 0, -10], (2, 1)), *steps, 20, 30)
    figure = beam.plot(sr.VolumeGrid((4, 12, 16), center=(0, 5, 3)))
    _, _, detector, *_, box = (line.get_xydata() for line in figure.axes[1].get_lines())
    np.testing.assert_allclose([detector[:, 0].min(), detector[:, 0].max()], [-15, 15])
    np.testing.assert_allclose(detector[:, 1], -10)
    np.testing.assert_allclose([box.min(0), box.max(0)], [[-5, -2], [11, 2]])
    assert len(beam[:1].plot().axes) == 2
    above = sr.ModularBeam(source * [0, 1, 1], np.tile([0.0, 0, -10], (2, 1)), *steps, 20, 30)
    side = above.plot().axes[1]
    assert np.isfinite(np.concatenate([line.get_xydata() for line in side.get_lines()])).all()
