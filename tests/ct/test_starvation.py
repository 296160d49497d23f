"""Few photons: no bias where the logarithm of single readings has one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from spinray.recon import ct
from spinray.recon.ct import starvation

BLANK = 1e4


@pytest.mark.parametrize("photons", [2.0, 8.0, 20.0, 60.0])
@pytest.mark.parametrize("noise", [0.0, 3.0, 6.0])
def test_line_integrals_are_unbiased_down_to_a_few_photons(photons, noise) -> None:
    integral = float(np.log(BLANK / photons))
    sinogram = torch.full((160, 160), integral)
    counts = ct.simulate_counts(sinogram, BLANK, electronic_noise=noise, seed=1)
    dark = noise * torch.randn((64, 160), generator=torch.Generator().manual_seed(2))
    found = ct.line_integrals(counts, BLANK, dark, gain=1.0)
    assert float(found.mean()) == pytest.approx(integral, abs=0.012 * noise / photons + 2e-3)
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


def test_the_electronics_are_taken_out_of_the_gain() -> None:
    generator = torch.Generator().manual_seed(0)
    dark = 20 * torch.randn(2000, 80, generator=generator)
    blank = 5.0 * torch.poisson(torch.full((2000, 80), 20.0), generator=generator)
    blank = blank + 20 * torch.randn(2000, 80, generator=generator)
    assert ct.detector_gain(blank) > 7
    assert ct.detector_gain(blank, dark) == pytest.approx(5, rel=0.03)


def test_a_few_photons_logarithm_has_no_bias_of_first_order() -> None:
    """Of 40 photons, -log of a single reading is too large by 1/80."""
    counts = ct.simulate_counts(torch.full((400, 400), 1.0), 40 * np.e, seed=0)
    found = ct.line_integrals(counts, 40 * np.e, gain=1.0)
    assert float(-torch.log(counts / (40 * np.e)).mean()) - 1 > 0.01
    assert float(found.mean()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_dead_pixels_have_no_say_in_the_windows_beside_them(unit) -> None:
    """Whatever the readings' unit: NumPy arrays of a blank scan of about one, too."""
    counts = ct.simulate_counts(torch.full((300, 60), float(np.log(BLANK / 10))), BLANK, seed=0)
    blank = ct.simulate_counts(torch.zeros(40, 60), BLANK, seed=1)
    counts[:, 30] = blank[:, 30] = 0
    with pytest.warns(UserWarning, match="1 of 60 detector pixels are dead"):
        found = ct.line_integrals(unit * counts, unit * blank)
    with pytest.warns(UserWarning, match="1 of 60 detector pixels are dead"):
        same = ct.line_integrals((unit * counts).numpy(), (unit * blank).numpy())
    torch.testing.assert_close(found, same)
    error = found.mean(0) - np.log(BLANK / 10)
    assert float(error.abs().max()) < 0.06


@pytest.mark.parametrize("gain", [1.0, None])
@pytest.mark.parametrize("shape", [(120, 30), (3, 120, 4, 10)])
def test_blocks_of_views_give_what_all_give_together(monkeypatch, gain, shape) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full(shape, 1.5), generator=generator)
    monkeypatch.setattr(starvation, "BLOCK", 10**9)
    options = {"detector_ndim": len(shape) - 1 if len(shape) == 2 else 2, "gain": gain}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of readings without a photon
        whole = ct.line_integrals(counts, 100.0, **options)
        monkeypatch.setattr(starvation, "BLOCK", 1)
        assert torch.equal(ct.line_integrals(counts, 100.0, **options), whole)


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
