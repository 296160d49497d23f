"""Simulated counts: mean and variance against theory, the dose, the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spinray.recon import ct


def moments(counts: torch.Tensor) -> tuple[float, float]:
    return float(counts.double().mean()), float(counts.double().var())


@pytest.mark.parametrize("integral", [0.0, 1.5, 4.0])
@pytest.mark.parametrize("dose", [0.1, 1.0])
@pytest.mark.parametrize("electronic", [0.0, 7.0])
def test_mean_and_variance(integral, dose, electronic) -> None:
    """Poisson of the attenuated dose, and the readout's variance on top whatever the dose."""
    sinogram = torch.full((500, 400), integral, dtype=torch.float64)
    counts = ct.simulate_counts(
        sinogram, 2e3, dose=dose, electronic_noise=electronic, seed=int(10 * dose)
    )
    expected = 2e3 * dose * np.exp(-integral)
    variance = expected + electronic**2
    mean, found = moments(counts)
    n = counts.numel()
    assert mean == pytest.approx(expected, abs=5 * (variance / n) ** 0.5)
    # The fourth moment of a Poisson count gives its sample variance a spread of its own.
    spread = ((expected + 2 * variance**2) / n) ** 0.5
    assert found == pytest.approx(variance, abs=5 * spread)
    if electronic == 0:
        assert torch.equal(counts, counts.round())


def test_a_tenth_of_the_dose_is_ten_times_the_variance() -> None:
    sinogram = torch.full((300, 400), 1.0)
    noise = []
    for dose in (1.0, 0.1):
        counts = ct.simulate_counts(sinogram, 1e5, dose=dose, seed=2)
        noise.append(moments(ct.line_integrals(counts, dose * 1e5))[1])
    assert noise[1] / noise[0] == pytest.approx(10, rel=0.03)
    assert noise[0] == pytest.approx(np.e / 1e5, rel=0.03)


def test_bow_tie_blank_scan_and_modulated_current() -> None:
    """Photons fall towards the edge, the current doubles from the first view to the last."""
    photons = torch.linspace(500, 2000, 8)
    rng = torch.Generator().manual_seed(0)
    blank = torch.poisson(photons.expand(4000, 8), generator=rng)
    current = torch.linspace(1, 2, 5)[:, None]
    sinogram = torch.full((4000, 5, 8), 0.7)
    expected = current * photons * np.exp(-0.7)
    for level in ({"photons": photons}, {"blank": blank}):
        counts = ct.simulate_counts(sinogram, dose=current, seed=1, **level)
        torch.testing.assert_close(counts.mean(0), expected, rtol=0.01, atol=0)
        torch.testing.assert_close(counts.var(0), expected, rtol=0.15, atol=0)


def test_a_detector_with_rows_takes_a_blank_frame_of_rows() -> None:
    blank = torch.tensor([[1e4, 2e4, 3e4], [4e4, 5e4, 6e4]])
    counts = ct.simulate_counts(torch.zeros(2000, 2, 3), blank=blank, seed=4)
    torch.testing.assert_close(counts.mean(0), blank, rtol=2e-3, atol=0)


def test_readings_below_zero_occur_at_the_lowest_doses() -> None:
    counts = ct.simulate_counts(torch.full((50, 50), 8.0), 1e3, electronic_noise=5.0)
    assert float(counts.min()) < 0
    assert bool(torch.isfinite(ct.line_integrals(counts, 1e3)).all())


def test_a_seed_is_a_scan() -> None:
    sinogram = torch.ones(20, 30)
    first, again, other = (
        ct.simulate_counts(sinogram, 1e3, electronic_noise=3.0, seed=s) for s in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(
        first, ct.simulate_counts(sinogram, 1e3, electronic_noise=3.0, seed=generator)
    )
    assert first.dtype == torch.float32


def test_what_makes_no_scan_is_named() -> None:
    sinogram = torch.ones(20, 30)
    for options, message in (
        ({}, "give photons"),
        ({"photons": 1e3, "blank": 1e3}, "give photons"),
        ({"photons": 0.0}, "photons must be positive"),
        ({"photons": 1e3, "dose": -1.0}, "dose must be positive"),
        ({"photons": 1e3, "electronic_noise": -1.0}, "electronic_noise"),
        ({"photons": torch.ones(7)}, r"photons has shape \(7,\)"),
        ({"blank": torch.ones(4, 7)}, r"blank has shape \(4, 7\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ct.simulate_counts(sinogram, **options)
    with pytest.raises(ValueError, match="NaN"):
        ct.simulate_counts(torch.full((2, 2), torch.nan), 1e3)
