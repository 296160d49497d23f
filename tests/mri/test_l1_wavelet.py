import numpy as np
import pytest
import torch

from spinray.recon.mri import espirit, wavelet_sense
from spinray.recon.operators import Fourier, Sense, Wavelet


def piecewise(n=64):
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, n)] * 2, indexing="ij")
    image = (x**2 + y**2 < 0.7).float() + 0.8 * ((x - 0.2).abs() + (y + 0.1).abs() < 0.3).float()
    maps = torch.stack([torch.exp(-((x - a) ** 2) - (y - b) ** 2 + 1j * (a * x + b * y))
                        for a, b in [(1, 0), (-1, 0), (0, 1), (0, -1)]])  # fmt: skip
    return image + 0j, maps / torch.linalg.vector_norm(maps, dim=0)


def random_mask(n=64, accel=4, centre=12, seed=0):
    mask = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)) < 1 / accel
    mask[
        n // 2 - centre // 2 : n // 2 + centre // 2, n // 2 - centre // 2 : n // 2 + centre // 2
    ] = True
    return mask


def error(x, truth):
    return float((x - truth).norm() / truth.norm())


def test_recovers_what_least_squares_cannot():
    truth, maps = piecewise()
    A = Sense(maps, mask=random_mask())
    noise = torch.randn(
        4, 64, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)
    )
    y = A(truth) + 0.05 * noise * A.mask
    x = wavelet_sense(A, y, iterations=60)
    plain = wavelet_sense(A, y, weight=0.0, iterations=60)
    assert error(x, truth) < 0.6 * error(plain, truth)
    assert error(x, truth) < 0.08


def test_scale_of_the_data_scales_the_image():
    truth, maps = piecewise()
    A = Sense(maps, mask=random_mask())
    y = A(truth)
    x = wavelet_sense(A, y, iterations=10)
    for scale in (1e-9, 1e9):
        scaled = wavelet_sense(A, y * scale, iterations=10) / scale
        torch.testing.assert_close(scaled, x, rtol=1e-3, atol=1e-4)


def test_batch_items_have_their_own_weight():
    truth, maps = piecewise()
    A = Sense(maps, mask=random_mask())
    y = A(torch.stack([truth, 100 * truth.flip(0)]))
    both = wavelet_sense(A, y, iterations=8)
    torch.testing.assert_close(both[0], wavelet_sense(A, y[0], iterations=8), rtol=1e-3, atol=1e-4)


def test_noise_alone_stays_finite_and_shrinks():
    _, maps = piecewise()
    A = Sense(maps, mask=random_mask())
    y = torch.randn(4, 64, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    x = wavelet_sense(A, y, iterations=30, weight=3.0)
    detail = Wavelet((64, 64))(x)
    detail[:16, :16] = 0
    assert torch.isfinite(x.abs()).all()
    assert detail.norm() < 0.5 * A.adjoint(y).norm()


def test_negative_weight():
    truth, maps = piecewise()
    A = Sense(maps)
    with pytest.raises(ValueError, match="-1"):
        wavelet_sense(A, A(truth), weight=-1.0)


def test_brain_at_fourfold_acceleration(data_dir):
    """No worse than BART's pics at its best weight, 0.0417 (benchmarks/mri.py runs both)."""
    mr = pytest.importorskip("sigpy.mri")
    raw = np.fromfile(data_dir / "mr_kspace" / "brain8ch_full.cfl", np.complex64)
    kspace = torch.from_numpy(np.moveaxis(raw.reshape((230, 180, 8), order="F"), -1, 0).copy())
    mask = torch.from_numpy(np.abs(mr.poisson((230, 180), 4, calib=(24, 24), seed=0)) > 0)
    A = Sense(espirit(kspace * mask), mask=mask)
    x = wavelet_sense(A, kspace * mask, iterations=40).abs()
    target = torch.linalg.vector_norm(Fourier((230, 180)).adjoint(kspace), dim=0)
    inside = target > 0.08 * target.flatten().quantile(0.995)
    x, target = x[inside], target[inside]
    x = x * (x @ target) / (x @ x)
    assert float((x - target).norm() / target.norm()) < 0.0396
