"""What is done to raw data before a method, and the methods of parallel imaging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mri_cases import nrmse, regular, rss

import spinray as sr
from spinray.datasets import reference_image, simulate_mr
from spinray.recon.pipelines.raw_chain import RawOptions

PARALLEL = ("grappa", "spirit", "nlinv", "sense", "g-factor")


@pytest.fixture(scope="module")
def scan() -> sr.MRScan:
    mask = regular((48, 48), 2, centre=20)
    return simulate_mr("head", matrix=48, coils=6, mask=mask, acceleration=2, snr=100)


def test_every_mr_method_takes_the_raw_chains_options():
    for method in sr.methods("mri"):
        assert issubclass(method.options_type, RawOptions), method.name


@pytest.mark.parametrize("name", ["grappa", "spirit", "nlinv"])
def test_methods_find_the_phantom(scan, name):
    truth = reference_image(scan).data
    before = nrmse(sr.reconstruct(scan, "rss").data, truth)
    assert nrmse(sr.reconstruct(scan, name).data, truth) < 0.7 * before


@pytest.mark.parametrize("maps", ["espirit", "walsh", "nlinv"])
def test_sense_takes_maps_of_every_kind(scan, maps):
    truth = reference_image(scan).data
    before = nrmse(sr.reconstruct(scan, "rss").data, truth)
    image = sr.reconstruct(scan, "sense", maps=maps, regularization=0.01).data
    assert nrmse(image, truth) < 0.7 * before


@pytest.mark.parametrize("name", [*PARALLEL, "rss"])
def test_a_dead_coil_is_told_and_left_out(scan, name):
    options = {"replicas": 2} if name == "g-factor" else {}
    kspace, noise = scan.kspace.clone(), scan.noise.clone()
    kspace[2], noise[2] = 0, 0
    with pytest.warns(UserWarning, match=r"coil 2 of 6 \(from 0\) received nothing"):
        image = sr.reconstruct(scan.replace(kspace=kspace, noise=noise), name, **options)
    live = [0, 1, 3, 4, 5]
    without = scan.replace(kspace=scan.kspace[live], noise=scan.noise[live])
    torch.testing.assert_close(image.data, sr.reconstruct(without, name, **options).data)
    assert image.metadata["dead_coils"] == "2"


@pytest.mark.parametrize("name", [*PARALLEL, "rss", "snr", "l1-wavelet"])
def test_zero_k_space_is_an_error(scan, name):
    silent = scan.replace(kspace=torch.zeros_like(scan.kspace))
    silent = silent.replace(noise=None) if name != "snr" else silent
    with pytest.raises(ValueError, match="nothing was measured"):
        sr.reconstruct(silent, name)


@pytest.mark.parametrize("name", ["grappa", "spirit", "g-factor"])
def test_single_coil(name):
    single = simulate_mr("head", matrix=48, coils=1, mask=regular((48, 48), 2), acceleration=2)
    with pytest.raises(ValueError, match="needs several coils"):
        sr.reconstruct(single, name)


@pytest.mark.parametrize("name", ["grappa", "spirit", "sense", "nlinv"])
def test_no_calibration_lines(scan, name):
    bare = scan.replace(mask=regular((48, 48), 3), kspace=scan.kspace * regular((48, 48), 3))
    if name == "nlinv":  # it needs none, but a lattice alone leaves its aliases
        with pytest.warns(UserWarning, match="lattice, 3x undersampled without a denser centre"):
            assert torch.isfinite(sr.reconstruct(bare, name).data.abs()).all()
        return
    with pytest.raises(ValueError, match="fully sampled centre"):
        sr.reconstruct(bare, name)
    if name == "sense":
        with pytest.raises(ValueError, match="fully sampled centre"):
            sr.reconstruct(bare, name, maps="walsh")


@pytest.mark.parametrize("name", ["grappa", "spirit", "nlinv"])
def test_scale_of_the_data_does_not_matter(scan, name):
    plain = scan.replace(noise=None)
    one = sr.reconstruct(plain, name).data
    for scale in (1e-9, 1e9):
        other = sr.reconstruct(plain.replace(kspace=scan.kspace * scale), name).data / scale
        assert float((one - other).norm() / one.norm()) < 2e-3


def test_noise_only_stays_finite(scan):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(scan.kspace.shape, dtype=torch.complex64, generator=generator)
    for name in ("grappa", "spirit", "nlinv", "sense"):
        image = sr.reconstruct(scan.replace(kspace=noise * scan.mask, noise=None), name)
        assert torch.isfinite(image.data.abs()).all()


def test_maps_of_another_matrix():
    maps = torch.ones(4, 32, 32, dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"mask \(48, 48\) does not fit the maps"):
        sr.Sense(maps, mask=regular((48, 48), 2))
    with pytest.raises(ValueError, match=r"32"):
        sr.Sense(maps).adjoint(torch.ones(4, 48, 48, dtype=torch.complex64))


def test_g_factor_in_closed_form_and_by_replicas():
    full = simulate_mr("head", matrix=32, coils=6, snr=200)
    mask = regular((32, 32), 2)
    header = {"calibration": full.replace(noise=None)}
    scan = full.replace(kspace=full.kspace * mask, mask=mask, header=header)
    exact = sr.reconstruct(scan, "g-factor").data
    assert float(exact.min()) >= 1
    centre = regular((32, 32), 2, centre=2)  # no lattice any more, and hardly more samples
    other = scan.replace(kspace=full.kspace * centre, mask=centre)
    replicas = sr.reconstruct(other, "g-factor", replicas=60, iterations=20).data
    truth = rss(full.kspace)
    inside = truth > 0.2 * truth.max()
    assert float((replicas / exact)[inside].mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scale_of_the_data_does_not_change_the_g_factor(scan, scale):
    plain = scan.replace(noise=None)
    one, other = (
        sr.reconstruct(plain.replace(kspace=plain.kspace * s), "g-factor", replicas=4).data
        for s in (1, scale)
    )
    assert float((one - other).norm() / one.norm()) < 1e-3


def test_snr_of_a_full_scan_is_known():
    """`simulate_mr` states its noise in one channel: so does the image in SNR units."""
    scan = simulate_mr("head", matrix=48, coils=6, snr=40, noise_correlation=0.3)
    image = sr.reconstruct(scan, "snr").data
    from spinray.datasets.phantoms import mr_grid

    grid = mr_grid(scan.image_shape, scan.field_of_view)
    maps = torch.from_numpy(scan.header["coils"].maps(grid)).to(torch.complex64)
    truth = reference_image(scan).data
    sigma = float(scan.noise.real.std())
    index = torch.arange(6)
    psi = (0.3 ** (index[:, None] - index).abs()).to(maps)
    best = torch.einsum("cyx,cd,dyx->yx", maps.conj(), torch.linalg.inv(psi), maps).real.sqrt()
    inside = truth > 0.3 * truth.max()
    ratio = image[inside] / (truth * best / sigma)[inside]
    assert float(ratio.median()) == pytest.approx(1, abs=0.03)
    slower = scan.replace(header={"sample_time_us": 10.0, "noise_sample_time_us": 2.5})
    doubled = sr.reconstruct(slower, "snr").data
    torch.testing.assert_close(doubled, 2 * image, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="needs noise samples"):
        sr.reconstruct(scan.replace(noise=None), "snr")


def test_non_cartesian_scans_are_told_what_to_use():
    radial = simulate_mr(matrix=32, coils=4, trajectory="radial")
    for name in ("grappa", "spirit", "g-factor"):
        with pytest.raises(ValueError, match="try sense or nlinv"):
            sr.reconstruct(radial, name)
    compressed = sr.reconstruct(radial, "gridding", coils=3)
    assert np.isfinite(compressed.data.numpy()).all()
