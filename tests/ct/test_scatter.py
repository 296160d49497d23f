"""Scatter that was put in by the forward model comes out again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spinray.benchmarks.ct_phantoms import HEAD, line_integrals_of
from spinray.kernels.ct.geometry import ConeBeam, FanBeam
from spinray.recon import ct

FAN = FanBeam(np.arange(12) * np.pi / 6, 200, 2.4, 595.0, 1085.6, detector="curved")
KERNEL = ct.ScatterKernel(0.12, 70.0)


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.from_numpy(line_integrals_of(HEAD, FAN))


def with_scatter(clean: torch.Tensor, geometry=FAN) -> tuple[torch.Tensor, torch.Tensor]:
    primary = torch.exp(-clean)
    scatter = KERNEL.scatter(primary, geometry)
    return -torch.log(primary + scatter), scatter


def test_correction_undoes_the_model(clean) -> None:
    measured, scatter = with_scatter(clean)
    assert float((scatter / torch.exp(-clean)).max()) > 0.3  # of the primary, behind the head
    found = ct.correct_scatter(measured, FAN, KERNEL)
    before = (measured - clean).square().mean().sqrt()
    after = (found - clean).square().mean().sqrt()
    assert float(after) < 0.02 * float(before)


def test_correction_settles_where_scatter_exceeds_the_primary_several_times(clean) -> None:
    """As of a pelvis in a cone beam without a grid."""
    kernel = ct.ScatterKernel(0.5, 70.0)
    scatter = kernel.scatter(torch.exp(-clean), FAN)
    assert float((scatter * torch.exp(clean)).max()) > 3
    measured = -torch.log(torch.exp(-clean) + scatter)
    torch.testing.assert_close(ct.correct_scatter(measured, FAN, kernel), clean, atol=1e-3, rtol=0)


def test_kernel_is_a_gaussian_in_mm() -> None:
    """One bright column through half-transparent matter: a bell of the right width and area."""
    primary = torch.full((1, 200), 1.0).double()
    primary[0, 100] = 0.5
    scatter = KERNEL.scatter(primary, FAN)[0]
    place = (torch.arange(200).double() - 100) * FAN.column_spacing
    bell = torch.exp(-0.5 * (place / KERNEL.width) ** 2)
    torch.testing.assert_close(scatter / scatter[100], bell, atol=1e-9, rtol=1e-9)
    expected = KERNEL.amplitude * 0.5 * np.log(2) * FAN.column_spacing
    assert float(scatter[100]) == pytest.approx(expected / (KERNEL.width * (2 * np.pi) ** 0.5))


def test_rows_take_part() -> None:
    cone = ConeBeam([0.0], 40, 60, 4.0, 4.0, 595.0, 1085.6)
    primary = torch.ones(1, 40, 60).double()
    primary[0, 20, 30] = 0.5
    scatter = ct.ScatterKernel(0.1, 30.0).scatter(primary, cone)[0]
    assert float(scatter[20, 36]) == pytest.approx(float(scatter[26, 30]))


def test_calibration_finds_the_kernel(clean) -> None:
    measured, scatter = with_scatter(clean)
    known = scatter.clone()
    known[:, ::3] = torch.nan  # a beam stop shades some columns
    found = ct.fit_scatter_kernel(known, measured, FAN)
    assert found.amplitude == pytest.approx(KERNEL.amplitude, rel=0.02)
    assert found.width == pytest.approx(KERNEL.width, rel=0.02)
    with pytest.raises(ValueError, match="nothing above zero"):
        ct.fit_scatter_kernel(0 * scatter, measured, FAN)
    noise = 0.1 * torch.rand(scatter.shape, generator=torch.Generator().manual_seed(0)).double()
    with pytest.raises(ValueError, match="less than half"):
        ct.fit_scatter_kernel(noise, measured, FAN)


def test_no_reading_is_all_scatter() -> None:
    found = ct.correct_scatter(torch.full((3, 200), 4.0), FAN, ct.ScatterKernel(30.0, 70.0))
    assert bool(torch.isfinite(found).all())
    with pytest.raises(ValueError, match="width of a scatter kernel"):
        ct.ScatterKernel(0.1, -1.0)
