from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spinray.recon import ct

EXPECTED = torch.linspace(0, 3, 6)


@pytest.mark.parametrize("shape", [(), (6,), (4, 6), (5, 1, 6)])
def test_blank_shapes_of_a_row_of_columns(shape):
    """(slice, view, column) with a number, columns, frames, and frames of each slice."""
    counts = 900 * torch.exp(-EXPECTED).expand(5, 7, 6) + 100
    blank = torch.full(shape, 1000.0)
    if len(shape) > 1:  # frames around the mean
        blank = torch.cat([blank - 50, blank + 50], dim=-2)
    p = ct.line_integrals(counts, blank, torch.full(shape, 100.0), detector_ndim=1)
    torch.testing.assert_close(p, EXPECTED.expand(5, 7, 6), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 6), (10, 3, 6)])
def test_blank_shapes_of_rows_and_columns(shape):
    gain = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) + 1
    counts = (900 * torch.exp(-EXPECTED) * gain + 100).expand(7, 3, 6)
    p = ct.line_integrals(counts, (900 * gain + 100).expand(shape), 100.0)
    torch.testing.assert_close(p, EXPECTED.expand(7, 3, 6), atol=1e-5, rtol=1e-5)


def test_dead_readings_are_floored_and_finite():
    p = ct.line_integrals(torch.tensor([[-5.0, 0.0, 50.0]]), 100.0)
    assert p[0, 0] == p[0, 1] == pytest.approx(-math.log(1e-6), rel=1e-5)
    assert p[0, 2] == pytest.approx(math.log(2))


def test_integers_and_doubles():
    counts = torch.tensor([[100, 50]], dtype=torch.int32)
    assert ct.line_integrals(counts, 100).dtype == torch.float32
    assert ct.line_integrals(counts.double(), 100).dtype == torch.float64


def test_clear_errors():
    counts = torch.ones(4, 6)
    with pytest.raises(ValueError, match="blank"):
        ct.line_integrals(counts, None)
    with pytest.raises(ValueError, match="5 of 6"):
        ct.line_integrals(counts, torch.tensor([0.0, 1, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"blank has shape \(5,\)"):
        ct.line_integrals(counts, torch.ones(5))
    with pytest.raises(ValueError, match="NaN"):
        ct.line_integrals(counts * math.nan, 1.0)


def test_counts_have_poisson_mean_and_variance():
    sinogram = torch.full((200, 500), 1.0, dtype=torch.float64)
    photons = torch.linspace(1e3, 2e4, 500, dtype=torch.float64)
    counts = ct.simulate_counts(sinogram, photons, seed=3)
    expected = photons * math.exp(-1)
    assert torch.equal(counts, ct.simulate_counts(sinogram, photons, seed=3))
    assert torch.equal(counts, counts.round())
    ratio = counts.mean(0) / expected
    assert abs(float(ratio.mean()) - 1) < 1e-3
    assert float((counts.var(0) / expected).mean()) == pytest.approx(1, abs=0.02)
    noisy = ct.simulate_counts(torch.full((200, 500), 30.0), 1e3, seed=1, electronic_noise=8.0)
    assert float(noisy.std()) == pytest.approx(8, rel=0.02)
    assert float(noisy.min()) < 0
    with pytest.raises(ValueError, match="photons must be positive"):
        ct.simulate_counts(sinogram, 0.0)


def test_hounsfield_units():
    mu = torch.tensor([0.0, 0.02, 0.04])
    np.testing.assert_allclose(ct.to_hounsfield(mu, 0.02), [-1000, 0, 1000], atol=1e-3)
    torch.testing.assert_close(ct.from_hounsfield(ct.to_hounsfield(mu)), mu)
    with pytest.raises(ValueError, match="water"):
        ct.to_hounsfield(mu, 0.0)
