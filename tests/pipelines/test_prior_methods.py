"""Methods with a prior on small scans: every sampler, any geometry, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import spinray as sr
from spinray.recon.ct.noise import apparent_photons
from spinray.recon.models import DRUNet, EDMDenoiser
from spinray.recon.pipelines.diffusion import CtPriorOptions, Descent, limited

SMALL = {"chans": (4, 6), "blocks": 1, "patch": 32}
ERRORS = {"denoising": [[0.01, 0.008, 0.1], [0.1, 0.05, 0.1], [1.0, 0.2, 0.1], [5.0, 0.3, 0.1]]}
NAMES = ("dds", "dps", "diffpir", "daps", "langevin", "pnp")


def _saved(folder: Path, complex_images: bool, **figures: object) -> str:
    """An untrained network: the best linear estimate of white images, which is a prior as well."""
    torch.manual_seed(0)
    network = EDMDenoiser(complex_images, **SMALL)
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    facts = {"modality": "mri" if complex_images else "ct", "figures": figures}
    return str(sr.save_model(network, folder / f"p{complex_images}.safetensors", training=facts))


@pytest.fixture(scope="module")
def mr_prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _saved(tmp_path_factory.mktemp("prior"), True)


@pytest.fixture(scope="module")
def ct_prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _saved(tmp_path_factory.mktemp("prior"), False)


@pytest.fixture(scope="module")
def scan() -> sr.MRScan:
    return sr.datasets.simulate_mr(
        "head", matrix=(40, 32), coils=4, acceleration=2, calibration=12, snr=50, seed=3
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_on_cartesian_data(scan: sr.MRScan, mr_prior: str, name: str) -> None:
    drawn = {} if name == "pnp" else {"samples": 3}
    image = sr.reconstruct(scan, name, prior=mr_prior, passes=6, **drawn)
    assert image.data.shape == (40, 32)
    assert image.data.is_complex()
    figures = image.metadata["convergence"]
    assert figures["residual_verdict"] in ("consistent", "misfit", "overfit")
    assert figures["noise"] > 0
    assert 0 <= figures["added_by_prior"] < 0.2
    if name == "pnp":
        assert image.samples is None
    else:
        assert image.samples.shape == (3, 40, 32)
        assert image.deviation.shape == (40, 32)
        torch.testing.assert_close(image.samples.mean(0), image.data)
    reference = sr.reconstruct(scan, "sense")
    error = (image.data - reference.data).norm() / reference.data.norm()
    assert float(error) < 0.35


def test_slices_trajectories_and_files(scan: sr.MRScan, mr_prior: str, tmp_path: Path) -> None:
    two = torch.stack([scan.kspace, 2 * scan.kspace])
    stack = scan.replace(kspace=two, batch_axes=("slice",), noise=None)
    image = sr.reconstruct(stack, "dds", prior=mr_prior, passes=3, samples=2)
    assert image.data.shape == (2, 40, 32)
    assert image.samples.shape == (2, 2, 40, 32)
    # intensity has no influence
    torch.testing.assert_close(image.data[1], 2 * image.data[0], rtol=2e-2, atol=1e-3)
    image.save(tmp_path / "image.h5")
    again = sr.load_image(tmp_path / "image.h5")
    torch.testing.assert_close(again.samples, image.samples)
    torch.testing.assert_close(again.deviation, image.deviation)
    with h5py.File(tmp_path / "image.h5") as file:
        assert set(file["image"]) == {"data", "deviation", "samples"}
    radial = sr.datasets.simulate_mr(
        "head", matrix=(32, 32), coils=4, trajectory="radial", acceleration=1, snr=50
    )
    image = sr.reconstruct(radial, "dds", prior=mr_prior, passes=3, samples=2, start=0)
    assert image.samples.shape == (2, 32, 32)


def test_a_centre_with_gaps_is_warned_of(mr_prior: str) -> None:
    few = sr.datasets.simulate_mr(
        "head", matrix=(48, 48), coils=4, trajectory="radial", acceleration=8, snr=50
    )
    for name, options in (
        ("dds", {"prior": mr_prior, "passes": 1, "samples": 1}), ("dip", {"iterations": 1}),
        ("zs-ssl", {"rounds": 1}),
    ):  # fmt: skip
        with pytest.warns(UserWarning, match="the centre of k-space is undersampled"):
            sr.reconstruct(few, name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_on_fan_beam(ct_prior: str, name: str) -> None:
    scan = sr.datasets.simulate_ct(views=40, columns=64, photons=1e4)
    grid = sr.VolumeGrid((24, 24), 10.0)
    drawn = {} if name == "pnp" else {"samples": 2}
    image = sr.reconstruct(scan, name, prior=ct_prior, passes=6, volume=grid, **drawn)
    assert image.data.shape == (24, 24)
    assert bool((image.data >= 0).all())
    reference = sr.reconstruct(scan, "fbp", volume=grid).data
    assert float((image.data - reference).norm() / reference.norm()) < 0.5


def test_limited_angles_start_from_more_noise_and_take_more_passes() -> None:
    options = CtPriorOptions()

    def parallel(degrees: float) -> sr.ParallelBeam:
        return sr.ParallelBeam(np.deg2rad(np.linspace(0, degrees, 60, endpoint=False)), 32, 2.0)

    assert options.descent("pnp", parallel(180)) == Descent(25, 0.05, 0.0)
    assert options.descent("pnp", parallel(120)) == Descent(100, 0.5, 0.8)
    assert options.descent("dds", parallel(120)) == Descent(25, 0.05, 0.0)
    assert CtPriorOptions(passes=7, start=0.0).descent("pnp", parallel(120)) == Descent(7, 0.0, 0.8)
    fan = sr.datasets.simulate_ct(views=40, columns=64).geometry
    assert not limited(fan)
    assert limited(fan[:12])
    views = np.linspace(0, 1, 8)
    assert not limited(sr.HelicalBeam(views, 4, 16, 4.0, 4.0, 500.0, 900.0, pitch=8.0))


def test_a_limited_scan_is_reconstructed_in_as_many_passes(ct_prior: str) -> None:
    geometry = sr.ParallelBeam(np.arange(12) * np.pi / 24, 48, 6.0)
    scan = sr.datasets.simulate_ct(geometry=geometry, photons=1e5)
    grid = sr.VolumeGrid((16, 16), 16.0)
    image = sr.reconstruct(scan, "pnp", prior=ct_prior, volume=grid)
    assert image.metadata["convergence"]["iterations"] == 100


def test_stacks_parallel_and_cone_beams(ct_prior: str) -> None:
    geometry = sr.ParallelBeam(np.arange(30) * np.pi / 30, 48, 6.0)
    scan = sr.datasets.simulate_ct(geometry=geometry, photons=1e5)
    stack = sr.CTScan(torch.stack([scan.sinogram, scan.sinogram]), geometry)
    grid = sr.VolumeGrid((24, 24), 10.0)
    image = sr.reconstruct(stack, "dds", prior=ct_prior, passes=3, samples=2, volume=grid)
    assert image.data.shape == (2, 24, 24)
    assert image.samples.shape == (2, 2, 24, 24)
    assert len(image.metadata["convergence"]) == 2
    cone = sr.datasets.simulate_ct(
        geometry=sr.ConeBeam(np.arange(12) * np.pi / 6, 8, 32, 20.0, 16.0, 595.0, 1085.6),
        photons=1e5,
    )  # fmt: skip
    grid3 = sr.VolumeGrid((4, 16, 16), 14.0)
    image = sr.reconstruct(cone, "dds", prior=ct_prior, passes=3, samples=2, volume=grid3)
    assert image.samples.shape == (2, 4, 16, 16)


def test_photons_that_the_scanner_states_are_taken(ct_prior: str) -> None:
    scan = sr.datasets.simulate_ct(views=40, columns=64, photons=1e4)
    options = {"prior": ct_prior, "passes": 2, "samples": 1, "volume": sr.VolumeGrid((24, 24), 10)}
    profile = torch.linspace(2e3, 6e3, 64)  # behind a bow-tie filter
    told = sr.reconstruct(scan.replace(photons=profile), "dds", **options).metadata["convergence"]
    assert told["noise"] == pytest.approx(4e3**-0.5)
    assert told["photons_by"] == "the scanner's photon statistics"
    told = sr.reconstruct(scan, "dds", **options).metadata["convergence"]
    assert told["noise"] == pytest.approx(0.01, rel=0.05)  # by the frames of the blank scan
    bare = sr.CTScan(scan.sinogram, scan.geometry)
    told = sr.reconstruct(bare, "dds", **options).metadata["convergence"]
    assert told["noise"] == pytest.approx(apparent_photons(scan.sinogram) ** -0.5)
    # other weights of the rays, other images: they are not all as those in air
    images = [
        sr.reconstruct(scan.replace(photons=p), "dds", start=0.0, **options).data
        for p in (profile, torch.full((64,), 4e3))
    ]
    assert not torch.allclose(*images, rtol=1e-3)
    image = sr.reconstruct(scan, "dds", noise=0.05, **options)
    assert image.metadata["convergence"]["noise"] == 0.05


def test_plug_and_play_draws_nothing(scan: sr.MRScan, mr_prior: str) -> None:
    """And so it refuses what belongs to samplers."""
    for option in ("samples", "seed"):
        with pytest.raises(TypeError, match=f"'pnp' has no option '{option}' .*of dds, dps, "):
            sr.reconstruct(scan, "pnp", prior=mr_prior, **{option: 2})


def test_the_photons_of_a_sinogram() -> None:
    scan = sr.datasets.simulate_ct(views=200, columns=400, photons=2e4)
    assert apparent_photons(scan.sinogram) == pytest.approx(2e4, rel=0.15)


def test_noise_is_said_to_be_noise(mr_prior: str) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((4, 128, 96), dtype=torch.complex64, generator=generator)
    empty = sr.MRScan(kspace=noise)
    with pytest.warns(UserWarning, match="nothing but noise"):
        image = sr.reconstruct(empty, "dds", prior=mr_prior, passes=3, samples=2)
    assert image.metadata["convergence"]["residual_verdict"] == "noise"


def test_unlike_images_are_warned_of(scan: sr.MRScan, tmp_path: Path) -> None:
    """A network that claims far smaller errors than it makes here, as one of other anatomy does."""
    rows = [[level, error / 100, 0.1] for level, error, _ in ERRORS["denoising"]]
    path = _saved(tmp_path, True, denoising=rows)
    with pytest.warns(UserWarning, match="another anatomy or contrast"):
        image = sr.reconstruct(scan, "pnp", prior=path, passes=2)
    assert image.metadata["convergence"]["novelty"] > 2


def test_what_does_not_fit_is_said(
    scan: sr.MRScan, mr_prior: str, ct_prior: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="of a ct network, the scan is mri"):
        sr.reconstruct(scan, "dds", prior=ct_prior)
    other = str(sr.save_model(DRUNet(chans=(2, 4), blocks=1), tmp_path / "w.safetensors"))
    with pytest.raises(ValueError, match="holds DRUNet, method dds takes EDMDenoiser"):
        sr.reconstruct(scan, "dds", prior=other)
    with pytest.raises(ValueError, match="passes must be 1 or more"):
        sr.reconstruct(scan, "dds", prior=mr_prior, passes=0)
    for name in ("weight", "noise"):
        with pytest.raises(ValueError, match=f"option {name} must be above 0"):
            sr.reconstruct(scan, "pnp", prior=mr_prior, **{name: 0})


def test_gross_misfits_are_warned_of(scan: sr.MRScan, mr_prior: str) -> None:
    with pytest.warns(UserWarning, match="does not explain the data"):
        sr.reconstruct(scan, "dds", prior=mr_prior, passes=2, samples=1, noise=1e-3)


def test_the_blank_scan_tells_the_noise(ct_prior: str) -> None:
    """Coarse columns show edges as noise; frames of the blank scan do not."""
    scan = sr.datasets.simulate_ct(views=20, columns=32, photons=1e4)
    grid = sr.VolumeGrid((24, 24), 10.0)
    options = {"prior": ct_prior, "passes": 2, "samples": 1, "volume": grid}
    image = sr.reconstruct(scan, "dds", **options)
    assert image.metadata["convergence"]["noise"] == pytest.approx(0.01, rel=0.05)
    alone = sr.CTScan(scan.sinogram, scan.geometry)
    assert sr.reconstruct(alone, "dds", **options).metadata["convergence"]["noise"] > 0.012
