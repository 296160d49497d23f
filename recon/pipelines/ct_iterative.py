"""Iterative CT methods: algebraic, least squares, statistical, total variation; any geometry."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, ConeBeam, HelicalBeam
from ..ct import fbp, fdk, ordered_views, wfbp
from ..ct import mltr as solve_mltr
from ..ct import pwls as solve_pwls
from ..ct import tgv as solve_tgv
from ..ct import tv as solve_tv
from ..ct.analytic import warn_of_cut, warn_of_truncation
from ..ct.statistical import passes
from ..image import Image
from ..operators import XRayTransform
from ..scan import CTScan
from ..solvers import Convergence
from ..solvers import cgls as solve_cgls
from ..solvers import lsqr as solve_lsqr
from ..solvers import mlem as solve_mlem
from ..solvers import sart as solve_sart
from ..solvers.neighbor_penalty import Potential
from .ct import covers_every_ray, ct_image
from .ct_chain import ReadingOptions
from .registry import Track, method, option
from .scan_noise import photons_of

Start = Literal["zero", "analytic"]
Solve = Callable[[XRayTransform, Tensor | None, Convergence], Tensor]
PASSES = "passes over all views; default: as many as make 240 updates of the image"
VIEWS = 10  # of a subset of `os-sart` and `osem`
FEW_VIEWS = f"of the views, each of which updates the image; default: of {VIEWS} views each"
SUBSETS = "of the views, each of which updates the image; default: as many as the views bear"


@dataclass(frozen=True)
class IterativeOptions(ReadingOptions):
    """Options of all iterative methods."""

    nonnegative: bool = option(True, "keep attenuation at or above zero")
    circle: bool = option(False, "zero outside the circle that all views see")
    tolerance: float = option(0.0, "stop when a pass changes the image by less than this part")


@dataclass(frozen=True)
class SirtOptions(IterativeOptions):
    """Options of `sirt`."""

    iterations: int = option(100, "steps; more sharpen the image, and its noise")
    start: str = option("zero", "where to start", choices=get_args(Start))


@dataclass(frozen=True)
class SartOptions(SirtOptions):
    """Options of `sart`."""

    iterations: int = option(3, "passes over all views; more sharpen the image, and its noise")
    relaxation: float = option(0.5, "length of the steps: shorter ones leave less noise")


@dataclass(frozen=True)
class OsSartOptions(SartOptions):
    """Options of `os-sart`."""

    iterations: int = option(10, "passes over all views; more sharpen the image, and its noise")
    relaxation: float = option(1.0, "length of the steps: shorter ones leave less noise")
    subsets: int | None = option(None, FEW_VIEWS)


@method("sirt", "ct")
def sirt(scan: CTScan, options: SirtOptions, track: Track) -> Image:
    """Simultaneous iterative reconstruction: least squares stopped early, any geometry."""
    return _sart(scan, options, track, "sirt", 1, 1.0)


@method("sart", "ct")
def sart(scan: CTScan, options: SartOptions, track: Track) -> Image:
    """Algebraic reconstruction, a view at a time, any geometry."""
    views = len(scan.geometry)
    return _sart(scan, options, track, "sart", views, options.relaxation)


@method("os-sart", "ct")
def os_sart(scan: CTScan, options: OsSartOptions, track: Track) -> Image:
    """Algebraic reconstruction by ordered subsets of the views, any geometry."""
    return _sart(
        scan, options, track, "os-sart", _few_views(scan, options.subsets), options.relaxation
    )


def _sart(
    scan: CTScan,
    options: SirtOptions,
    track: Track,
    name: str,
    count: int,
    relaxation: float,
) -> Image:
    def solve(A: XRayTransform, initial: Tensor | None, step: Convergence) -> Tensor:
        subsets = ordered_views(A, count)
        step.figures["subsets"] = len(subsets)
        return solve_sart(
            subsets,
            scan.sinogram,
            iterations=options.iterations,
            relaxation=relaxation,
            initial=initial,
            nonnegative=options.nonnegative,
            mask=_circle(scan, options),
            tolerance=options.tolerance,
            callback=step,
        )

    return _solved(scan, solve, track, name, options.iterations, options.start)


@dataclass(frozen=True)
class KrylovOptions(ReadingOptions):
    """Options of `cgls` and `lsqr`."""

    iterations: int = option(30, "steps at most; more sharpen the image, and its noise")
    weighted: bool = option(True, "weigh rays by their photons")
    stop: str | None = option(
        None, "when the noise explains what is left (discrepancy principle)", choices=("noise",)
    )
    photons: float | None = option(None, "a ray without object; default: from the scan itself")
    start: str = option("zero", "where to start", choices=get_args(Start))


@method("cgls", "ct")
def cgls(scan: CTScan, options: KrylovOptions, track: Track) -> Image:
    """Weighted least squares by conjugate gradients, stopped early, any geometry."""
    return _krylov(scan, options, track, "cgls")


@method("lsqr", "ct")
def lsqr(scan: CTScan, options: KrylovOptions, track: Track) -> Image:
    """Weighted least squares by bidiagonalisation, stopped early, any geometry."""
    return _krylov(scan, options, track, "lsqr")


def _krylov(scan: CTScan, options: KrylovOptions, track: Track, name: str) -> Image:
    solver = solve_cgls if name == "cgls" else solve_lsqr

    def solve(A: XRayTransform, initial: Tensor | None, step: Convergence) -> Tensor:
        weights, noise = None, None
        if options.weighted or options.stop:
            photons = photons_of(scan, options.photons)
            step.figures["photons_by"] = photons.source
            weights = photons.weights
        if options.stop and not options.weighted:
            assert weights is not None
            noise = float((1 / weights[weights > 0]).mean().sqrt())
            weights = None
        elif options.stop:
            noise = 1.0
        return solver(
            A,
            scan.sinogram,
            iterations=options.iterations,
            weights=weights,
            noise=noise,
            initial=initial,
            callback=step,
        )

    return _solved(scan, solve, track, name, options.iterations, options.start)


@dataclass(frozen=True)
class MlemOptions(ReadingOptions):
    """Options of `mlem`."""

    iterations: int = option(100, "passes over all views; more sharpen the image, and its noise")
    circle: bool = option(False, "zero outside the circle that all views see")
    tolerance: float = option(0.0, "stop when a pass changes the image by less than this part")


@dataclass(frozen=True)
class OsemOptions(MlemOptions):
    """Options of `osem`."""

    iterations: int = option(8, "passes over all views; more sharpen the image, and its noise")
    subsets: int | None = option(None, FEW_VIEWS)


@method("mlem", "ct")
def mlem(scan: CTScan, options: MlemOptions, track: Track) -> Image:
    """Expectation maximisation of line integrals, which never leaves zero, any geometry."""
    return _mlem(scan, options, track, "mlem", 1)


@method("osem", "ct")
def osem(scan: CTScan, options: OsemOptions, track: Track) -> Image:
    """Expectation maximisation of line integrals by ordered subsets, any geometry."""
    return _mlem(scan, options, track, "osem", _few_views(scan, options.subsets))


def _mlem(scan: CTScan, options: MlemOptions, track: Track, name: str, count: int) -> Image:
    def solve(A: XRayTransform, initial: Tensor | None, step: Convergence) -> Tensor:
        subsets = ordered_views(A, count)
        step.figures["subsets"] = len(subsets)
        return solve_mlem(
            subsets,
            scan.sinogram.clamp_min(0),
            iterations=options.iterations,
            mask=_circle(scan, options),
            tolerance=options.tolerance,
            callback=step,
        )

    return _solved(scan, solve, track, name, options.iterations, "zero")


@dataclass(frozen=True)
class PwlsOptions(IterativeOptions):
    """Options of `pwls` and `mltr`."""

    weight: float = option(1.8, "of the penalty, in units of the data's noise")
    edge: float = option(0.02, "difference that counts as an edge; 0.02 are about 20 HU")
    potential: str = option("q-ggmrf", "of the differences", choices=get_args(Potential))
    iterations: int | None = option(None, PASSES)
    subsets: int | None = option(None, SUBSETS)
    photons: float | None = option(None, "a ray without object; default: from the scan itself")
    start: str = option("analytic", "where to start", choices=get_args(Start))


@method("pwls", "ct")
def pwls(scan: CTScan, options: PwlsOptions, track: Track) -> Image:
    """Penalised weighted least squares (MBIR) by ordered subsets with momentum, any geometry."""
    return _statistical(scan, options, track, "pwls")


@method("mltr", "ct")
def mltr(scan: CTScan, options: PwlsOptions, track: Track) -> Image:
    """Penalised Poisson likelihood of the photons, for the lowest doses, any geometry."""
    return _statistical(scan, options, track, "mltr")


def _statistical(scan: CTScan, options: PwlsOptions, track: Track, name: str) -> Image:
    A = XRayTransform(scan.geometry, scan.grid)
    subsets = ordered_views(A, options.subsets)
    total = passes(subsets, options.iterations)
    photons = photons_of(scan, options.photons)

    def solve(_: XRayTransform, initial: Tensor | None, step: Convergence) -> Tensor:
        step.figures.update(subsets=len(subsets), photons_by=photons.source)
        common = {
            "weight": options.weight,
            "edge": options.edge,
            "potential": cast(Potential, options.potential),
            "iterations": total,
            "initial": initial,
            "nonnegative": options.nonnegative,
            "mask": _circle(scan, options),
            "tolerance": options.tolerance,
            "callback": step,
        }
        if name == "pwls":
            return solve_pwls(subsets, scan.sinogram, photons.weights, **common)  # type: ignore[arg-type]
        variance = photons.electronic_noise**2  # shifted Poisson: a mean of as many photons
        return solve_mltr(
            subsets,
            photons.counts + variance,
            photons.blank,
            background=variance,
            **common,  # type: ignore[arg-type]
        )

    return _solved(scan, solve, track, name, total, options.start, A)


@dataclass(frozen=True)
class TvOptions(IterativeOptions):
    """Options of `tv` and `tgv`."""

    weight: float | str = option(
        1e-3,
        "of the variation, in units that do not change with the scale; auto, for noisy scans: rays "
        "weighed by their photons, and as much as their noise asks for",
        choices=("auto",),
    )
    iterations: int | None = option(None, PASSES)
    subsets: int | None = option(None, SUBSETS)
    photons: float | None = option(None, "a ray without object, for auto; default: from the scan")
    start: str = option("analytic", "where to start", choices=get_args(Start))


@method("tv", "ct")
def tv(scan: CTScan, options: TvOptions, track: Track) -> Image:
    """Total variation and least squares, for few views or low dose, any geometry."""
    return _variation(scan, options, track, "tv")


@method("tgv", "ct")
def tgv(scan: CTScan, options: TvOptions, track: Track) -> Image:
    """Total generalised variation: as TV, without its stairs where attenuation ramps."""
    return _variation(scan, options, track, "tgv")


def _variation(scan: CTScan, options: TvOptions, track: Track, name: str) -> Image:
    A = XRayTransform(scan.geometry, scan.grid)
    subsets = ordered_views(A, options.subsets)
    total = passes(subsets, options.iterations)

    def solve(_: XRayTransform, initial: Tensor | None, step: Convergence) -> Tensor:
        step.figures["subsets"] = len(subsets)
        weights = None
        if options.weight == "auto":
            photons = photons_of(scan, options.photons)
            step.figures["photons_by"] = photons.source
            weights = photons.weights
        return (solve_tv if name == "tv" else solve_tgv)(
            subsets,
            scan.sinogram,
            weight=cast(float | Literal["auto"], options.weight),
            weights=weights,
            iterations=total,
            initial=initial,
            nonnegative=options.nonnegative,
            mask=_circle(scan, options),
            tolerance=options.tolerance,
            callback=step,
        )

    return _solved(scan, solve, track, name, total, options.start, A)


def _few_views(scan: CTScan, subsets: int | None) -> int:
    return max(len(scan.geometry) // VIEWS, 1) if subsets is None else subsets


def _solved(
    scan: CTScan,
    solve: Solve,
    track: Track,
    name: str,
    total: int,
    start: str,
    A: XRayTransform | None = None,
) -> Image:
    """The image of a solver, with its convergence among the metadata."""
    if isinstance(scan.geometry, CircularBeam):
        warn_of_truncation(scan.sinogram, scan.geometry)
    A = A or XRayTransform(scan.geometry, scan.grid)
    warn_of_cut(scan.sinogram, A)
    initial = analytic_image(scan) if start == "analytic" else None
    with track(name, total) as step:
        record = Convergence(step)
        record.figures["start"] = "zero" if initial is None else "analytic image"
        data = solve(A, initial, record)
    image = ct_image(scan, data)
    return dataclasses.replace(image, metadata={**image.metadata, "convergence": record.summary()})


def analytic_image(scan: CTScan) -> Tensor | None:
    """A smooth analytic image without negative values, or None where no analytic method applies.

    What a helix does not cover is continued from the nearest slice that it does.
    """
    geometry, grid = scan.geometry, scan.grid
    if not isinstance(geometry, CircularBeam):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not covered: iterations will
        if isinstance(geometry, HelicalBeam):
            try:
                image = wfbp(scan.sinogram, geometry, grid, filter="hann")
            except ValueError:  # gaps between its turns
                return None
            return _continued(image).clamp_min_(0)
        if not covers_every_ray(geometry):
            return None
        reconstruct = fdk if isinstance(geometry, ConeBeam) else fbp
        return reconstruct(scan.sinogram, geometry, grid, filter="hann").clamp_min_(0)


def _continued(volume: Tensor) -> Tensor:
    """Empty slices of ``(*batch, z, y, x)`` at both ends take the nearest one's values."""
    slices = (volume != 0).reshape(-1, *volume.shape[-3:]).any(0).flatten(1).any(1)
    filled = slices.nonzero().flatten()
    if not len(filled):
        return volume
    low, high = int(filled[0]), int(filled[-1])
    index = torch.arange(volume.shape[-3], device=volume.device).clamp(low, high)
    return volume.index_select(-3, index)


def _circle(scan: CTScan, options: IterativeOptions | MlemOptions) -> Tensor | None:
    """The pixels within the field of view, ``(y, x)``, if asked for."""
    if not options.circle:
        return None
    if not isinstance(scan.geometry, CircularBeam):
        raise ValueError(f"circle is for parallel, fan and cone beams, not {scan.geometry}")
    y, x = (torch.from_numpy(scan.grid.positions(axis)) for axis in (-2, -1))
    inside = torch.hypot(y[:, None], x[None]) <= scan.geometry.field_radius
    return inside.to(scan.sinogram.device)
