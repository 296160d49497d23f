"""Regularised images and series end to end, on phantoms whose truth is known."""

from __future__ import annotations

import pytest
import torch

import spinray as sr
from spinray.datasets import reference_image, simulate_mr
from spinray.datasets.trajectories import radial
from spinray.recon.operators import NonUniformFourier


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative error of the magnitude, scale fitted."""
    x, t = image.abs().flatten(), truth.abs().flatten()
    return float((x * (x @ t) / (x @ x) - t).norm() / t.norm())


def series(
    frames: int = 6, matrix: int = 48, noise: float = 0.01
) -> tuple[sr.MRScan, torch.Tensor]:
    """A disc that lights up in a still phantom; every frame with a mask of its own."""
    full = simulate_mr(matrix=matrix, coils=6, seed=5)
    fourier = sr.Fourier((matrix, matrix))
    coils = fourier.adjoint(full.kspace)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, matrix)] * 2, indexing="ij")
    disc = ((x - 0.2) ** 2 + y**2 < 0.06).float()
    curve = torch.linspace(0, 1.5, frames)
    images = coils * (1 + curve[:, None, None, None] * disc)
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(frames, matrix, matrix, generator=generator) < 0.25
    c = slice(matrix // 2 - 8, matrix // 2 + 8)
    mask[:, c, c] = True
    kspace = fourier(images)
    level = noise * float(kspace.abs().max()) / 10
    kspace = kspace + level * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    scan = sr.MRScan(kspace * mask[:, None], mask=mask, batch_axes=("time",))
    return scan, torch.linalg.vector_norm(images, dim=1)


@pytest.fixture(scope="module")
def still() -> sr.MRScan:
    return simulate_mr(matrix=64, coils=6, acceleration=4, mask="poisson", snr=40, seed=1)


@pytest.mark.parametrize("name", ["tv", "tgv"])
def test_variation_beats_least_squares_and_states_how_it_converged(still, name) -> None:
    truth = reference_image(still).data
    image = sr.reconstruct(still, name)
    assert error(image.data, truth) < 0.8 * error(sr.reconstruct(still, "sense").data, truth)
    figures = image.metadata["convergence"]
    assert 1 < figures["iterations"] <= 80
    assert 0 < figures["change"] < 0.01


def test_automatic_weight_is_stated_and_near_the_best(still) -> None:
    truth = reference_image(still).data
    image = sr.reconstruct(still, "tgv", weight="auto", iterations=30)
    weight = image.metadata["convergence"]["weight"]
    assert "noise scan" in image.metadata["convergence"]["weight_by"]
    swept = [
        error(sr.reconstruct(still, "tgv", weight=weight * f, iterations=30).data, truth)
        for f in (0.1, 10)
    ]
    assert error(image.data, truth) < min(swept)


def test_automatic_weight_knows_whitened_noise() -> None:
    """After compression too; noise of a fifth of that of the noise scan asks for less weight."""
    scan = simulate_mr(matrix=48, coils=6, acceleration=2, mask="poisson", snr=15, seed=1)

    def found(scan: sr.MRScan, **options) -> dict[str, object]:
        image = sr.reconstruct(scan, "tv", weight="auto", iterations=2, **options)
        return image.metadata["convergence"]

    assert "noise scan" in found(scan, coils=5)["weight_by"]
    quieter = scan.replace(header={**scan.header, "averages": 25})
    assert found(quieter)["weight"] < 0.8 * found(scan)["weight"]


@pytest.mark.parametrize("name", ["tv", "tgv"])
def test_variation_of_volumes(name) -> None:
    scan = simulate_mr(
        "shepp-logan-3d", matrix=(16, 40, 40), coils=6, acceleration=3, calibration=12, snr=30,
        seed=2,
    )  # fmt: skip
    truth = reference_image(scan).data
    options = {"calibration": 12, "iterations": 30}
    image = sr.reconstruct(scan, name, **options).data
    assert image.shape == (16, 40, 40)
    assert error(image, truth) < 0.8 * error(sr.reconstruct(scan, "sense", **options).data, truth)


@pytest.mark.parametrize("name", ["grasp", "llr", "low-rank-sparse", "subspace"])
def test_series_along_trajectories(name) -> None:
    """Golden-angle frames of a disc that lights up, against frame by frame."""
    frames, matrix = 6, 40
    coils = simulate_mr(matrix=matrix, coils=6, seed=5)
    images = sr.Fourier((matrix, matrix)).adjoint(coils.kspace)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, matrix)] * 2, indexing="ij")
    disc = ((x - 0.2) ** 2 + y**2 < 0.06).float()
    images = images * (1 + torch.linspace(0, 1.5, frames)[:, None, None, None] * disc)
    trajectory = radial(frames * 13, 2 * matrix).reshape(frames, -1, 2)
    kspace = NonUniformFourier(trajectory, (matrix, matrix))(images)
    noise = torch.randn(kspace.shape, dtype=kspace.dtype,
                        generator=torch.Generator().manual_seed(0))  # fmt: skip
    kspace = kspace + 0.003 * float(kspace.abs().max()) * noise
    scan = sr.MRScan(kspace, trajectory=trajectory, image_shape=(matrix, matrix),
                     batch_axes=("time",), readout_length=2 * matrix)  # fmt: skip
    truth = torch.linalg.vector_norm(images, dim=1)
    plain = sr.reconstruct(scan, "sense").data
    image = sr.reconstruct(scan, name).data
    assert image.shape == truth.shape
    assert error(image, truth) < 0.8 * error(plain, truth)


@pytest.mark.parametrize("name", ["grasp", "subspace"])
def test_series_off_resonance(name) -> None:
    """The field map of the header serves series too."""
    matrix, frames = 40, 3
    one = simulate_mr(matrix=matrix, coils=1, trajectory="radial", seed=2)
    truth = reference_image(one).data + 0j
    samples = one.readout_length
    time = (torch.arange(samples) * 1e-4).repeat(one.kspace.shape[-1] // samples)
    field = torch.linspace(-150, 150, matrix).expand(matrix, matrix).contiguous()
    blurred = NonUniformFourier(
        one.trajectory, (matrix, matrix), field_map=field, readout_time=time
    )(truth.to(torch.complex64))
    wrong = one.replace(
        kspace=blurred.expand(frames, 1, -1).clone(), batch_axes=("time",), noise=None
    )
    right = wrong.replace(header={**wrong.header, "field_map": field, "readout_time": time})
    options = {"weight": 0.05, "iterations": 20}
    errors = [error(sr.reconstruct(s, name, **options).data[1], truth) for s in (wrong, right)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("name", ["grasp", "llr", "low-rank-sparse", "subspace"])
def test_series_methods_beat_frame_by_frame(name) -> None:
    scan, truth = series()
    frames = sr.reconstruct(scan, "sense", calibration=16).data
    image = sr.reconstruct(scan, name, calibration=16)
    assert image.data.shape == truth.shape
    assert error(image.data, truth) < 0.75 * error(frames, truth)


def test_one_long_radial_run_is_cut_into_frames() -> None:
    scan = simulate_mr(matrix=48, coils=4, trajectory="radial", snr=60, seed=2)
    count = scan.kspace.shape[-1] // scan.readout_length
    image = sr.reconstruct(scan, "grasp", spokes=count // 3, iterations=8)
    assert image.data.shape == (3, 48, 48)
    truth = reference_image(scan).data
    assert error(image.data[1], truth) < 0.25
    with pytest.raises(ValueError, match="fewer than spokes"):
        sr.reconstruct(scan, "grasp", spokes=count + 1)


def test_every_slice_of_a_series_has_its_own_calibration() -> None:
    """The coils of the second slice are others; its frames hold no centre to tell them from."""
    one, _ = series(frames=3)
    full = simulate_mr(matrix=48, coils=6, seed=5).kspace
    both = torch.stack([one.kspace, one.kspace.roll(1, 1)])
    mask = one.mask.clone()
    mask[:, 24, 24] = False
    reference = sr.MRScan(torch.stack([full, full.roll(1, 0)]), batch_axes=("slice",))
    scan = sr.MRScan(
        both, mask=mask.expand(2, *mask.shape), batch_axes=("slice", "time"),
        header={"calibration": reference},
    )  # fmt: skip
    image = sr.reconstruct(scan, "grasp", iterations=5)
    torch.testing.assert_close(image.data[0], image.data[1], rtol=1e-3, atol=1e-4)


def test_series_methods_say_what_they_need(still) -> None:
    with pytest.raises(ValueError, match="needs frames"):
        sr.reconstruct(still, "llr")
    with pytest.raises(ValueError, match="one run of readouts"):
        sr.reconstruct(still, "grasp", spokes=4)
    scan, _ = series(frames=3)
    bad = scan.replace(header={"basis": torch.ones(2, 5)})
    with pytest.raises(ValueError, match=r"\(2, 5\), expected \(K, 3\)"):
        sr.reconstruct(bad, "subspace", calibration=16)


@pytest.mark.parametrize("name", ["l1-wavelet", "tv", "tgv"])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scale_of_the_data_scales_the_image(still, name, scale) -> None:
    plain = still.replace(noise=None)
    one = sr.reconstruct(plain, name, iterations=6).data
    other = sr.reconstruct(plain.replace(kspace=plain.kspace * scale), name, iterations=6).data
    assert float((other / scale - one).norm() / one.norm()) < 1e-3


@pytest.mark.parametrize("name", ["grasp", "llr", "low-rank-sparse"])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scale_of_a_series_scales_it(name, scale) -> None:
    scan, _ = series(frames=3)
    one = sr.reconstruct(scan, name, iterations=4, calibration=16).data
    scaled = scan.replace(kspace=scan.kspace * scale)
    other = sr.reconstruct(scaled, name, iterations=4, calibration=16).data
    assert float((other / scale - one).norm() / one.norm()) < 1e-3


@pytest.mark.parametrize("name", ["l1-wavelet", "tv", "tgv"])
def test_noise_alone_stays_finite(name) -> None:
    noise = torch.randn(
        4, 40, 40, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    image = sr.reconstruct(sr.MRScan(noise), name, iterations=10).data
    assert torch.isfinite(image.abs()).all()
    assert float(image.norm()) < float(noise.norm())


def test_a_field_map_in_the_header_corrects_off_resonance() -> None:
    """Readouts of 10 ms over a field of 150 Hz either side: sharp again with the map."""
    scan = simulate_mr(matrix=48, coils=1, trajectory="radial", seed=2)
    truth = reference_image(scan).data + 0j
    samples = scan.readout_length
    time = (torch.arange(samples) * 1e-4).repeat(scan.kspace.shape[-1] // samples)
    field = torch.linspace(-150, 150, 48).expand(48, 48).contiguous()
    blurred = NonUniformFourier(scan.trajectory, (48, 48), field_map=field, readout_time=time)
    wrong = scan.replace(kspace=blurred(truth.to(torch.complex64))[None], noise=None)
    right = wrong.replace(header={**wrong.header, "field_map": field, "readout_time": time})
    errors = [
        error(sr.reconstruct(s, "sense", iterations=30, regularization=1e-3).data, truth)
        for s in (wrong, right)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_subspace_of_a_file_is_used() -> None:
    scan, truth = series()
    flat = torch.linspace(0, 1.5, 6)
    basis = torch.linalg.qr(torch.stack([torch.ones(6), flat], 1)).Q.mT.contiguous()
    image = sr.reconstruct(scan.replace(header={"basis": basis}), "subspace", calibration=16)
    assert image.metadata["convergence"]["components"] == 2
    assert error(image.data, truth) < 0.1
