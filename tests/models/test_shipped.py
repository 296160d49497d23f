"""The networks that come with Spinray: small, described, and better than what they start from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

import spinray as sr
from spinray.datasets import LineMask, PoissonMask, SimulatedCT, SimulatedMR
from spinray.recon.models.weights import KEY, SHIPPED, shipped_models

NAMES = "prior-ct", "prior-mr", "unrolled-ct", "unrolled-mr"
LARGEST = {"prior": 8e6, "unrolled": 6e6}  # bytes of a kind, together


def ellipses(path, count: int, size: int, low: float, high: float) -> None:
    """Slices of an oval object with smaller ovals in it, as a NumPy file."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    slices = np.full((count, size, size), low, np.float32)
    for image in slices:
        image[(x / 0.7) ** 2 + (y / 0.85) ** 2 < 1] = (low + high) / 2
        for _ in range(12):
            cx, cy = random.uniform(-0.4, 0.4, 2)
            a, b = random.uniform(0.05, 0.25, 2)
            inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
            image[inside] = random.uniform((low + high) / 2, high)
    np.save(path, slices)


def test_they_are_small_and_have_cards() -> None:
    assert shipped_models() == NAMES
    files = [SHIPPED / f"{name}.safetensors" for name in NAMES]
    for kind, most in LARGEST.items():
        assert sum(path.stat().st_size for path in files if path.name.startswith(kind)) < most
    for path in files:
        assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")
        with safe_open(path, "pt") as weights:
            header = json.loads(weights.metadata()[KEY])
        assert {"modality", "subjects"} <= header["training"].keys()
        assert ("data_crimes" in header["training"]) == (path.stem != "prior-ct")


def test_mr_needs_no_weights_and_beats_least_squares(tmp_path) -> None:
    ellipses(tmp_path / "images.npy", 2, 96, 0.0, 1.0)
    mask = LineMask("equispaced", (0.08,), (4,))
    scans = SimulatedMR(tmp_path, mask, coils=8, snr=40.0, fixed=True)
    example = scans[0]
    mask = example.mask[0].expand(96, 96)
    scan = sr.MRScan(kspace=example.kspace, mask=mask)
    errors = {}
    for method in ("sense", "unrolled"):
        image = sr.reconstruct(scan, method=method).data.abs()
        errors[method] = sr.metrics.nrmse(example.target, image)
    assert errors["unrolled"] < 0.5 * errors["sense"]


def test_the_mr_network_hears_of_noise(tmp_path) -> None:
    """From the scan, in the units that it was trained in: any other level would do worse."""
    ellipses(tmp_path / "images.npy", 2, 96, 0.0, 1.0)
    scans = SimulatedMR(
        tmp_path, PoissonMask((4,), 24), coils=8, snr=8.0, maps="espirit", fixed=True
    )
    example, network = scans[0], sr.load_model("unrolled-mr")
    A = sr.Sense(example.maps, mask=example.mask[0])
    scan = sr.MRScan(kspace=example.kspace, mask=example.mask[0])

    def error(image: torch.Tensor) -> float:
        return sr.metrics.nrmse(example.target, image.abs())

    told = {times: error(network(A, example.kspace, noise=times * example.noise))
            for times in (1 / 3, 1, 3)}  # fmt: skip
    assert error(sr.reconstruct(scan, "unrolled").data) == pytest.approx(told[1], rel=0.05)
    assert told[1] < 0.9 * min(told[1 / 3], told[3])


def test_ct_needs_no_weights_and_beats_filtered_backprojection(tmp_path) -> None:
    ellipses(tmp_path / "images.npy", 2, 128, -1000.0, 300.0)
    scans = SimulatedCT(tmp_path, shape=(128, 128), spacing=0.9, photons=1e4, fixed=True)
    example = scans[0]
    scan = sr.CTScan(sinogram=example.sinogram, geometry=scans.geometry, volume=scans.volume)
    errors = {}
    for method, options in (("fbp", {"filter": "hann"}), ("unrolled", {})):
        image = sr.reconstruct(scan, method=method, **options).data
        errors[method] = float((torch.as_tensor(image) - example.target).square().mean())
    assert errors["unrolled"] < 0.5 * errors["fbp"]


def test_mr_on_the_measured_brain(data_dir) -> None:
    """Undersampled lines of a subject that it was not trained on, by default settings."""
    from spinray.benchmarks.learned import MR_CASES, Scored

    brain = Scored(data_dir)
    mask, _ = MR_CASES["lines 4x"](brain.kspace.shape[1:], 0)
    mask = mask.expand(brain.kspace.shape[1:])
    scan = sr.MRScan(kspace=brain.kspace * mask, mask=mask)
    network, classical = (
        brain.score(sr.reconstruct(scan, method=method).data)
        for method in ("unrolled", "l1-wavelet")
    )
    assert network["nrmse"] < 0.055
    assert network["psnr"] > classical["psnr"] + 1.0
    assert network["ssim"] > classical["ssim"]


def test_mr_on_the_measured_brain_with_four_times_the_noise(data_dir) -> None:
    """A network that does not know the noise leaves it in the image: 27 dB."""
    from spinray.benchmarks.learned import MR_CASES, Scored

    brain = Scored(data_dir)
    mask, _ = MR_CASES["Poisson 8x"](brain.kspace.shape[1:], 0)
    scan = sr.MRScan(kspace=brain.noisier(4) * mask, mask=mask)
    assert brain.score(sr.reconstruct(scan, "unrolled").data)["psnr"] > 29.3


def test_the_ct_prior_on_the_measured_head(data_dir) -> None:
    """Few views of a subject that no training has seen, plug-and-play in ten passes."""
    from spinray.benchmarks.diffusion import Head

    head = Head(data_dir)
    head.fine, head.target, head.inside = (x[1:2] for x in (head.fine, head.target, head.inside))
    scan = head.scan(head.fan(60))
    plug_and_play = head.score(sr.reconstruct(scan, "pnp", passes=10))
    assert plug_and_play > head.score(sr.reconstruct(scan, "tv", weight="auto")) + 1.5
