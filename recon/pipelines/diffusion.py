"""Methods with a diffusion prior: samples of the posterior, and plug-and-play."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, Geometry, HelicalBeam
from ...kernels.warn import warn
from ..arrays import item_scale
from ..ct import tv as ct_tv
from ..ct.hounsfield import WATER
from ..ct.redundancy import angular_range
from ..diffusion import novelty, plug_and_play, sample
from ..diffusion.half_quadratic import WEIGHT
from ..diffusion.samplers import WARM, Sampler
from ..diffusion.unlike import CLEAR as UNLIKE
from ..image import Image
from ..models import EDMDenoiser
from ..models.scaling import unit_norm
from ..mri import wavelet_sense
from ..operators import LinearOperator, XRayTransform
from ..operators.diagonal import Diagonal
from ..scan import CTScan, MRScan
from ..solvers import Convergence
from ..uncertainty import residual_test, split, statistics
from .ct import ct_image
from .learned import network, shipped, warn_of_unlike
from .mr_encoding import Samples, density_weighted, encoding, ready_for_maps
from .mr_noise import real_noise
from .mr_volumes import each_volume
from .raw_chain import RawOptions
from .registry import Recipe, Track, method, option
from .scan_noise import photons_of

SEEN = 0.95  # of the angle that analytic reconstruction needs; with less, a scan is limited
WARM_ITERATIONS = 40  # of the classical image that samplers start from
GROSS = 10.0  # residual, in units of the noise's variance, that is no small error of the model
SUMMARIES = {
    "dds": "Diffusion prior, decomposed sampling: a few conjugate gradient steps a network pass",
    "dps": "Diffusion prior, posterior sampling by gradients through the network",
    "diffpir": "Diffusion prior, restoration by proximal steps (DiffPIR)",
    "daps": "Diffusion prior, decoupled annealing: a clean image at each noise level, then noise",
    "langevin": "Diffusion prior, annealed Langevin dynamics: needs hundreds of passes",
    "pnp": "Plug-and-play: the prior's denoiser and least squares in turn; one image",
}


@dataclass(frozen=True)
class Descent:
    """From which noise, in how many network passes; momentum is that of `pnp`."""

    passes: int = 25
    start: float = WARM
    momentum: float = 0.0


LIMITED = Descent(100, 0.5, 0.8)  # the best of few tried, on a head and a validation abdomen


@dataclass(frozen=True)
class PriorOptions:
    """Options of methods with a diffusion prior."""

    prior: str = option(
        "", "file of the prior's weights, as `spinray train` writes them; empty: the prior that "
        "comes with Spinray"
    )  # fmt: skip
    noise: float | str = option(
        "auto", "standard deviation of the data's noise (real part)", choices=("auto",)
    )  # fmt: skip
    weight: float = option(WEIGHT, "how much the data count against the prior")

    def __post_init__(self) -> None:
        for name in ("weight", "noise"):
            if getattr(self, name) == 0:
                raise ValueError(f"option {name} must be above 0, got 0")


@dataclass(frozen=True)
class MrPriorOptions(RawOptions, PriorOptions):
    """Options of MR methods with a diffusion prior."""

    passes: int = option(Descent.passes, "network passes for each image")
    start: float = option(
        WARM, "noise added to the classical image to begin with, in units of the image's "
        "maximum; 0 starts from noise alone"
    )  # fmt: skip
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@dataclass(frozen=True)
class CtPriorOptions(PriorOptions):
    """Options of CT methods with a diffusion prior."""

    noise: float | str = option(
        "auto", "standard deviation of line integrals in air; auto asks the blank scan's "
        "frames, or the line integrals themselves", choices=("auto",)
    )  # fmt: skip
    weight: float = option(20.0, "how much the data count against the prior")
    passes: int | str = option(
        "auto", "network passes for each image; auto: 25, or 100 for pnp where the views cover "
        "too small an angle", choices=("auto",)
    )  # fmt: skip
    start: float | str = option(
        "auto", "noise added to the classical image to begin with, in units of water; 0 starts "
        "from noise alone; auto: 0.05, or 0.5 for pnp where the views cover too small an angle",
        choices=("auto",)
    )  # fmt: skip

    def descent(self, name: str, geometry: Geometry) -> Descent:
        """By `pnp`, what no view tells grows from high noise, in many passes, with momentum.

        Samplers, which draw several images, keep to fewer passes.
        """
        default = LIMITED if name == "pnp" and limited(geometry) else Descent()
        return Descent(
            default.passes if self.passes == "auto" else int(self.passes),
            default.start if self.start == "auto" else float(self.start),
            default.momentum,
        )


@dataclass(frozen=True)
class DrawOptions:
    """Options of methods that draw images at random: all but plug-and-play."""

    samples: int = option(8, "images to draw; the image is their mean, with standard deviation")
    seed: int = option(1, "of all that is random")


@dataclass(frozen=True)
class MrSamplerOptions(DrawOptions, MrPriorOptions):
    """Options of MR methods that draw from the posterior."""


@dataclass(frozen=True)
class CtSamplerOptions(DrawOptions, CtPriorOptions):
    """Options of CT methods that draw from the posterior."""


def limited(geometry: Geometry) -> bool:
    """Whether the views of a circle leave a wedge of directions unseen."""
    if not isinstance(geometry, CircularBeam) or isinstance(geometry, HelicalBeam):
        return False
    covered, needed = angular_range(geometry)
    return covered < SEEN * needed


@dataclass(frozen=True)
class Task:
    """One volume to reconstruct, in the prior's terms."""

    prior: EDMDenoiser
    A: LinearOperator
    y: Tensor
    noise: float
    initial: Tensor
    scale: float
    descent: Descent


def solve(task: Task, name: str, options: PriorOptions, step: Convergence) -> Tensor:
    """Samples ``(sample, [z,] y, x)``; how far to trust them goes into the figures of `step`."""
    common: dict[str, Any] = {
        "noise": task.noise, "scale": task.scale, "weight": options.weight, "callback": step,
    }  # fmt: skip
    descent = task.descent
    if descent.start > 0:
        common.update(initial=task.initial, start=descent.start)
    if not isinstance(options, DrawOptions):
        image = plug_and_play(
            task.prior, task.A, task.y, iterations=descent.passes, momentum=descent.momentum,
            **common,
        )  # fmt: skip
        samples = image[None]
    else:
        samples = sample(
            task.prior, task.A, task.y, sampler=cast(Sampler, name), samples=options.samples,
            passes=descent.passes, seed=options.seed, **common,
        )  # fmt: skip
    step.figures.update(trust(task, samples.mean(0)))
    return samples


def trust(task: Task, image: Tensor) -> dict[str, Any]:
    """Residual, part of the image that the data do not tell, likeness to the training; warns."""
    test = residual_test(task.A, image, task.y, task.noise)
    if test.verdict == "noise" or test.ratio > GROSS:
        warn(str(test))
    _, norm = unit_norm(task.A, task.y)
    relative = max(task.noise / (norm * task.scale), 1e-3)
    figures: dict[str, Any] = {
        "noise": task.noise,
        "residual": round(test.ratio, 4),
        "residual_verdict": test.verdict,
        "added_by_prior": round(split(task.A, image, noise=relative, iterations=30).fraction, 5),
    }
    if task.prior.training_facts.get("figures", {}).get("denoising"):
        figures["novelty"] = round(novelty(task.prior, task.initial, scale=task.scale), 3)
        if float(figures["novelty"]) > UNLIKE:
            warn(
                f"the prior denoises this image {figures['novelty']:.1f} times worse than those of "
                "its validation: another anatomy or contrast, or heavy artefacts; check it "
                "against another method"
            )
    return figures


def _mr(name: str) -> Recipe:
    def recipe(scan: MRScan, options: MrPriorOptions, track: Track) -> Image:
        model = _prior(options.prior, "mri", scan, name).to(scan.kspace.device)

        def volume_samples(volume: MRScan, sampling: Samples | None, step: Convergence) -> Tensor:
            return solve(_mr_task(model, volume, sampling, options), name, options, step)

        passes = options.passes
        ready = ready_for_maps(scan, options.calibration)
        drawn = each_volume(ready, volume_samples, track, name, passes)
        return summarised(drawn, scan.ndim)

    recipe.__doc__ = SUMMARIES[name] + "; ESPIRiT maps, any sampling."
    recipe.__annotations__["options"] = MrPriorOptions if name == "pnp" else MrSamplerOptions
    return recipe


def _mr_task(
    model: EDMDenoiser,
    volume: MRScan,
    sampling: Samples | None,
    options: MrPriorOptions,
) -> Task:
    """Encoding, noise and a compressed-sensing image to start from."""
    A = encoding(volume, options.calibration, sampling)
    weighted, root = density_weighted(A, sampling)
    initial = wavelet_sense(weighted, root * volume.kspace, iterations=WARM_ITERATIONS)
    noise = real_noise(volume) if options.noise == "auto" else float(options.noise)
    scale = float(item_scale(initial, volume.ndim))
    descent = Descent(options.passes, options.start)
    return Task(model, A, volume.kspace, noise, initial, scale, descent)


def _ct(name: str) -> Recipe:
    def recipe(scan: CTScan, options: CtPriorOptions, track: Track) -> Image:
        model = _prior(options.prior, "ct", scan, name).to(scan.sinogram.device)
        descent = options.descent(name, scan.geometry)
        P = XRayTransform(scan.geometry, scan.grid)
        stack = scan.sinogram.reshape(-1, *scan.geometry.shape)
        photons = photons_of(scan)
        air = float(photons.blank.mean())
        drawn, records = [], []
        with track(name, descent.passes * len(stack)) as step:
            for sinogram, weights in zip(stack, photons.weights.reshape_as(stack), strict=True):
                records.append(Convergence(step, figures={"photons_by": photons.source}))
                task = _ct_task(model, P, sinogram, weights, air, options, descent)
                drawn.append(solve(task, name, options, records[-1]).clamp_min(0))
        data = torch.stack(drawn).reshape(*scan.batch_shape, *drawn[0].shape)
        axis = data.ndim - len(P.domain_shape) - 1
        image = ct_image(scan, data.select(axis, 0))
        figures = [record.summary() for record in records]
        image = dataclasses.replace(
            image, metadata={"convergence": figures[0] if len(figures) == 1 else figures}
        )
        return _with_samples(image, data.movedim(axis, 0))

    recipe.__doc__ = SUMMARIES[name] + "; any geometry."
    recipe.__annotations__["options"] = CtPriorOptions if name == "pnp" else CtSamplerOptions
    return recipe


def _ct_task(
    model: EDMDenoiser,
    P: XRayTransform,
    sinogram: Tensor,
    weights: Tensor,
    air: float,
    options: CtPriorOptions,
    descent: Descent,
) -> Task:
    """Projection and data weighted to white noise, and a total-variation image to start from.

    `weights` are inverse variances of the rays, `air` is that of a ray without object.
    """
    root = (weights / air).sqrt()
    noise = 1 / math.sqrt(air) if options.noise == "auto" else float(options.noise)
    initial = ct_tv(P, sinogram, iterations=WARM_ITERATIONS)
    return Task(model, Weighted(root) @ P, root * sinogram, noise, initial, WATER, descent)


class Weighted(Diagonal):
    """Real weights of real data."""

    dtype = torch.float32


def summarised(image: Image, ndim: int) -> Image:
    """Samples ``(*batch, sample, [z,] y, x)`` as their mean, deviation and themselves."""
    axis = image.data.ndim - ndim - 1
    samples = image.data.movedim(axis, 0)
    return _with_samples(image, samples)


def _with_samples(image: Image, samples: Tensor) -> Image:
    mean, deviation = statistics(samples)
    if len(samples) == 1:
        return dataclasses.replace(image, data=mean)
    return dataclasses.replace(image, data=mean, deviation=deviation, samples=samples)


def _prior(weights: str, modality: str, scan: MRScan | CTScan, name: str) -> EDMDenoiser:
    model = cast(
        EDMDenoiser, network(weights or shipped("prior", modality), (EDMDenoiser,), name)
    )  # fmt: skip
    warn_of_unlike(model.training_facts, scan)
    return model


for _name in SUMMARIES:
    method(_name, "mri", unit="volume", takes_maps=True)(_mr(_name))
    method(_name, "ct")(_ct(_name))
