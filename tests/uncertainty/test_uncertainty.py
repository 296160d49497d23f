"""Intervals hold what they promise; the split adds up; the residual test tells noise from image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import spinray as sr
from spinray.recon.uncertainty import (
    Calibration,
    ResidualTest,
    calibrate,
    coverage,
    dropout_samples,
    ensemble_samples,
    pooled,
    residual_test,
    split,
    statistics,
)


def _case(seed: int, factor: float = 3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Truth, image and a deviation that is too small by a factor, and varies over the image."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(40, 50, generator=generator)
    deviation = 0.01 + 0.05 * torch.rand(40, 50, generator=generator)
    heavy = torch.distributions.StudentT(4.0)  # no normal noise: conformal does not need it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image = truth + factor * deviation * heavy.sample((40, 50))
    return truth, image, deviation


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_cover_new_images_as_promised(level: float) -> None:
    cases = [_case(seed) for seed in range(4)]
    found = calibrate([(x, s) for _, x, s in cases], [t for t, _, _ in cases], level=level)
    results = []
    for seed in range(10, 14):
        truth, image, deviation = _case(seed)
        results.append(coverage(truth, found.interval(image, deviation))["coverage"])
    assert sum(results) / 4 == pytest.approx(level, abs=0.015)
    truth, image, deviation = _case(20, factor=6)  # unlike the calibration: the promise is off
    assert coverage(truth, found.interval(image, deviation))["coverage"] < level - 0.05


def test_intervals_of_images_follow_magnitude_and_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(20, 20, generator=generator) + 0.5
    phase = torch.rand(20, 20, generator=generator)
    samples = torch.polar(truth + 0.1 * torch.randn(8, 20, 20, generator=generator), phase)
    mean, deviation = statistics(samples)
    image = sr.Image(mean, deviation=deviation, samples=samples)
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[5:15] = True
    wrong = torch.where(mask, truth, 99.0)
    found = calibrate([image], [wrong], masks=[mask])
    lower, upper = found.interval(image)
    assert bool((lower >= 0).all())
    assert bool((upper > mean.abs()).all())
    assert coverage(wrong, (lower, upper), mask)["coverage"] == pytest.approx(0.9, abs=0.02)
    assert coverage(wrong, (lower, upper))["coverage"] < 0.6
    assert coverage(truth, (lower, upper), mask)["width"] > 0


def test_a_pooled_deviation_tells_the_true_one_better() -> None:
    generator = torch.Generator().manual_seed(0)
    true = 1 + 0.5 * torch.sin(torch.linspace(0, 9, 60))[:, None].expand(2, 60, 50)
    found = (true * torch.randn(4, 2, 60, 50, generator=generator)).std(0)
    assert float((pooled(found) - true).norm()) < 0.5 * float((found - true).norm())
    assert torch.equal(pooled(found)[0], pooled(found[0]))  # slices apart
    torch.testing.assert_close(pooled(true).mean(), true.mean(), rtol=0.02, atol=0)


def test_intervals_follow_the_unit_of_an_image() -> None:
    """MR images have none: a calibration serves any; deviations near zero have a floor."""
    truth, image, deviation = _case(0)
    deviation[:15] = 0
    found = calibrate([(image, deviation)], [truth])
    for unit in (1e-3, 1.0, 1e4):
        lower, upper = found.interval(unit * image, unit * deviation)
        plain = found.interval(image, deviation)
        torch.testing.assert_close(lower, unit * plain[0], rtol=1e-3, atol=1e-6 * unit)
        torch.testing.assert_close(upper, unit * plain[1], rtol=1e-3, atol=1e-6 * unit)
    half = (upper - lower)[:5] / 2e4
    least = 0.05 * pooled(deviation).square().mean().sqrt()
    torch.testing.assert_close(half, (found.factor * least).expand(5, 50), rtol=1e-3, atol=0)


def test_a_magnitude_is_not_below_zero() -> None:
    found = Calibration(0.9, 3.0)
    image, deviation = torch.full((4, 4), 0.1 + 0j), torch.full((4, 4), 1.0)
    assert float(found.interval(image, deviation)[0].min()) == 0
    assert float(found.interval(image.real, deviation)[0].min()) == pytest.approx(-2.9)


def test_the_factor_is_the_quantile_of_so_few_scores() -> None:
    """Split conformal: of n scores the ceil((n + 1) level)-th, not the n level-th."""
    error = torch.arange(1.0, 20.0)[None]  # scores 1 to 19
    image, deviation = torch.full((1, 19), 100.0), torch.ones(1, 19)
    assert calibrate([(image, deviation)], [image + error], level=0.5).factor == 10
    assert calibrate([(image, deviation)], [image - error], level=0.9).factor == 18
    assert calibrate([(image, deviation)], [image + error], level=0.94).factor == 19


def test_deviations_are_of_the_magnitude() -> None:
    samples = torch.tensor([[1 + 0j], [1j]])
    mean, deviation = statistics(samples)
    torch.testing.assert_close(mean, torch.tensor([0.5 + 0.5j]))
    torch.testing.assert_close(deviation, torch.zeros(1))
    assert statistics(torch.tensor([[1.0], [3.0]]))[1].item() == pytest.approx(2**0.5)
    assert statistics(samples[:1])[1].item() == 0


def test_the_split_of_a_mask_is_what_was_sampled(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(24, 20, dtype=torch.complex64, generator=generator)
    mask = torch.rand(24, 20, generator=generator) < 0.4
    A = 7 * (sr.Sampling(mask) @ sr.Fourier((24, 20)))
    found = split(A, image, noise=1e-3)
    k = sr.Fourier((24, 20))
    torch.testing.assert_close(found.measured, k.adjoint(mask * k(image)), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.measured + found.added, image)
    expected = float(k(image)[~mask].abs().square().sum() / image.abs().square().sum())
    assert found.fraction == pytest.approx(expected, rel=1e-3)
    assert found.picture(tmp_path / "split.png").stat().st_size > 1000
    soft = split(A, image, noise=0.5)  # what is as clear as twice the noise passes by 1 / 1.25
    torch.testing.assert_close(soft.measured, 0.8 * found.measured, atol=1e-3, rtol=1e-2)
    with pytest.raises(ValueError, match="is zero: no ray or sample sees"):
        split(0 * A, image)


def test_residuals_tell_fit_misfit_overfit_and_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(30, 30, dtype=torch.complex64, generator=generator)
    mask = torch.rand(30, 30, generator=generator) < 0.5
    A = sr.Sampling(mask) @ sr.Fourier((30, 30))
    sigma = 0.1
    noise = sigma * 2**0.5 * torch.randn(30, 30, dtype=torch.complex64, generator=generator)
    y = A(truth) + mask * noise
    right = residual_test(A, truth, y, sigma)
    assert right.verdict == "consistent"
    assert right.ratio == pytest.approx(1, abs=0.15)
    assert right.signal > 50
    assert residual_test(A, 1.2 * truth, y, sigma).verdict == "misfit"
    assert residual_test(A, A.adjoint(y), y, sigma).verdict == "overfit"
    assert residual_test(A, truth, mask * noise, sigma).verdict == "noise"
    assert "nothing but noise" in str(residual_test(A, truth, mask * noise, sigma))


def test_chance_and_the_model_s_own_error_are_allowed_for() -> None:
    """Against closed forms: chi-squared of n has standard deviation sqrt(2 / n) about 1."""

    def tested(count: int, squares: float, signal: float = 100.0) -> ResidualTest:
        A = sr.Fourier((1, count))
        image = torch.full((1, count), signal + 0j)
        residual = torch.full((1, count), (2 * squares) ** 0.5 + 0j)  # of both parts
        return residual_test(A, image, A(image) + residual, 1.0)

    found = tested(50, 1.3)
    assert found.ratio == pytest.approx(1.3, rel=1e-3)
    assert found.deviations == pytest.approx(0.3 / (2 / 100) ** 0.5, rel=1e-3)
    assert found.verdict == "consistent"
    assert tested(20000, 1.3).verdict == "misfit"  # 42 standard deviations
    assert tested(20000, 1.08).verdict == "consistent"  # clear of chance, as scanners are
    assert tested(50, 1.3, signal=0.0).verdict == "noise"
    assert tested(20000, 1.3, signal=0.0).verdict != "noise"


def test_networks_go_through_the_same_door() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 1, 32, 32)
    network = sr.models.UNet(1, 1, 4, 2, drop_prob=0.3).eval()
    samples = dropout_samples(network, image, samples=5, seed=3)
    assert samples.shape == (5, 1, 1, 32, 32)
    assert float(statistics(samples)[1].mean()) > 0
    torch.testing.assert_close(dropout_samples(network, image, samples=5, seed=3), samples)
    assert not any(layer.training for layer in network.modules())
    other = sr.models.UNet(1, 1, 4, 2).eval()
    answers = ensemble_samples([network, other], image)
    torch.testing.assert_close(answers[1], other(image))
    state = torch.get_rng_state()
    dropout_samples(network, image)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="samples must be 1 or more, got 0"):
        dropout_samples(network, image, samples=0)
    with pytest.raises(ValueError, match="UNet has no dropout"):
        dropout_samples(other, image)
    with pytest.raises(ValueError, match="two networks or more"):
        ensemble_samples([other], image)


def test_what_does_not_fit_is_said() -> None:
    image, deviation = torch.rand(4, 4), torch.rand(4, 4)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        calibrate([(image, deviation)], [image], level=1.5)
    with pytest.raises(ValueError, match="one target"):
        calibrate([(image, deviation)], [])
    with pytest.raises(ValueError, match="has no standard deviation"):
        calibrate([sr.Image(image)], [image])
    with pytest.raises(ValueError, match="standard deviation is zero everywhere"):
        calibrate([(image, 0 * deviation)], [image])
    with pytest.raises(ValueError, match="16 pixels cannot calibrate intervals of 99%"):
        calibrate([(image, deviation)], [image], level=0.99)
    with pytest.raises(ValueError, match="noise must be positive"):
        residual_test(sr.Fourier((4, 4)), image + 0j, image + 0j, 0.0)
    with pytest.raises(ValueError, match="deviation has shape"):
        sr.Image(image, deviation=torch.rand(3, 4))


def test_targets_are_images_arrays_or_complex() -> None:
    truth, image, deviation = _case(0)
    plain = calibrate([(image, deviation)], [truth])
    phase = torch.polar(torch.ones_like(truth), truth)
    for target in (sr.Image(truth), truth.numpy(), truth * phase):
        assert calibrate([(image, deviation)], [target]).factor == pytest.approx(plain.factor)
        interval = plain.interval(image, deviation)
        assert coverage(target, interval) == pytest.approx(coverage(truth, interval))


def test_calibrations_that_mean_nothing_are_refused() -> None:
    truth, image, deviation = _case(0)
    pair = (image, deviation)
    with pytest.raises(ValueError, match=r"target 0 is 0\.00\d+ times as large as its image"):
        calibrate([pair], [1e-3 * truth])
    with pytest.raises(ValueError, match="error of image 0 has 1 values that are NaN"):
        calibrate([pair], [torch.where(truth == truth[3, 4], torch.nan, truth)])
    with pytest.raises(ValueError, match="deviation is zero everywhere"):
        calibrate([(image, torch.zeros_like(image))], [truth])
    for mask in (torch.ones(4, 4, dtype=torch.bool), torch.ones_like(truth)):
        with pytest.raises(ValueError, match=r"a mask must be bool of shape \(40, 50\)"):
            calibrate([pair], [truth], masks=[mask])
    with pytest.raises(ValueError, match="the mask holds no pixel"):
        coverage(truth, (truth, truth), mask=torch.zeros_like(truth, dtype=torch.bool))
