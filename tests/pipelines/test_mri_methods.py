"""MR methods end to end: simulated scans with a known truth, real data where it is."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
import torch

import spinray as sr
from spinray.datasets import reference_image, simulate_mr

PHANTOMS = ("shepp-logan", "head")


def error(image: sr.Image, truth: torch.Tensor) -> float:
    """NRMSE of the magnitude with the scale fitted, where the phantom is."""
    x, t = image.data.abs().double().flatten(), truth.abs().double().flatten()
    inside = t > 0.05 * t.max()
    x, t = x[inside], t[inside]
    scale = float(x @ t / (x @ x))
    return float((scale * x - t).norm() / t.norm())


@pytest.fixture(scope="module")
def undersampled() -> sr.MRScan:
    return simulate_mr(matrix=96, coils=8, acceleration=3, mask="poisson", snr=60, seed=1)


def test_auto_names_its_choice_and_why(undersampled: sr.MRScan, caplog) -> None:
    with caplog.at_level(logging.INFO, "spinray"):
        image = sr.reconstruct(undersampled, iterations=3)
    assert image.metadata["method"] == "l1-wavelet"
    assert "8 coils" in image.metadata["reason"]
    assert "l1-wavelet" in caplog.text
    full = simulate_mr(matrix=48, coils=4)
    assert sr.reconstruct(full).metadata["method"] == "rss"
    radial = simulate_mr(matrix=48, coils=4, trajectory="radial")
    assert sr.reconstruct(radial, iterations=2).metadata["method"] == "sense"


def test_methods_improve_on_the_zero_filled_image(undersampled: sr.MRScan) -> None:
    truth = reference_image(undersampled).data
    zero_filled = error(sr.reconstruct(undersampled, "rss"), truth)
    sense = error(sr.reconstruct(undersampled, "sense"), truth)
    wavelet = error(sr.reconstruct(undersampled, "l1-wavelet"), truth)
    assert sense < 0.6 * zero_filled
    assert wavelet < sense


@pytest.mark.parametrize(("trajectory", "acceleration"), [("radial", 2), ("spiral", 1)])
def test_non_cartesian_methods_find_the_phantom(trajectory: str, acceleration: float) -> None:
    scan = simulate_mr(
        matrix=96, coils=6, trajectory=trajectory, acceleration=acceleration, snr=80, seed=2
    )
    truth = reference_image(scan).data
    gridded = error(sr.reconstruct(scan, "gridding"), truth)
    sense = error(sr.reconstruct(scan, "sense", iterations=20), truth)
    wavelet = error(sr.reconstruct(scan, "l1-wavelet"), truth)
    assert gridded < 0.1
    assert sense < 0.95 * gridded
    assert wavelet < 0.95 * sense


def test_scale_of_the_data_does_not_matter(undersampled: sr.MRScan) -> None:
    for name in ("sense", "l1-wavelet"):
        one = sr.reconstruct(undersampled.replace(noise=None), name, iterations=5).data
        tiny = undersampled.replace(kspace=undersampled.kspace * 1e-9, noise=None)
        other = sr.reconstruct(tiny, name, iterations=5).data * 1e9
        assert float((one - other).norm() / one.norm()) < 1e-3


def test_slices_keep_their_order_and_space() -> None:
    one = simulate_mr(matrix=32, coils=4, seed=3)
    weights = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]
    stack = sr.MRScan(
        one.kspace * weights, spacing=(5.0, 2.0, 2.0), batch_axes=("slice",), noise=one.noise
    )
    for name in ("rss", "sense"):
        image = sr.reconstruct(stack, name)
        assert image.spacing == (5.0, 2.0, 2.0)
        means = image.data.abs().mean((-2, -1))
        if name == "rss":
            torch.testing.assert_close(means / means[0], weights.flatten(), rtol=1e-3, atol=0)
        assert means[0] < means[1] < means[2]


def test_what_was_not_measured_is_zero_and_named() -> None:
    """A scan that was stopped: its last slice and, of the first repetition, the middle one."""
    one = simulate_mr(matrix=32, coils=4, seed=3)
    kspace = one.kspace.repeat(2, 3, 1, 1, 1)
    kspace[0, 1], kspace[1, 2] = 0, 0
    scan = sr.MRScan(kspace, batch_axes=("repetition", "slice"))
    missing = "slice 1 of repetition 0, slice 2 of repetition 1: k-space is zero"
    for name in ("sense", "grappa"):
        with pytest.warns(UserWarning, match=missing):
            image = sr.reconstruct(scan, name).data
        alone = sr.reconstruct(one.replace(noise=None), name).data
        for i, j in np.ndindex(2, 3):
            expected = alone * bool(kspace[i, j].any())
            torch.testing.assert_close(image[i, j], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="is zero: nothing was measured"):
        sr.reconstruct(scan.replace(kspace=torch.zeros_like(kspace)), "sense")


def test_image_is_cropped_to_its_matrix() -> None:
    scan = simulate_mr(matrix=64, coils=2)
    cropped = sr.reconstruct(scan.replace(image_shape=(48, 40)), "rss").data
    whole = sr.reconstruct(scan, "rss").data
    torch.testing.assert_close(cropped, whole[8:56, 12:52])


def test_methods_refuse_the_other_kind_of_sampling() -> None:
    with pytest.raises(ValueError, match="gridding"):
        sr.reconstruct(simulate_mr(matrix=32, coils=2, trajectory="radial"), "rss")
    with pytest.raises(ValueError, match="Cartesian: try rss"):
        sr.reconstruct(simulate_mr(matrix=32, coils=2), "gridding")


def test_real_brain_at_4x(data_dir) -> None:
    """The figure of BART's pics at its best weight in the same place is 0.0417."""
    import sigpy.mri

    full = sr.load(data_dir / "mr_kspace" / "brain8ch_full.cfl")
    mask = sigpy.mri.poisson((230, 180), 4, calib=(24, 24), seed=0, dtype=np.float32) > 0
    mask = torch.from_numpy(mask.T.copy())  # BART counts the first axis fastest
    scan = sr.MRScan(full.kspace * mask, mask=mask)
    image = sr.reconstruct(scan, "l1-wavelet")
    truth = sr.reconstruct(full, "rss").data
    inside = truth > 0.08 * torch.quantile(truth, 0.995)
    x, t = image.data.abs()[inside], truth[inside]
    nrmse = (x * (x @ t) / (x @ x) - t).norm() / t.norm()
    assert nrmse < 0.0417


def test_maps_come_from_a_separate_calibration_scan() -> None:
    """No centre of its own, one calibration scan for each slice, none for each repetition."""
    slices = [simulate_mr(matrix=64, coils=8, phantom=name, snr=80, seed=3) for name in PHANTOMS]
    full = torch.stack([scan.kspace for scan in slices])
    truth = [reference_image(scan).data for scan in slices]
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[::2] = True
    centre = torch.zeros(64, 64, dtype=torch.bool)
    centre[20:44, 20:44] = True
    reference = sr.MRScan(full, mask=centre, batch_axes=("slice",))
    scan = sr.MRScan(
        torch.stack([full, full]), mask=mask, batch_axes=("repetition", "slice"),
        noise=simulate_mr(matrix=64, coils=8, snr=80, seed=3).noise,
        header={"calibration": reference},
    )  # fmt: skip
    with pytest.raises(ValueError, match="fully sampled centre"):
        sr.reconstruct(scan.replace(header={}), "sense")
    image = sr.reconstruct(scan, "sense", regularization=1e-3)
    assert image.data.shape[:2] == (2, 2)
    for repetition in range(2):
        for i in range(2):
            one = sr.Image(image.data[repetition, i], image.spacing, None)
            assert error(one, truth[i]) < 0.12


def test_calibration_scans_without_names_go_with_their_slices() -> None:
    full = torch.stack([simulate_mr(matrix=48, coils=4, phantom=p).kspace for p in PHANTOMS])
    mask = torch.arange(48)[:, None] % 2 == 0
    scan = sr.MRScan(full, mask=mask, header={"calibration": sr.MRScan(full)})
    image = sr.reconstruct(scan, "grappa").data
    for i in range(2):
        one = sr.MRScan(full[i], mask=mask, header={"calibration": sr.MRScan(full[i])})
        torch.testing.assert_close(image[i], sr.reconstruct(one, "grappa").data)


def test_slices_share_what_their_trajectory_needs(monkeypatch) -> None:
    """One density compensation for a stack that was measured along one trajectory."""
    from spinray.recon.pipelines import mr_encoding

    one = simulate_mr(matrix=32, coils=4, trajectory="radial", seed=3)
    stack = one.replace(kspace=one.kspace.expand(3, *one.kspace.shape), batch_axes=("slice",))
    made = []
    monkeypatch.setattr(
        mr_encoding,
        "density_compensation",
        lambda *arguments: made.append(1) or sr.mri.density_compensation(*arguments),
    )
    for name in ("gridding", "sense", "l1-wavelet"):
        options = {} if name == "gridding" else {"iterations": 3}
        stacked = sr.reconstruct(stack, name, **options).data
        assert len(made) == 1
        torch.testing.assert_close(stacked[2], sr.reconstruct(one, name, **options).data)
        made.clear()


@pytest.mark.parametrize("name", ["sense", "l1-wavelet"])
def test_volumes(name: str) -> None:
    scan = simulate_mr(
        phantom="shepp-logan-3d", matrix=(12, 40, 40), coils=6, mask="equispaced", acceleration=2,
        calibration=12,
    )  # fmt: skip
    truth = reference_image(scan).data
    plain = error(sr.reconstruct(scan, "rss"), truth)
    assert error(sr.reconstruct(scan, name, calibration=12), truth) < 0.8 * plain


def test_undersampled_centre_is_told() -> None:
    """Maps from the centre of a uniformly undersampled spiral alias; a radial scan's do not."""
    spiral = simulate_mr(matrix=96, coils=4, trajectory="spiral", acceleration=2)
    with pytest.warns(UserWarning, match=r"centre of k-space is undersampled .* 2\.\d cells"):
        sr.reconstruct(spiral, "sense", iterations=1)
    radial = simulate_mr(matrix=96, coils=4, trajectory="radial", acceleration=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sr.reconstruct(radial, "sense", iterations=1)
        sr.reconstruct(spiral, "gridding")


def test_gaps_are_told_once_a_scan() -> None:
    """Three slices, each along a trajectory of its own with gaps of its own."""
    one = simulate_mr(matrix=48, coils=3, trajectory="spiral", acceleration=2)
    scale = torch.tensor([1.0, 0.99, 0.98])[:, None, None]
    stack = one.replace(
        kspace=one.kspace.expand(3, *one.kspace.shape), trajectory=one.trajectory * scale,
        batch_axes=("slice",),
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sr.reconstruct(stack, "sense", iterations=1)
    assert sum("undersampled" in str(warning.message) for warning in caught) == 1


def test_maps_by_nlinv_along_a_trajectory() -> None:
    """No gridding, and so no need of a dense centre."""
    spiral = simulate_mr(matrix=48, coils=4, trajectory="spiral", acceleration=2)
    truth = reference_image(spiral).data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = sr.reconstruct(spiral, "sense", maps="nlinv", regularization=0.01)
    assert error(image, truth) < 0.8 * error(sr.reconstruct(spiral, "gridding"), truth)


def test_middle_voxel_of_a_scan_without_affine_is_the_origin() -> None:
    scan = sr.MRScan(torch.ones(1, 8, 5, dtype=torch.complex64), spacing=(2.0, 3.0))
    image = sr.reconstruct(scan, "rss")
    np.testing.assert_allclose(image.affine @ [2, 4, 0, 1], [0, 0, 0, 1])
