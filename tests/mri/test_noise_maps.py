"""g-factors and noise: closed form, pseudo replicas and the inverse itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import dense
from mri_cases import regular

from spinray.datasets import birdcage
from spinray.datasets.phantoms import mr_grid
from spinray.recon.mri import pseudo_replicas, sense_g_factor, snr_units
from spinray.recon.operators import Sense
from spinray.recon.solvers import conjugate_gradient


def coil_maps(n: int = 24, coils: int = 8) -> torch.Tensor:
    grid = mr_grid((n, n), (240.0, 240.0))
    maps = torch.from_numpy(birdcage(coils, (240.0, 240.0)).maps(grid)).to(torch.complex64)
    return maps / torch.linalg.vector_norm(maps, dim=0)


@pytest.mark.parametrize("pattern", ["rows", "columns", "2x2", "caipirinha"])
def test_closed_form_is_the_diagonal_of_the_inverse(pattern):
    maps = coil_maps(12).to(torch.complex128)
    maps = maps / torch.linalg.vector_norm(maps, dim=0)
    mask = {
        "rows": regular((12, 12), 3),
        "columns": regular((12, 12), 1, 2).roll(1, 1),
        "2x2": regular((12, 12), 2, 2),
        "caipirinha": (torch.arange(12)[:, None] + 2 * torch.arange(12)) % 4 == 0,
    }[pattern]
    A = dense(Sense(maps, mask=mask))
    covariance = torch.linalg.inv(A.mH @ A).diagonal().real
    acceleration = mask.numel() / int(mask.sum())
    expected = (covariance / acceleration).sqrt().reshape(12, 12)
    g = sense_g_factor(maps, mask)
    torch.testing.assert_close(g, expected, rtol=1e-8, atol=0)
    assert float(g.min()) >= 1


@pytest.mark.parametrize("acceleration", [2, 3, 4])
def test_pseudo_replicas_agree_within_three_percent(acceleration):
    maps, mask = coil_maps().to(torch.complex128), regular((24, 24), acceleration)
    A = Sense(maps, mask=mask)
    matrix = dense(A)
    inverse = torch.linalg.solve(matrix.mH @ matrix, matrix.mH)
    kspace = A(torch.ones(24, 24, dtype=torch.complex128))
    std = pseudo_replicas(
        lambda k: (inverse @ k.flatten()).reshape(24, 24), kspace, mask, replicas=800, seed=1
    )
    ratio = std * (2 / acceleration) ** 0.5 / sense_g_factor(maps, mask)
    assert abs(float(ratio.mean()) - 1) < 0.01
    # Each pixel is known to 1 / sqrt(4 * 800) = 1.8 %.
    assert float((ratio - 1).abs().quantile(0.85)) < 0.03
    assert float(ratio.std()) == pytest.approx(0.018, rel=0.2)


def test_snr_units_have_noise_of_one():
    """Repeated noisy measurements: the image in SNR units varies by one in each channel."""
    maps, mask = coil_maps(), regular((24, 24), 2)
    A, truth = Sense(maps, mask=mask), 30 * torch.ones(24, 24, dtype=torch.complex64)
    g = sense_g_factor(maps, mask)
    generator = torch.Generator().manual_seed(3)
    images = []
    for _ in range(200):
        noise = torch.randn(8, 24, 24, dtype=torch.complex64, generator=generator) * mask
        image = conjugate_gradient(A, A(truth) + noise, iterations=40)
        images.append(snr_units(image, g, maps, 2))
    assert float(torch.stack(images).std(0).mean()) == pytest.approx(1, abs=0.02)
    mean = 30 / (g * (2 / 2) ** 0.5)
    torch.testing.assert_close(torch.stack(images).mean(0), mean, rtol=0.02, atol=0.2)


def test_pixels_without_object_take_no_part():
    maps = coil_maps()
    maps[:, :8] = 0
    g = sense_g_factor(maps, regular((24, 24), 2))
    assert not g[:8].any()
    torch.testing.assert_close(g[12:20], torch.ones(8, 24))  # what folds onto them is empty


def test_replicas_follow_their_seed_and_take_magnitudes():
    kspace = torch.zeros(2, 8, 8, dtype=torch.complex64)
    mask = torch.ones(8, 8, dtype=torch.bool)
    runs = [pseudo_replicas(lambda k: k, kspace, mask, replicas=400, seed=s) for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert float(runs[0].mean()) == pytest.approx(0.5**0.5, rel=0.02)
    bright = pseudo_replicas(lambda k: (k + 100).abs(), kspace, mask, replicas=400)
    assert float(bright.mean()) == pytest.approx(0.5**0.5, rel=0.02)


def test_bad_input():
    maps = coil_maps()
    with pytest.raises(ValueError, match="no lattice"):
        sense_g_factor(maps, regular((24, 24), 2, centre=6))
    with pytest.raises(ValueError, match="no lattice"):
        sense_g_factor(maps, regular((24, 24), 5))
    with pytest.raises(ValueError, match="no lattice"):
        sense_g_factor(maps, torch.zeros(24, 24, dtype=torch.bool))
    with pytest.raises(ValueError, match="does not fit the maps' axes"):
        sense_g_factor(maps, regular((30, 24), 2))
    with pytest.raises(ValueError, match="4 pixels fold onto each other in 2 coils"):
        sense_g_factor(maps[:2], regular((24, 24), 4))
    with pytest.raises(ValueError, match="complex"):
        sense_g_factor(maps.abs(), regular((24, 24), 2))
    with pytest.raises(ValueError, match="2 or more"):
        pseudo_replicas(lambda k: k, maps, replicas=1)
    assert np.isfinite(sense_g_factor(maps, regular((24, 24), 8)).numpy()).all()
