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


def test_readings_without_photons_take_their_neighbours_mean():
    """Gain unknown: the smallest window whose mean is positive; without any, 1e-6 of the blank."""
    p = ct.line_integrals(torch.tensor([[-5.0, 0.0, 50.0]]), 100.0)
    assert p[0, 0] == pytest.approx(-math.log(0.15), rel=1e-5)  # of all three
    assert p[0, 1] == pytest.approx(-math.log(0.15), rel=1e-5)
    assert p[0, 2] == pytest.approx(math.log(2))
    nothing = torch.full((1, 200), -1.0)
    nothing[0, 0] = 50.0
    far = ct.line_integrals(nothing, 100.0)
    assert far[0, 150] == pytest.approx(-math.log(1e-6), rel=1e-5)


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
    with pytest.raises(ValueError, match="no beam reached"):
        ct.line_integrals(0 * counts, 1.0)
    with pytest.raises(ValueError, match="no beam reached"):
        ct.line_integrals(counts, 3.0, 2.0)
    shut = torch.full((9, 6), 50.0)
    shut[[3, 5]] = 0.0
    with pytest.raises(ValueError, match="2 of 9 views brought no beam, the first is view 3"):
        ct.line_integrals(shut, 100.0)
    shut[[3, 5]], shut[:, 2] = 50.0, -1.0
    with pytest.warns(UserWarning, match="16.7% of the readings do not exceed the dark"):
        ct.line_integrals(shut, 100.0)
    with pytest.raises(ValueError, match="one value for each of 4 views"):
        ct.line_integrals(counts, 2.0, monitor=torch.ones(3))
    with pytest.raises(ValueError, match=r"bad must be bool .*\(6,\)"):
        ct.line_integrals(counts, torch.full((6,), 2.0), bad=torch.zeros(5, dtype=torch.bool))
    with pytest.raises(ValueError, match="gain must be positive"):
        ct.line_integrals(counts, 2.0, gain=0.0)


def test_a_monitor_takes_the_drift_of_the_beam():
    beam = torch.linspace(1.0, 0.9, 7)
    counts = 1000 * torch.exp(-EXPECTED) * beam[:, None]
    p = ct.line_integrals(counts, 1000.0, monitor=beam)
    torch.testing.assert_close(p, EXPECTED.expand(7, 6), atol=1e-5, rtol=1e-5)
    drift = ct.linear_monitor(torch.full((3, 6), 1100.0), torch.full((3, 6), 900.0), 4, 100.0)
    torch.testing.assert_close(drift, torch.tensor([0.975, 0.925, 0.875, 0.825]).double())
    with pytest.raises(ValueError, match="exceed the dark"):
        ct.linear_monitor(torch.ones(3), torch.ones(3), 4, 2.0)


def test_air_columns_take_level_and_tilt_of_each_view():
    truth = torch.zeros(40, 60)
    truth[:, 20:40] = 2.0
    drift = 0.1 * torch.rand(40, 1, generator=torch.Generator().manual_seed(0))
    tilt = torch.linspace(0, 0.05, 60)
    found = ct.normalize_air(truth + drift + tilt, 8)
    torch.testing.assert_close(found, truth, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="1 to 15"):
        ct.normalize_air(truth, 16)
    swaying = torch.stack([truth[0].roll(n) for n in range(40)])
    with pytest.raises(ValueError, match="do not see air only"):
        ct.normalize_air(swaying, 8)


def test_bad_pixels_are_found_and_bridged():
    generator = torch.Generator().manual_seed(0)
    expected = torch.linspace(0.5, 1.5, 80)
    blank = torch.poisson(torch.full((20, 80), 1e4), generator=generator)
    swing = torch.linspace(0, 1, 30)[:, None]
    counts = torch.poisson(1e4 * torch.exp(-expected - swing), generator=generator)
    blank[:, 5] = 0  # dead
    blank[:, 20] *= 4  # odd
    blank[::2, 33] += 5e3  # noisy
    counts[:, 50] = 5e3  # stuck
    bad = ct.bad_pixels(blank, 0.0, counts)
    assert bad.nonzero().flatten().tolist() == [5, 20, 33, 50]
    with pytest.warns(UserWarning, match="4 of 80 detector pixels are dead .* or bad"):
        p = ct.line_integrals(counts, blank, bad=bad)
    torch.testing.assert_close(p, expected + swing, atol=0.2, rtol=0)
    saturated = ct.bad_pixels(torch.linspace(900, 1100, 30), saturation=1050.0)
    assert int(saturated.sum()) == 8
    counts[4:, 60:78] = 65535.0  # wider than the neighbours that tell what is stuck
    clipped = ct.bad_pixels(blank, 0.0, counts, saturation=65535.0)
    assert clipped[60:78].all()
    with pytest.raises(ValueError, match="30 of 30 pixels .* saturated"):
        ct.bad_pixels(torch.full((30,), 65535.0), saturation=65535.0)
    with pytest.raises(ValueError, match="all zero"):
        ct.bad_pixels(torch.zeros(30))


def test_pixels_that_broke_during_the_scan_are_bridged():
    expected = torch.linspace(0.5, 1.5, 80)
    counts = 1e4 * torch.exp(-expected).repeat(30, 1)
    counts[:, 40:42] = 0
    with pytest.warns(UserWarning, match="2 of 80 detector pixels are dead .*2 of them dark"):
        p = ct.line_integrals(counts, torch.full((80,), 1e4))
    torch.testing.assert_close(p, expected.expand(30, 80), atol=1e-4, rtol=0)
    starved = torch.poisson(torch.full((30, 80), 5e-2), generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="do not exceed the dark one") as told:
        ct.line_integrals(starved, 1e4)  # dark in every view by chance, as their neighbours are
    assert not any("dead" in str(w.message) for w in told)


def test_saturated_readings_are_told():
    counts = torch.full((30, 80), 2e4)
    counts[3:, 40:44] = 65535.0
    with pytest.warns(UserWarning, match=r"108 of 2400 readings are 65535, a converter's full"):
        ct.line_integrals(counts, 2e4)
    counts[3:, 40:44] = 5e4
    with pytest.warns(UserWarning, match="4.5% of the readings are more than 2 times the blank"):
        ct.line_integrals(counts, 2e4)


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
