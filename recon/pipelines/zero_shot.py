"""Methods that learn from the scan itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ..image import Image
from ..models import MoDL
from ..mri import wavelet_sense
from ..operators import XRayTransform
from ..scan import CTScan, MRScan
from ..solvers import Convergence
from ..zero_shot import deep_image_prior, zs_ssl
from ..zero_shot import noise2inverse as learn_from_views
from ..zero_shot.self_supervised import SPLITS
from ..zero_shot.splitting import central, restricted
from .ct import ct_image
from .learned import network
from .mr_encoding import Samples, density_weighted, encoding, ready_for_maps
from .mr_noise import real_noise
from .mr_volumes import each_volume
from .raw_chain import RawOptions
from .registry import Track, method, option

CENTRE = 2  # cells from the centre of k-space: these samples are never held back


@dataclass(frozen=True)
class ZeroShotOptions(RawOptions):
    """Options of `zs-ssl`."""

    rounds: int = option(40, f"at most; a round is {SPLITS} steps, held-out samples stop earlier")
    weights: str = option("", "file of MoDL weights to start from; empty: none, from scratch")
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")
    seed: int = option(1, "of all that is random")


@method("zs-ssl", "mri", unit="volume", takes_maps=True)
def zero_shot(scan: MRScan, options: ZeroShotOptions, track: Track) -> Image:
    """Zero-shot self-supervised learning: an unrolled network trained on this scan alone."""
    _require_2d(scan, "zs-ssl")
    start = network(options.weights, (MoDL,), "zs-ssl") if options.weights else None

    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        measured, centre = sample_masks(volume)
        A = encoding(volume, options.calibration, sampling)
        weighted, root = density_weighted(A, sampling)

        def wavelets(samples: Tensor) -> Tensor:
            return wavelet_sense(restricted(weighted, samples), root * volume.kspace * samples)

        # a new network's weights are meant for any noise: its denoiser finds none at first
        return zs_ssl(
            A, volume.kspace, measured, rounds=options.rounds, network=cast(MoDL | None, start),
            noise=real_noise(volume) if start else None, initial=None if start else wavelets,
            centre=centre, seed=options.seed, callback=step,
        )  # fmt: skip

    ready = ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, "zs-ssl", options.rounds * SPLITS)


@dataclass(frozen=True)
class DipOptions(RawOptions):
    """Options of `dip`."""

    iterations: int = option(1500, "steps at most; held-out samples stop earlier")
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")
    seed: int = option(1, "of all that is random")


@method("dip", "mri", unit="volume", takes_maps=True)
def dip_mr(scan: MRScan, options: DipOptions, track: Track) -> Image:
    """Deep image prior: an untrained band-limited network fitted to this scan."""
    _require_2d(scan, "dip")

    def solve(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
        measured, centre = sample_masks(volume)
        return deep_image_prior(
            encoding(volume, options.calibration, sampling), volume.kspace, measured,
            iterations=options.iterations, centre=centre, seed=options.seed, callback=step,
        )  # fmt: skip

    ready = ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, "dip", options.iterations)


@dataclass(frozen=True)
class DipCtOptions:
    """Options of `dip` for CT."""

    iterations: int = option(1500, "steps at most; held-out rays stop earlier")
    seed: int = option(1, "of all that is random")


@method("dip", "ct")
def dip_ct(scan: CTScan, options: DipCtOptions, track: Track) -> Image:
    """Deep image prior: an untrained band-limited network fitted to this scan; 2D geometries."""
    P = XRayTransform(scan.geometry, scan.grid)
    stack = scan.sinogram.reshape(-1, *scan.geometry.shape)
    images = []
    with track("dip", options.iterations * len(stack)) as step:
        for sinogram in stack:
            measured = torch.ones_like(sinogram, dtype=torch.bool)
            images.append(
                deep_image_prior(
                    P, sinogram, measured, iterations=options.iterations, seed=options.seed,
                    callback=step,
                )
            )  # fmt: skip
    data = torch.stack(images).clamp_min(0).reshape(*scan.batch_shape, *P.domain_shape)
    return ct_image(scan, data)


@dataclass(frozen=True)
class NoiseToInverseOptions:
    """Options of `noise2inverse`."""

    steps: int = option(1000, "of the optimiser, a slice each")
    chans: int = option(16, "width of the U-Net's finest level")
    seed: int = option(1, "of all that is random")


@method("noise2inverse", "ct")
def noise2inverse(scan: CTScan, options: NoiseToInverseOptions, track: Track) -> Image:
    """Noise2Inverse: a denoiser trained on this scan, one part of the views against the rest."""
    with track("noise2inverse", options.steps) as step:
        data = learn_from_views(
            scan.sinogram, scan.geometry, scan.grid, steps=options.steps, chans=options.chans,
            seed=options.seed, callback=step,
        )  # fmt: skip
    return ct_image(scan, data)


def sample_masks(volume: MRScan) -> tuple[Tensor, Tensor]:
    """Which samples a volume has, and those at the centre of k-space; broadcast to its data."""
    if volume.trajectory is not None:
        distance = (
            volume.trajectory * torch.tensor(volume.image_shape).to(volume.trajectory)
        ).norm(dim=-1)
        return torch.ones_like(distance, dtype=torch.bool), distance <= CENTRE
    assert volume.mask is not None
    mask = volume.mask.expand(volume.matrix)
    return mask, central(mask, CENTRE)


def _require_2d(scan: MRScan, name: str) -> None:
    if scan.ndim != 2:
        raise ValueError(f"{name} reconstructs slices, this scan is {scan.ndim}D")
