import numpy as np
import pytest
import torch

from spinray.recon import metrics


@pytest.fixture
def volumes():
    rng = np.random.default_rng(0)
    target = rng.uniform(size=(3, 24, 20)) * np.array([1.0, 0.3, 2.0])[:, None, None]
    return target, target + 0.1 * rng.normal(size=target.shape)


def local(x):
    """Mean of each full 7 x 7 window."""
    return np.lib.stride_tricks.sliding_window_view(x, (7, 7)).mean((-2, -1))


def test_ssim_is_fastmri_definition(volumes):
    """Wang's formula, written out: uniform 7 x 7 window, unbiased moments, volume maximum."""
    target, image = volumes
    c1, c2, n = (0.01 * target.max()) ** 2, (0.03 * target.max()) ** 2, 49 / 48
    values = []
    for t, x in zip(target, image, strict=True):
        mt, mx = local(t), local(x)
        vt, vx = n * (local(t * t) - mt**2), n * (local(x * x) - mx**2)
        cov = n * (local(t * x) - mt * mx)
        value = (2 * mt * mx + c1) * (2 * cov + c2) / ((mt**2 + mx**2 + c1) * (vt + vx + c2))
        values.append(value.mean())
    assert metrics.ssim(target, image) == pytest.approx(np.mean(values), rel=1e-10)


def test_psnr_nmse_nrmse_closed_forms(volumes):
    target, image = volumes
    mse = np.mean((target - image) ** 2)
    assert metrics.psnr(target, image) == pytest.approx(10 * np.log10(target.max() ** 2 / mse))
    expected = np.sum((target - image) ** 2) / np.sum(target**2)
    assert metrics.nmse(target, image) == pytest.approx(expected)
    assert metrics.nrmse(target, image) == pytest.approx(expected**0.5)
    assert metrics.nrmse(torch.from_numpy(target), torch.from_numpy(image)) == pytest.approx(
        expected**0.5
    )


def test_nrmse_inside_a_mask_with_a_fitted_scale():
    target = np.array([[1.0, 2.0], [5.0, 0.0]])
    mask = np.array([[True, True], [False, False]])
    assert metrics.nrmse(target, 3 * target, mask=mask, fit_scale=True) == pytest.approx(0)
    image = np.array([[2.0, -1.0], [9.0, 9.0]])  # orthogonal to the target inside the mask
    assert metrics.nrmse(target, image, mask=mask, fit_scale=True) == pytest.approx(1)
    assert metrics.nrmse(target, 0 * image, mask=mask, fit_scale=True) == 1
    assert metrics.nrmse(target * 1j, target, mask=mask, fit_scale=True) == pytest.approx(0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        metrics.nmse(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(TypeError, match="magnitudes"):
        metrics.ssim(np.ones((8, 8), complex), np.ones((8, 8)))
    with pytest.raises(ValueError, match="zero"):
        metrics.nrmse(np.zeros((8, 8)), np.ones((8, 8)))
