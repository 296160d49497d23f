import math

import pytest
import torch
from mri_cases import nrmse

import spinray as sr
from spinray.datasets import reference_image, simulate_mr
from spinray.datasets.trajectories import kooshball, radial, spiral
from spinray.recon.mri import radial_density, spiral_density, voronoi_density


def test_weights_fill_the_disc():
    """Radial and spiral samples of a disc of diameter N stand for its pi/4 N^2 cells in all."""
    disc = math.pi / 4 * 48**2
    spokes = radial(90, 96)
    assert float(radial_density(spokes, (48, 48), 96).sum()) == pytest.approx(disc, rel=0.01)
    assert float(voronoi_density(spokes, (48, 48)).sum()) == pytest.approx(disc, rel=0.03)
    turns = spiral(16, 600, 1.5)
    assert float(spiral_density(turns, (48, 48), 600).sum()) == pytest.approx(disc, rel=0.02)
    assert float(voronoi_density(turns, (48, 48)).sum()) == pytest.approx(disc, rel=0.02)


def test_radial_agrees_with_voronoi_inside():
    k = radial(75, 48)  # golden angles: gaps of several sizes
    inside = (k.norm(dim=1) < 0.4) & (k.norm(dim=1) > 0.05)
    a, b = radial_density(k, (48, 48), 48), voronoi_density(k, (48, 48))
    assert float((a - b)[inside].norm() / a[inside].norm()) < 0.1
    half = k.reshape(75, 48, 2)[:, 24:].reshape(-1, 2)
    assert float(radial_density(half, (48, 48), 24).sum()) == pytest.approx(
        math.pi / 4 * 48**2, rel=0.05
    )
    inward = half.reshape(75, 24, 2).flip(1)
    torch.testing.assert_close(
        radial_density(inward.reshape(-1, 2), (48, 48), 24).reshape(75, 24).flip(1),
        radial_density(half, (48, 48), 24).reshape(75, 24),
    )


def test_cartesian_grid_is_one_each():
    for shape in ((12, 10), (5, 4, 6)):
        axes = [(torch.arange(n) - n // 2) / n for n in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
        torch.testing.assert_close(voronoi_density(grid, shape), torch.ones(len(grid)), rtol=1e-3,
                                   atol=0)  # fmt: skip
        twice = voronoi_density(torch.cat([grid, grid]), shape)
        torch.testing.assert_close(twice, torch.full((2 * len(grid),), 0.5), rtol=1e-3, atol=0)


def test_shells_of_a_kooshball():
    k = kooshball(400, 24)
    total = float(radial_density(k, (24, 24, 24), 24).sum())
    assert total == pytest.approx(math.pi / 6 * 24**3, rel=0.02)


@pytest.mark.parametrize(("trajectory", "kind"), [("radial", "radial"), ("spiral", "spiral"),
                                                  ("radial", "voronoi")])  # fmt: skip
def test_gridding_with_them(trajectory, kind):
    scan = simulate_mr("head", matrix=64, coils=1, trajectory=trajectory)
    truth = reference_image(scan).data
    pipe = nrmse(sr.reconstruct(scan, "gridding").data, truth)
    assert nrmse(sr.reconstruct(scan, "gridding", density=kind).data, truth) < 1.15 * pipe


def test_bad_input():
    with pytest.raises(ValueError, match="readouts of 7"):
        radial_density(radial(5, 48), (48, 48), 7)
    with pytest.raises(ValueError, match="spirals are 2D"):
        spiral_density(kooshball(10, 8), (8, 8, 8), 8)
    with pytest.raises(ValueError, match="2 or 3"):
        voronoi_density(torch.zeros(5), (8, 8))
    scan = simulate_mr("head", matrix=32, coils=1, trajectory="radial").replace(readout_length=None)
    with pytest.raises(ValueError, match="try voronoi"):
        sr.reconstruct(scan, "gridding", density="radial")
