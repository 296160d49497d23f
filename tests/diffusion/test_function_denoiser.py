"""Plug-and-play with a denoiser that is no network: non-local means, on a low-dose fan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_nl_means

import spinray as sr
from spinray.recon.diffusion import FunctionDenoiser, plug_and_play
from spinray.recon.pipelines.diffusion import Weighted
from spinray.recon.pipelines.scan_noise import photons_of

WATER = 0.0193


def non_local_means(image: np.ndarray, sigma: float) -> np.ndarray:
    return denoise_nl_means(
        image, patch_size=5, patch_distance=3, h=0.6 * sigma, sigma=sigma, fast_mode=True
    )


def test_non_local_means_gain_on_a_low_dose_fan() -> None:
    geometry = sr.FanBeam(
        np.arange(240) * 2 * np.pi / 240, 128, 4.8, 595.0, 1085.6, detector="curved",
        column_offset=0.25,
    )  # fmt: skip
    scan = sr.datasets.simulate_ct(
        geometry=geometry, photons=5e3, volume=sr.VolumeGrid((96, 96), 2.5), seed=0
    )
    truth = sr.datasets.reference_image(scan).data

    def error(image: torch.Tensor) -> float:
        return float((image - truth).square().mean().sqrt())

    analytic = {c: sr.reconstruct(scan, "fbp", filter="hann", cutoff=c).data for c in (1.0, 0.8)}
    weights = photons_of(scan).weights
    root = (weights / weights.mean()).sqrt()
    A = Weighted(root) @ sr.XRayTransform(geometry, scan.grid)
    image = plug_and_play(
        FunctionDenoiser(non_local_means), A, root * scan.sinogram, initial=analytic[1.0],
        noise=float(weights.mean() ** -0.5), scale=WATER, start=0.15, iterations=8, weight=0.3,
    )  # fmt: skip
    assert error(image) < 0.71 * min(error(x) for x in analytic.values())  # 3 dB
    # it is the denoiser: without one, least squares keep the noise
    same = plug_and_play(
        FunctionDenoiser(lambda x, sigma: x), A, root * scan.sinogram, initial=analytic[1.0],
        noise=float(weights.mean() ** -0.5), scale=WATER, start=0.15, iterations=8, weight=0.3,
    )  # fmt: skip
    assert error(same) > 1.5 * error(image)


def test_what_a_denoiser_returns_is_looked_at() -> None:
    A = sr.Sampling(torch.ones(6, 8, dtype=torch.bool))
    A.dtype = torch.float32
    with pytest.raises(ValueError, match=r"the denoiser made \(8, 6\) of an image of \(6, 8\)"):
        plug_and_play(FunctionDenoiser(lambda x, _: x.T), A, torch.ones(6, 8), noise=0.1)
