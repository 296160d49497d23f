"""Few photons: no bias where the logarithm of single readings has one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spinray.recon import ct

BLANK = 1e4


@pytest.mark.parametrize("photons", [2.0, 8.0, 20.0, 60.0])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_line_integrals_are_unbiased_down_to_a_few_photons(photons, noise) -> None:
    integral = float(np.log(BLANK / photons))
    sinogram = torch.full((160, 160), integral)
    counts = ct.simulate_counts(sinogram, BLANK, electronic_noise=noise, seed=1)
    found = ct.line_integrals(counts, BLANK, gain=1.0)
    assert float(found.mean()) == pytest.approx(integral, abs=0.01 * integral)
    # Single readings: their logarithm misses by far, or does not exist.
    if photons < 5:
        single = -torch.log(counts.clamp_min(BLANK * 1e-6) / BLANK)
        assert abs(float(single.mean()) - integral) > 0.05 * integral


def test_frames_tell_the_gain_and_the_electronics() -> None:
    generator = torch.Generator().manual_seed(0)
    gain, noise = 3.7, 6.0
    level = torch.linspace(2e3, 9e3, 300)
    flicker = torch.linspace(0.9, 1.1, 40)[:, None]  # of the beam: no noise of photons
    blank = gain * torch.poisson(level * flicker, generator=generator)
    dark = 100 + noise * torch.randn(40, 300, generator=generator)
    blank = blank + 100 + noise * torch.randn(40, 300, generator=generator)
    assert ct.detector_gain(blank, dark) == pytest.approx(gain, rel=0.03)
    assert ct.electronic_noise(dark) == pytest.approx(noise, rel=0.03)
    with pytest.raises(ValueError, match="8 frames or more"):
        ct.detector_gain(blank[:5], dark)
    with pytest.raises(ValueError, match="do not vary"):
        ct.detector_gain(torch.full((9, 20), 100.0))


def test_starved_rays_alone_are_averaged() -> None:
    """Where there are photons, no reading touches another."""
    generator = torch.Generator().manual_seed(0)
    integral = torch.full((60, 90), 1.0)
    integral[:, 40:50] = 8.0
    counts = ct.simulate_counts(integral, BLANK, seed=generator)
    found = ct.line_integrals(counts, BLANK, gain=1.0)
    clear = torch.log(BLANK / counts.clamp_min(0.5))
    torch.testing.assert_close(found[:, :38], clear[:, :38])
    torch.testing.assert_close(found[:, 52:], clear[:, 52:])
    assert float(found[:, 43:47].std()) < 0.5 * float(clear[:, 43:47].std())


def test_weights_are_inverse_variances() -> None:
    """Of line integrals drawn many times."""
    sinogram = torch.tensor([0.5, 2.0, 4.0]).double().expand(40000, 3)
    counts = ct.simulate_counts(sinogram, 2e4, electronic_noise=15.0, seed=0)
    variance = ct.line_integrals(counts, 2e4, gain=1.0).var(0)
    weights = ct.statistical_weights(counts.mean(0), electronic_noise=15.0)
    torch.testing.assert_close(weights * variance, torch.ones(3).double(), rtol=0.03, atol=0)
    bad = torch.tensor([False, True, False])
    weighed = ct.statistical_weights(torch.tensor([5.0, 9.0, -3.0]), bad=bad)
    assert weighed.tolist() == [5.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="nothing to weigh"):
        ct.statistical_weights(torch.tensor([-1.0, 0.0]))
