"""Methods that apply a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...kernels.warn import warn
from ..arrays import difference_noise
from ..image import Image
from ..models import (
    FBPUNet,
    ItNet,
    LearnedPrimalDual,
    MoDL,
    Network,
    PromptVarNet,
    VarNet,
    load_model,
)
from ..models.cartesian import mask_kind
from ..models.weights import find_weights, shipped_models
from ..operators import XRayTransform
from ..scan import CTScan, MRScan
from ..solvers.common import Callback
from .ct import ct_image
from .mr_encoding import Samples, encoding, ready_for_maps
from .mr_noise import real_noise
from .mr_volumes import each_volume, mr_image
from .raw_chain import RawOptions
from .registry import Track, method, option

CT_NETWORKS = LearnedPrimalDual, ItNet, FBPUNet, MoDL
TOLERANCE = 1.1  # a range may be left by a tenth without a word,
MATRIX_TOLERANCE = 1.6  # and that of the matrix by more: networks see details, at many scales
OFFICIAL_MASKS = "lines along ky"  # of fastMRI's networks, whose weights do not say it


@dataclass(frozen=True)
class VarnetOptions(RawOptions):
    """Options of `varnet`."""

    weights: str = option("", "file of VarNet or PromptVarNet weights; fastMRI's official ones too")
    slices: bool = option(
        True, "whether the scan's slices are neighbours, for networks that take several"
    )


@method("varnet", "mri")
def varnet(scan: MRScan, options: VarnetOptions, track: Track) -> Image:
    """End-to-end variational network with learned coil maps, Cartesian 2D; needs weights."""
    if not scan.is_cartesian or scan.ndim != 2:
        kind = f"{scan.ndim}D Cartesian" if scan.is_cartesian else scan.trajectory_kind
        raise ValueError(f"varnet needs 2D Cartesian k-space, this is {kind}: try unrolled")
    model = network(options.weights, (VarNet, PromptVarNet), "varnet").to(scan.kspace.device)
    warn_of_unlike(model.training_facts, scan)
    if isinstance(model, VarNet) and not model.training_facts:
        kind = _sampling(scan)
        if not _covers(OFFICIAL_MASKS, kind):
            warn(
                f"sampling by {kind}: the weights do not say what they were trained on, fastMRI's "
                f"were on {OFFICIAL_MASKS}, the readout of its files; check the image against "
                "another method"
            )
    kspace = scan.kspace.reshape(-1, scan.coils, *scan.matrix)
    assert scan.mask is not None
    mask = scan.mask.expand(*scan.batch_shape, *scan.matrix).reshape(-1, 1, *scan.matrix)
    neighbours = options.slices and bool(scan.batch_axes) and scan.batch_axes[-1] == "slice"
    lines = scan.header.get("num_low_frequencies")  # a slice, if whoever undersampled knows
    images = []
    with track("varnet", len(kspace)) as step, torch.inference_mode():
        for index in range(len(kspace)):
            if isinstance(model, PromptVarNet):
                count = scan.batch_shape[-1] if neighbours else 1
                near = _neighbours(index, model.slices, count)
                image = model(kspace[None, near], mask[None, near])[0]
            else:
                one = slice(index, index + 1)
                image = model(kspace[one], mask[one], None if lines is None else lines[index])[0]
            images.append(image)
            step(index, image, 0.0)
    return mr_image(scan, torch.stack(images).reshape(*scan.batch_shape, *scan.matrix))


@dataclass(frozen=True)
class UnrolledOptions(RawOptions):
    """Options of `unrolled`."""

    weights: str = option("", "file of the network's weights, as `spinray train` writes them")
    calibration: int = option(24, "width of the k-space centre that the coil maps come from")


@method("unrolled", "mri", unit="volume", takes_maps=True)
def unrolled_mr(scan: MRScan, options: UnrolledOptions, track: Track) -> Image:
    """Unrolled network with ESPIRiT maps: denoiser and least squares in turn, any sampling."""
    model = network(options.weights or shipped("unrolled", "mri"), (MoDL,), "unrolled")
    model = model.to(scan.kspace.device)
    warn_of_unlike(model.training_facts, scan)

    def solve(volume: MRScan, sampling: Samples | None, step: Callback) -> Tensor:
        A = encoding(volume, options.calibration, sampling)
        with torch.inference_mode():
            image = model(A, volume.kspace, noise=real_noise(volume))
        step(0, image, 0.0)
        return image

    ready = ready_for_maps(scan, options.calibration)
    return each_volume(ready, solve, track, "unrolled", 1)


@dataclass(frozen=True)
class UnrolledCtOptions:
    """Options of `unrolled` for CT."""

    weights: str = option("", "file of the network's weights, as `spinray train` writes them")


@method("unrolled", "ct")
def unrolled_ct(scan: CTScan, options: UnrolledCtOptions, track: Track) -> Image:
    """Trained CT network (Learned Primal-Dual, ItNet, MoDL, FBP and U-Net), any geometry."""
    weights = options.weights or shipped("unrolled", "ct")
    model = network(weights, CT_NETWORKS, "unrolled").to(scan.sinogram.device)
    warn_of_unlike(model.training_facts, scan)
    A = XRayTransform(scan.geometry, scan.grid)
    stack = scan.sinogram.reshape(-1, *scan.geometry.shape)
    images = []
    with track("unrolled", len(stack)) as step, torch.inference_mode():
        for index, sinogram in enumerate(stack):
            images.append(model(A, sinogram))
            step(index, images[-1], 0.0)
    return ct_image(scan, torch.stack(images).reshape(*scan.batch_shape, *A.domain_shape))


def warn_of_unlike(facts: Mapping[str, Any], scan: MRScan | CTScan) -> None:
    """Warn if a scan is unlike those that a network was trained on.

    Parameters
    ----------
    facts
        The network's `training_facts`; what they do not say is not compared.
    scan
        What it will be applied to.

    Raises
    ------
    ValueError
        A network of the other modality.
    """
    modality = "mri" if isinstance(scan, MRScan) else "ct"
    if facts.get("modality", modality) != modality:
        raise ValueError(
            f"these weights are of a {facts['modality']} network, the scan is {modality}"
        )
    if isinstance(scan, MRScan):
        found: dict[str, tuple[float, ...]] = {"coils": (scan.coils,), "matrix": scan.matrix}
        kind = "trajectory"
        if scan.mask is not None:
            found["acceleration"] = (scan.acceleration,)
            kind = _sampling(scan)
        if not any(_covers(trained, kind) for trained in facts.get("masks", (kind,))):
            _warn(f"sampling by {kind}", ", ".join(facts["masks"]))
    else:
        found = {
            "views": (scan.geometry.shape[0],),
            "matrix": tuple(scan.grid.shape[-2:]),
            "pixel size": tuple(scan.grid.spacing[-2:]),
            "noise": (float(difference_noise(scan.sinogram[None].float())),),
        }
        beam = type(scan.geometry).__name__
        if beam not in facts.get("geometry", (beam,)):
            _warn(beam, ", ".join(facts["geometry"]))
    for name, values in found.items():
        low, high = facts.get(name, (0.0, float("inf")))
        tolerance = MATRIX_TOLERANCE if name == "matrix" else TOLERANCE
        if min(values) * tolerance < low or max(values) > high * tolerance:
            shown = " x ".join(f"{v:.4g}" for v in values)
            _warn(f"{name} {shown}", f"{low:g}" if low == high else f"{low:g} to {high:g}")


def _sampling(scan: MRScan) -> str:
    """Kind of a scan's first mask; of a volume's, in a plane across an axis that misses nothing."""
    assert scan.mask is not None
    mask = scan.mask.expand(*scan.batch_shape, *scan.matrix).reshape(-1, *scan.matrix)[0]
    if scan.ndim == 3:
        complete = {"kz", "ky", "kx"} - set(scan.undersampled_axes)
        axis = 0 if "kz" in complete or not complete else 2 if "kx" in complete else 1
        mask = mask.select(axis, mask.shape[axis] // 2)
    return mask_kind(mask)


def _covers(trained: str, kind: str) -> bool:
    """Whether a kind of masks is meant: "lines" are regular and random, along any axis."""
    return kind == "full" or set(trained.split()) <= set(kind.split())


def _warn(found: str, trained: str) -> None:
    warn(f"{found}: the network was trained on {trained}; check the image against another method")


def training_facts(method: str, options: Mapping[str, Any], modality: str) -> Mapping[str, Any]:
    """What the network behind a method was trained on; nothing for methods without one."""
    kinds = (VarNet, PromptVarNet) if method == "varnet" else (MoDL, *CT_NETWORKS)
    weights = options.get("weights", "")
    if method == "unrolled" and not weights:
        weights = shipped(method, "ct" if modality == "CT" else "mri")
    if method not in ("varnet", "unrolled") or not weights:
        return {}
    return network(weights, kinds, method).training_facts


@lru_cache(maxsize=2)
def _loaded(path: str, changed: tuple[int, ...]) -> Network:
    """Read once, and again when the file has changed."""
    return load_model(path)


def network(weights: str, kinds: tuple[type[Network], ...], name: str) -> Network:
    """Load the weights of a method, which takes some kinds of networks (none named: all)."""
    if not weights:
        raise ValueError(
            f"method {name} needs weights: --weights FILE (evaluate: --option weights=FILE)"
        )
    path = find_weights(weights)
    stat = path.stat()  # clocks tick in milliseconds: a file replaced at once keeps its time
    model = _loaded(str(path), (stat.st_mtime_ns, stat.st_ino, stat.st_size))
    if kinds and not isinstance(model, kinds):
        wanted = " or ".join(dict.fromkeys(kind.__name__ for kind in kinds))
        raise ValueError(f"{weights}: holds {type(model).__name__}, method {name} takes {wanted}")
    return model


def shipped(kind: str, modality: str) -> str:
    """Name of the network of a kind ("unrolled", "prior") that comes with Spinray."""
    name = f"{kind}-{'mr' if modality == 'mri' else 'ct'}"
    if name not in shipped_models():
        flag = "--prior" if kind == "prior" else "--weights"
        raise ValueError(f"no {modality} network came with this Spinray: give {flag} FILE")
    return name


def _neighbours(index: int, slices: int, count: int) -> list[int]:
    """The slice and those around it in its volume of `count`; the edge stands in beyond it."""
    first = index - index % count
    around = range(index - slices // 2, index + slices // 2 + 1)
    return [min(max(i, first), first + count - 1) for i in around]
