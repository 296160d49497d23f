"""Geometries to and from ASTRA's dictionaries; by its own projector where it is installed."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", CIRCULAR)
def test_circles_come_back_from_vectors(name):
    geometry = CIRCULAR[name]
    back = sr.from_astra(geometry.to_astra())
    assert type(back) is type(geometry)
    for field in ("columns", "column_spacing", "column_offset", "angles"):
        np.testing.assert_allclose(getattr(back, field), getattr(geometry, field), atol=1e-9)
    if name == "fan":
        assert back.source_to_isocenter == pytest.approx(100)
        assert back.source_to_detector == pytest.approx(150)


@pytest.mark.parametrize("name", VOLUMES)
def test_vectors_of_a_volume_give_the_same_line_integrals(name):
    geometry = VOLUMES[name]
    back = sr.from_astra(geometry.to_astra())
    assert isinstance(back, sr.ModularBeam)
    assert sr.from_astra(back.to_astra()) == back
    grid = sr.VolumeGrid((10, 16, 16), (2.0, 2.0, 2.0))
    image = np.random.default_rng(0).random(grid.shape)
    expected = Projector(geometry, grid, model="joseph").forward(image)
    np.testing.assert_allclose(Projector(back, grid).forward(image), expected, atol=1e-9)


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
    wobbling = CIRCULAR["fan"].to_astra()
    wobbling["Vectors"][3, :2] *= 1.1
    with pytest.raises(ValueError, match="source's distance runs from 100 to 110"):
        sr.from_astra(wobbling)
    mirrored = CIRCULAR["fan"].to_astra()
    mirrored["Vectors"][:, 4:] *= -1
    with pytest.raises(ValueError, match="clockwise"):
        sr.from_astra(mirrored)


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
    width = np.linalg.norm(detector[-1] - detector[0])
    assert width == pytest.approx(60 if name == "parallel" else 80, rel=0.02)
    assert np.ptp(box[:, 0]) == pytest.approx(geometry.default_volume().extent[-1])
    with pytest.raises(ValueError, match="volume"):
        geometry.plot(sr.VolumeGrid((4,) * (5 - geometry.ndim)))
