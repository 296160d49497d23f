"""Coil maps without ESPIRiT's calibration: from images, and jointly with the image."""

from __future__ import annotations

import pytest
import torch
from mri_cases import brain, head, nrmse, regular, rss

import spinray as sr
from spinray.recon.mri import espirit, nlinv, walsh
from spinray.recon.operators import Fourier, NonUniformFourier, Sampling


def angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle between the coil vectors of each pixel in degrees; both of unit length."""
    return torch.rad2deg(torch.acos((a.conj() * b).sum(0).abs().clamp(max=1)))


def true_maps(scan: sr.MRScan) -> torch.Tensor:
    from spinray.datasets.phantoms import mr_grid

    grid = mr_grid(scan.image_shape, scan.field_of_view)
    maps = torch.from_numpy(scan.header["coils"].maps(grid)).to(torch.complex64)
    return maps / torch.linalg.vector_norm(maps, dim=0)


def test_walsh_finds_the_maps():
    scan = head(64)
    images = Fourier((64, 64)).adjoint(scan.kspace)
    truth = rss(scan.kspace)
    inside = truth > 0.2 * truth.max()
    maps = walsh(images)
    assert float(angle(maps, true_maps(scan))[inside].quantile(0.95)) < 2
    torch.testing.assert_close(torch.linalg.vector_norm(maps, dim=0), torch.ones(64, 64))
    for scale in (1e-9, 1e9):
        assert float(angle(walsh(images * scale), maps)[inside].max()) < 0.1
    both = walsh(torch.stack([images, images.flip(0)]))
    torch.testing.assert_close(both[0], maps)


def test_walsh_in_slabs_and_volumes(monkeypatch):
    from spinray.recon.mri import adaptive

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 10, 12, 9, dtype=torch.complex64, generator=generator)
    whole = walsh(images, ndim=3)
    monkeypatch.setattr(adaptive, "_CHUNK", 2000)
    torch.testing.assert_close(walsh(images, ndim=3), whole, rtol=1e-3, atol=1e-4)


def test_walsh_bad_input():
    with pytest.raises(ValueError, match="odd"):
        walsh(torch.zeros(2, 8, 8, dtype=torch.complex64), window=4)
    with pytest.raises(ValueError, match="complex"):
        walsh(torch.zeros(2, 8, 8))
    assert torch.isfinite(walsh(torch.zeros(2, 8, 8, dtype=torch.complex64)).abs()).all()


@pytest.fixture(scope="module")
def undersampled():
    """Every second line, with a centre too small for ESPIRiT's kernels."""
    scan = head(64)
    mask = regular((64, 64), 2)
    mask[30:34] = True
    return scan, mask


def test_nlinv_needs_no_calibration_region(undersampled):
    scan, mask = undersampled
    with pytest.raises(ValueError, match="fully sampled centre"):
        espirit(scan.kspace * mask)
    image, maps = nlinv(Sampling(mask) @ Fourier((64, 64)), scan.kspace * mask)
    truth = rss(scan.kspace)
    assert nrmse(image, truth) < 0.4 * nrmse(rss(scan.kspace * mask), truth)
    inside = truth > 0.2 * truth.max()
    assert float(angle(maps, true_maps(scan))[inside].quantile(0.9)) < 6
    assert float((image.abs()[inside] / truth[inside]).median()) == pytest.approx(1, abs=0.05)


def test_nlinv_scale_and_bad_input(undersampled):
    scan, mask = undersampled
    A, y = Sampling(mask) @ Fourier((64, 64)), scan.kspace * mask
    image, _ = nlinv(A, y, iterations=5)
    for scale in (1e-9, 1e9):
        other, _ = nlinv(A, y * scale, iterations=5)
        torch.testing.assert_close(other / scale, image, rtol=1e-2, atol=1e-3)
    with pytest.raises(ValueError, match="zero"):
        nlinv(A, torch.zeros_like(y))
    with pytest.raises(ValueError, match=r"must be \(coil"):
        nlinv(A, y[0])
    noise = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(nlinv(A, noise * mask)[0].abs()).all()


def test_nlinv_along_a_trajectory():
    scan = sr.datasets.simulate_mr("head", matrix=48, coils=4, trajectory="radial", acceleration=2)
    truth = sr.datasets.reference_image(scan).data
    image, _ = nlinv(NonUniformFourier(scan.trajectory, (48, 48)), scan.kspace, iterations=8)
    assert nrmse(image, truth) < 0.2
    method = sr.reconstruct(scan, "nlinv", iterations=8).data
    torch.testing.assert_close(method, image, rtol=1e-3, atol=1e-3)


def test_brain(data_dir):
    """At 2x2 with the maps found along with it, near ESPIRiT's."""
    full, under = brain(data_dir), brain(data_dir, "brain8ch_und2x2")
    A = Sampling((under != 0).any(0)) @ Fourier((230, 180))
    image, maps = nlinv(A, under)
    truth = rss(full)
    inside = truth > 0.08 * truth.flatten().quantile(0.995)
    assert nrmse(image, truth) < 0.053
    assert float(angle(maps, espirit(full))[inside].quantile(0.9)) < 1.5
    adaptive = walsh(Fourier((230, 180)).adjoint(full))
    assert float(angle(adaptive, espirit(full))[inside].quantile(0.9)) < 3
