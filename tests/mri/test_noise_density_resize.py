import numpy as np
import pytest
import torch

from spinray.recon.mri import (
    density_compensation,
    gridding,
    noise_covariance,
    outer_noise,
    resize,
    root_sum_of_squares,
    whiten,
)


def correlated_noise(samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.tensor([[2, 0, 0], [1 + 1j, 0.5, 0], [0.3j, 0.1, 1]], dtype=torch.complex128)
    noise = torch.randn(3, samples, dtype=torch.complex128, generator=generator)
    return mixing @ noise, mixing @ mixing.mH


def test_covariance_and_whitening():
    noise, expected = correlated_noise(200_000)
    torch.testing.assert_close(noise_covariance(noise), expected, atol=0.05, rtol=0)
    scan = correlated_noise(40_000, seed=1)[0].reshape(3, 200, 200)
    whitened = whiten(torch.stack([scan, 2 * scan]), noise)
    flat = whitened[0].flatten(1)
    torch.testing.assert_close(flat @ flat.mH / 40_000, torch.eye(3).to(flat), atol=0.03, rtol=0)
    torch.testing.assert_close(whitened[1], 2 * whitened[0])
    with pytest.raises(ValueError, match="2 coils"):
        whiten(scan[:2], noise)
    with pytest.raises(ValueError, match="coil 1"):
        noise_covariance(noise * torch.tensor([1.0, 0, 1])[:, None])


def radial(spokes, readout):
    angle = torch.arange(spokes) * torch.pi / spokes
    radius = (torch.arange(readout) - readout // 2) / readout
    k = torch.stack([angle.sin(), angle.cos()], -1)[:, None] * radius[:, None]
    return k.reshape(-1, 2).clamp(-0.5, 0.4999999)


def test_noise_of_the_outermost_samples():
    """Of each coil, whatever lies further in; on a grid and along trajectories."""
    generator = torch.Generator().manual_seed(0)
    deviation = torch.tensor([0.5, 2.0])
    noise = torch.randn(2, 64, 48, dtype=torch.complex64, generator=generator)
    kspace = noise * deviation[:, None, None]
    kspace[:, 8:-8, 8:-8] += 1e3
    mask = torch.rand(64, 48, generator=generator) < 0.5
    found = outer_noise(kspace * mask)
    torch.testing.assert_close(found, deviation, rtol=0.15, atol=0.0)
    axes = [torch.arange(n) / n - 0.5 for n in (64, 48)]
    trajectory = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[mask]
    torch.testing.assert_close(outer_noise(kspace[:, mask], trajectory), found)
    lines = torch.arange(48) % 4 == 0
    torch.testing.assert_close(outer_noise(kspace * lines), deviation, rtol=0.2, atol=0.0)
    kspace[..., :6] = 0  # padded
    torch.testing.assert_close(outer_noise(kspace), deviation, rtol=0.2, atol=0.0)
    assert outer_noise(0 * kspace).tolist() == [0, 0]


def test_density_of_a_cartesian_grid_is_one():
    k = torch.stack(torch.meshgrid(*[(torch.arange(24) - 12) / 24] * 2, indexing="ij"), -1)
    w = density_compensation(k.reshape(-1, 2), (24, 24)).reshape(24, 24)
    torch.testing.assert_close(w, torch.ones(24, 24), atol=0.03, rtol=0)


def test_density_of_radial_spokes_is_a_ramp():
    w = density_compensation(radial(80, 64), (64, 64)).reshape(80, 64)
    radius = (torch.arange(64) - 32).abs().float()
    # A spoke's sample stands for 1 cell along it, pi |r| / spokes cells across.
    middle = (radius > 6) & (radius < 28)
    ramp = torch.pi * radius / 80
    ratio = w.mean(0)[middle] / ramp[middle]
    assert 0.93 < float(ratio.min()) <= float(ratio.max()) < 1.07


def test_gridding_returns_the_object():
    """A Gaussian, whose samples are known in closed form."""
    n, sigma = 64, 5.0
    k = radial(128, 64)
    samples = 2 * np.pi * sigma**2 / n * torch.exp(-2 * (np.pi * sigma) ** 2 * k.square().sum(-1))
    coils = torch.tensor([1.0, 2j])
    images = gridding(coils[:, None] * samples, k, (n, n))
    axis = torch.arange(n) - n // 2
    gauss = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2))
    expected = coils[:, None, None] * gauss
    # The analytic ramp leaves 0.046.
    assert float((images - expected).norm() / expected.norm()) < 0.035
    with pytest.raises(ValueError, match="density"):
        gridding(coils[:, None] * samples, k, (n, n), torch.ones(5))


def test_resize_keeps_the_centre():
    for n in (4, 5, 8, 9):
        x = torch.zeros(2, n)
        x[:, n // 2] = 1
        for m in (3, 4, 5, 8, 10, 11):
            out = resize(x, (m,))
            assert out.shape == (2, m)
            assert torch.equal(out[0].nonzero().flatten(), torch.tensor([m // 2]))
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resize(resize(x, (9, 7)), (4, 6)), x)
    assert resize(x, (2, 9)).shape == (3, 2, 9)
    with pytest.raises(ValueError, match="resize"):
        resize(x, (0, 3))


def test_root_sum_of_squares():
    x = torch.tensor([3j, 4.0]).reshape(2, 1, 1)
    assert root_sum_of_squares(x).item() == pytest.approx(5)
