"""A volume's figures: fastMRI's evaluate.py, the object's, LoDoPaB's two ranges."""

from __future__ import annotations

import numpy as np
import pytest

from spinray.recon import metrics


@pytest.fixture
def volumes() -> tuple[np.ndarray, np.ndarray]:
    """A bright disc in a dark field, float32 as fastMRI's files hold it; 40 rows of 32 columns."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-20:20, -16:16]
    disc = (np.hypot(y + 2, x) < 12) * (2 + np.cos(x / 3))
    target = disc * np.array([1.0, 0.4, 0.7])[:, None, None] * 1e-4
    image = target + 3e-6 * rng.normal(size=target.shape)
    return target.astype(np.float32), np.abs(image).astype(np.float32)


@pytest.mark.peer
@pytest.mark.parametrize("extra", [0, 6])
def test_fastmri_evaluate(volumes, extra: int) -> None:
    """The official functions on the official crops; the image may be larger than the target."""
    evaluate = pytest.importorskip(
        "fastmri.evaluate", reason="no fastmri: pip install --no-deps fastmri runstats"
    )
    from fastmri.data.transforms import center_crop

    target, image = volumes
    padding = ((0, 0), (extra // 2, extra // 2), (extra // 2, extra // 2))
    image = np.pad(image, padding, mode="edge")
    width = target.shape[-1]
    pair = center_crop(target, (width, width)), center_crop(image, (width, width))
    found = metrics.volume_metrics(target, image)
    for name, function in evaluate.METRIC_FUNCS.items():
        expected = float(np.ravel(function(*pair))[0])
        assert found[name.lower()] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_frozen_fastmri_values(volumes) -> None:
    """What fastmri 0.3.0 gave for these volumes."""
    target, image = volumes
    assert metrics.volume_metrics(target, image) == pytest.approx(FROZEN, rel=1e-6)


FROZEN = {
    "mse": 8.94752935e-12,
    "nmse": 0.000860860688,
    "psnr": 40.0253944,
    "ssim": 0.967431134,
}


@pytest.mark.parametrize(("size", "crop"), [(9, 4), (9, 5), (8, 5), (8, 4)])
def test_center_crop_starts_where_fastmri_starts(size: int, crop: int) -> None:
    image = np.arange(size**2).reshape(size, size)
    first = (size - crop) // 2
    expected = image[first : first + crop, first : first + crop]
    assert np.array_equal(metrics.center_crop(image, (crop, crop)), expected)


def test_object_mask_finds_the_object(volumes) -> None:
    target, image = volumes
    truth = target[:, 4:36] > 0
    mask = metrics.object_mask(image[:, 4:36])
    overlap = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert overlap > 0.9
    holed = image[0].copy()
    holed[18:22, 14:18] = 0  # air inside the object belongs to it
    assert metrics.object_mask(holed)[19, 15]


def test_masked_figures_see_only_the_object(volumes) -> None:
    target, image = volumes
    target, image = target[:, 4:36], image[:, 4:36]
    inside = target > 0
    spoilt = np.where(inside, target, target + 1.0).astype(np.float32)
    assert metrics.nmse(target, spoilt, mask=inside) == 0
    assert metrics.nmse(target, spoilt) > 1
    with pytest.raises(ValueError, match="mask is empty"):
        metrics.masked_metrics(target, image, np.zeros_like(inside))
    with pytest.raises(ValueError, match=r"mask is \(3, 8, 8\), the target \(3, 32, 32\)"):
        metrics.masked_metrics(target, image, np.ones((3, 8, 8)))
    found = metrics.masked_metrics(target, image, inside)
    error = (target - image).astype(float)[inside]
    peak = float(target.max())
    assert found["psnr"] == pytest.approx(10 * np.log10(peak**2 / np.mean(error**2)))
    everywhere = metrics.masked_metrics(target, image, np.ones_like(inside))
    plain = metrics.volume_metrics(target, image)
    assert everywhere == pytest.approx({name: plain[name] for name in everywhere})


def test_lodopab_has_two_ranges() -> None:
    rng = np.random.default_rng(1)
    target = 0.02 + 0.01 * rng.uniform(size=(2, 16, 16))
    image = target + 1e-4
    own = [20 * np.log10(np.ptp(t) / 1e-4) for t in target]
    found = metrics.lodopab_metrics(target, image)
    assert found["psnr"] == pytest.approx(np.mean(own))
    assert found["psnr_fr"] == pytest.approx(20 * np.log10(0.08135858 / 1e-4))
    expected = [
        metrics.ssim(t, x, data_range=np.ptp(t)) for t, x in zip(target, image, strict=True)
    ]
    assert found["ssim"] == pytest.approx(np.mean(expected))
    assert found["ssim_fr"] > found["ssim"]
    scaled = metrics.lodopab_metrics(target / 0.08135858, image / 0.08135858, maximum=1)
    assert scaled == pytest.approx(found)
    with pytest.raises(ValueError, match="contrast"):
        metrics.lodopab_metrics(np.ones((16, 16)), np.ones((16, 16)))


def test_paired_test_finds_a_constant_gain_under_spread() -> None:
    """Volumes differ by 10 dB, methods by 0.5 dB: only the pairs show it."""
    rng = np.random.default_rng(2)
    base = rng.normal(35, 5, size=30)
    gain = 0.5 + 0.2 * rng.normal(size=30)
    found = metrics.paired_test(base + gain, base)
    assert found.p_value < 1e-5
    assert found.effect > 0.9
    low, high = found.interval
    assert low < gain.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * gain.std(ddof=1) / 30**0.5, rel=0.2)
    assert found.difference == pytest.approx(gain.mean())
    reverse = metrics.paired_test(base, base + gain)
    assert reverse.effect == pytest.approx(-found.effect)
    assert reverse.p_value == pytest.approx(found.p_value)


def test_paired_test_of_equal_methods() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=12)
    same = metrics.paired_test(base, base)
    assert (same.p_value, same.effect, same.interval) == (1.0, 0.0, (0.0, 0.0))
    rejected = [
        metrics.paired_test(base + rng.normal(size=12), base, resamples=99).p_value < 0.05
        for _ in range(200)
    ]
    assert 0.01 < np.mean(rejected) < 0.1
    with pytest.raises(ValueError, match=r"\(1,\)"):
        metrics.paired_test([1.0], [2.0])
    with pytest.raises(ValueError, match="NaN"):
        metrics.paired_test([1.0, np.nan], [2.0, 3.0])
