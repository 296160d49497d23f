"""CT methods end to end on an analytic head and on a real tooth."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.datasets import reference_image, simulate_ct


def rmse(image: sr.Image, truth: torch.Tensor) -> float:
    return float((image.data - truth).square().mean().sqrt())


@pytest.mark.parametrize("geometry", ["parallel", "fan"])
def test_few_views_need_tv(geometry: str) -> None:
    scan = simulate_ct(geometry=geometry, views=40, columns=256, photons=2e5, seed=0)
    truth = reference_image(scan).data
    fbp = rmse(sr.reconstruct(scan, "fbp"), truth)
    sirt = rmse(sr.reconstruct(scan, "sirt", iterations=60), truth)
    tv = rmse(sr.reconstruct(scan, "tv"), truth)
    assert sirt < fbp
    assert tv < 0.7 * sirt


def test_auto_looks_at_the_number_of_views() -> None:
    few = simulate_ct(geometry="parallel", views=20, columns=96)
    assert sr.reconstruct(few, iterations=2).metadata["method"] == "tv"
    many = simulate_ct(geometry="parallel", views=120, columns=96)
    image = sr.reconstruct(many)
    assert image.metadata["method"] == "fbp"
    assert "120 views" in image.metadata["reason"]


def test_tv_weight_does_not_depend_on_units() -> None:
    scan = simulate_ct(geometry="parallel", views=30, columns=96, photons=1e5, seed=0)
    grid = scan.grid
    one = sr.reconstruct(scan, "tv", iterations=20).data
    metres = sr.CTScan(
        scan.sinogram,
        sr.ParallelBeam(
            scan.geometry.angles, 96, column_spacing=scan.geometry.column_spacing / 1e3
        ),
        volume=sr.VolumeGrid(grid.shape, tuple(s / 1e3 for s in grid.spacing)),
    )
    other = sr.reconstruct(metres, "tv", iterations=20).data / 1e3
    assert float((one - other).norm() / one.norm()) < 1e-3


def test_volume_sets_the_grid_and_slices_become_space() -> None:
    one = simulate_ct(geometry="parallel", views=60, columns=96)
    stack = sr.CTScan(
        torch.stack([one.sinogram, 2 * one.sinogram]), one.geometry, slice_spacing=4.0
    )
    grid = sr.VolumeGrid((50, 60), (3.0, 2.0), center=(10.0, -5.0))
    image = sr.reconstruct(stack, "fbp", volume=grid)
    assert tuple(image.data.shape) == (2, 50, 60)
    assert image.spacing == (4.0, 3.0, 2.0)
    middle = image.affine @ [29.5, 24.5, 0.5, 1]
    np.testing.assert_allclose(middle[:3], [5, -10, 0], atol=1e-9)  # RAS+: x, y turned round
    torch.testing.assert_close(image.data[1], 2 * image.data[0])


def test_real_tooth_stands_out_of_the_air(data_dir) -> None:
    scan = sr.load(data_dir / "ct_raw" / "tooth.h5")
    assert scan.geometry.shape == (181, 640)
    image = sr.reconstruct(scan, "fbp")
    assert tuple(image.data.shape[:1]) == (2,)
    # The tooth is denser than the air around it, by far.
    middle = image.data[0, 280:360, 280:360].mean()
    corner = image.data[0, :40, :40].abs().mean()
    assert middle > 5 * corner


def test_auto_takes_every_geometry() -> None:
    """What is chosen runs, and an orbit that leaves rays out gets no analytic method."""
    turn = np.arange(60) * 2 * np.pi / 60
    distances = {"source_to_isocenter": 100.0, "source_to_detector": 160.0}
    cone = {"rows": 6, "columns": 40, "row_spacing": 1.0, "column_spacing": 1.0, **distances}
    modular = sr.ModularBeam(
        source=[[0.0, -100.0, 0.0]], detector_center=[[0.0, 60.0, 0.0]],
        row_vector=[[0.0, 0.0, 1.0]], column_vector=[[1.0, 0.0, 0.0]], rows=6, columns=40,
    )  # fmt: skip
    expected = {
        sr.ParallelBeam(turn[:30], 40): "fbp",
        sr.ParallelBeam(turn[:15], 40): "tv",
        sr.FanBeam(turn, 40, 1.0, **distances): "fbp",
        sr.FanBeam(turn[:25], 40, 1.0, **distances): "tv",
        sr.ConeBeam(turn, **cone): "fdk",
        sr.HelicalBeam(2 * turn, **cone, pitch=3.0): "wfbp",
        sr.HelicalBeam(2 * turn, **cone, pitch=9.0): "sirt",  # gaps
        modular: "sirt",
    }
    for geometry, method in expected.items():
        scan = sr.CTScan(torch.rand(geometry.shape), geometry)
        options = {} if method in ("fbp", "fdk", "wfbp") else {"iterations": 1}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # noise reaches the detector's edge
            image = sr.reconstruct(scan, **options)
        assert image.metadata["method"] == method, geometry
        assert torch.isfinite(image.data).all()


def test_tv_of_a_limited_angle() -> None:
    scan = simulate_ct(geometry="fan", views=240, columns=128, photons=None)
    truth = reference_image(scan).data
    part = scan[:97]  # 145 degrees
    with pytest.raises(ValueError, match="180° plus the fan"):
        sr.reconstruct(part, "fbp")
    assert rmse(sr.reconstruct(part, "tv"), truth) < 0.3 * float(truth.square().mean().sqrt())


def test_simulated_helix_end_to_end(tmp_path) -> None:
    scan = simulate_ct(geometry="helical", views=180, columns=160, photons=1e6, seed=0)
    image = sr.reconstruct(scan)
    assert image.metadata["method"] == "wfbp"
    assert "3.0 turns" in image.metadata["reason"]
    # The slices that the helix covers, at their place in space: RAS+ turns x and y, not z.
    assert image.spacing[0] == pytest.approx(1.5)
    z = image.affine @ [[0, 0], [0, 0], [0, image.data.shape[0] - 1], [1, 1]]
    assert z[2, 1] - z[2, 0] > 20
    assert abs(z[2].mean()) < 1
    grid = sr.VolumeGrid(tuple(image.data.shape), image.spacing, (float(z[2].mean()), 0.0, 0.0))
    truth = scan.header["phantom"].image(grid, subsamples=2)
    brain = (np.abs(truth / sr.datasets.phantoms.WATER - 1.038) < 0.04) & (image.data.numpy() != 0)
    ratio = image.data.numpy()[brain].mean() / truth[brain].mean()
    assert abs(ratio - 1) < 0.01
    sr.save(scan, tmp_path / "helix.h5")
    again = sr.load(tmp_path / "helix.h5")
    assert again.geometry == scan.geometry


def test_simulated_cone_end_to_end() -> None:
    scan = simulate_ct(geometry="cone", views=160, columns=128, photons=1e6, seed=0)
    image = sr.reconstruct(scan)
    assert image.metadata["method"] == "fdk"
    middle = slice(28, 36)  # near the plane of the orbit
    truth = reference_image(scan).data[middle].numpy()
    found = image.data[middle].numpy()
    brain = np.abs(truth / sr.datasets.phantoms.WATER - 1.038) < 0.04
    assert abs(found[brain].mean() / truth[brain].mean() - 1) < 0.01


def test_noise_in_air_is_no_truncation() -> None:
    scan = simulate_ct("water", geometry="parallel", views=200, columns=96, photons=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sr.reconstruct(scan, "fbp")


def test_iterative_methods_warn_of_truncation() -> None:
    scan = simulate_ct(geometry="parallel", views=30, columns=96)
    narrow = sr.ParallelBeam(scan.geometry.angles, 40, scan.geometry.column_spacing)
    cut = sr.CTScan(scan.sinogram[:, 28:68], narrow)
    for method in ("sirt", "tv"):
        with pytest.warns(UserWarning, match="reaches beyond the detector's edge"):
            sr.reconstruct(cut, method, iterations=1)
