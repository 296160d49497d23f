"""Low-dose insertion against scans that were simulated at the low dose."""

from __future__ import annotations

import pytest
import torch

from spinray.recon import ct

DOSE = 0.2


@pytest.mark.parametrize("electronic", [0.0, 6.0])
@pytest.mark.parametrize("photons", [40.0, 3e3])
def test_mean_and_variance_are_those_of_the_low_dose(electronic, photons) -> None:
    expected = torch.full((400, 500), photons).double()
    full = ct.simulate_counts(torch.zeros_like(expected), expected, electronic_noise=electronic)
    low = ct.thin_counts(full, DOSE, electronic_noise=electronic, seed=1)
    mean, variance = DOSE * photons, DOSE * photons + electronic**2
    n = expected.numel()
    assert float(low.mean()) == pytest.approx(mean, abs=5 * (variance / n) ** 0.5)
    assert float(low.var()) == pytest.approx(variance, rel=0.02)
    third = float(((low - low.mean()) ** 3).mean())
    if electronic == 0:  # Poisson counts, not only noise of their variance
        assert torch.equal(low, low.round())
        assert third == pytest.approx(mean, rel=0.3)


def test_the_scans_own_noise_is_kept() -> None:
    """A quarter of the dose: half of the low-dose noise is the scan's own."""
    sinogram = torch.ones(300, 400)
    counts = ct.simulate_counts(sinogram, 1e5, seed=0)
    full = ct.line_integrals(counts, 1e5)
    low = ct.lower_dose(full, 1e5, 0.25, seed=1)
    own, noise = (x - x.mean() for x in (full, low))
    correlation = float((own * noise).mean() / (own.std() * noise.std()))
    assert correlation == pytest.approx(0.5, abs=0.02)
    assert float(low.var() / full.var()) == pytest.approx(4, rel=0.03)
    assert low.dtype == full.dtype


def test_dose_that_changes_with_the_view_and_the_column() -> None:
    sinogram = torch.full((2, 300), 0.5).expand(200, 2, 300)
    photons = torch.linspace(1e4, 4e4, 300)
    dose = torch.tensor([[1.0], [0.1]])
    counts = ct.simulate_counts(sinogram, photons, seed=0)
    full = ct.line_integrals(counts, photons, detector_ndim=1)
    low = ct.lower_dose(full, photons, dose, seed=3)
    variance = low.var(0) * photons
    expected = torch.exp(torch.tensor(0.5)) / dose
    torch.testing.assert_close(variance.mean(-1), expected[:, 0], rtol=0.03, atol=0)


def test_doses_that_cannot_be() -> None:
    counts = torch.full((3, 4), 100.0)
    for dose, message in ((1.5, "at most 1"), (0.0, "dose must be positive")):
        with pytest.raises(ValueError, match=message):
            ct.thin_counts(counts, dose)
    with pytest.raises(ValueError, match="NaN"):
        ct.thin_counts(counts * torch.nan, 0.5)
    with pytest.raises(ValueError, match="electronic_noise"):
        ct.thin_counts(counts, 0.5, electronic_noise=-1.0)
    assert torch.equal(ct.thin_counts(counts, 1.0), counts)
