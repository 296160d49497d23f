"""What is done to raw MR data before any method: options that all MR methods take."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...kernels.warn import warn
from ..mri import (
    compress_coils,
    compression_matrices,
    correct_ghost,
    entropy_phase,
    live_coils,
    radial_delays,
    shift_spokes,
    whiten,
)
from ..scan import MRScan
from .registry import Method, option

log = logging.getLogger("spinray")


@dataclass(frozen=True)
class RawOptions:
    """Options of the raw chain."""

    coils: int | None = option(None, "compress to this many virtual coils first")
    compression: str = option(
        "svd",
        "one matrix for all of k-space, or one for each position along whole readouts",
        choices=("svd", "geometric"),
    )
    delays: bool = option(
        False, "2D radial: find gradient delays where spokes cross, and move the spokes"
    )


def unit_of(recipe: Method, given: Mapping[str, Any]) -> str:
    """What a method reconstructs on its own (`Method.unit`) with these options.

    Virtual coils and gradient delays are found in the whole scan.
    """
    parsed = recipe.parse(dict(given))
    whole = isinstance(parsed, RawOptions) and (parsed.coils is not None or parsed.delays)
    return "scan" if whole else recipe.unit


def prepared(scan: MRScan, options: RawOptions) -> MRScan:
    """The scan without dead coils, ghost and gradient delays, compressed if asked.

    Raises
    ------
    ValueError
        K-space that is zero, options that do not suit the scan.
    """
    scan = without_ghost(without_dead_coils(scan))
    if options.delays:
        scan = without_delays(scan)
    if options.coils is not None:
        scan = compressed(scan, options.coils, geometric=options.compression == "geometric")
    return scan


def without_dead_coils(scan: MRScan) -> MRScan:
    """Drop coils that received neither signal nor noise, with a warning."""
    live = live_coils(scan.kspace, scan.noise, ndim=sample_axes(scan))
    if bool(live.all()):
        return scan
    if not bool(live.any()):
        raise ValueError(f"k-space of {scan} is zero: nothing was measured")
    dead = (~live).nonzero().flatten().tolist()
    numbers = ", ".join(map(str, dead))
    warn(f"coil {numbers} of {scan.coils} (from 0) received nothing and is left out")
    noise = None if scan.noise is None else scan.noise[live]
    scan = change_coils(scan, lambda part: _coil_axis(part, live))
    return scan.replace(noise=noise, header={**scan.header, "dead_coils": numbers})


def without_ghost(scan: MRScan) -> MRScan:
    """Remove the ghost of reversed readouts that came without navigators, a volume each."""
    backward = scan.header.get("reversed_lines", ())
    if not backward or not scan.is_cartesian or scan.ndim != 2:
        return scan
    reverse = torch.zeros(scan.matrix[0], dtype=torch.bool, device=scan.kspace.device)
    reverse[list(backward)] = True
    log.info("readouts alternate and there are no navigators: ghost removed by least entropy")
    items = scan.kspace.reshape(-1, *scan.kspace.shape[-3:])
    corrected = [correct_ghost(item, reverse, entropy_phase(item, reverse)) for item in items]
    header = {k: v for k, v in scan.header.items() if k != "reversed_lines"}
    header["ghost_correction"] = "entropy"
    kspace = torch.stack(corrected).reshape(scan.kspace.shape)
    return scan.replace(kspace=kspace, header=header)


def without_delays(scan: MRScan) -> MRScan:
    """Move the spokes of a 2D radial scan to where the gradients had them."""
    trajectory, length = scan.trajectory, scan.readout_length
    if trajectory is None or length is None or scan.ndim != 2 or trajectory.ndim != 2:
        raise ValueError(f"delays=True is for 2D radial scans with one trajectory, not {scan}")
    first = scan.kspace.reshape(-1, *scan.kspace.shape[-2:])
    strongest = int(torch.linalg.vector_norm(first, dim=(1, 2)).argmax())
    shift = radial_delays(first[strongest], trajectory, length)
    cells = (shift * max(scan.image_shape)).tolist()
    text = ", ".join(f"{v:.3f}" for v in (cells[0][0], cells[1][1], cells[0][1]))
    log.info("spokes shifted by (y, x, across) %s cells of k-space", text)
    moved = shift_spokes(trajectory, length, shift)
    return scan.replace(trajectory=moved, header={**scan.header, "spoke_shift_cells": text})


def compressed(scan: MRScan, coils: int, *, geometric: bool = False) -> MRScan:
    """The whitened scan in its strongest virtual coils; a scan with no more coils as it is."""
    if coils >= scan.coils:
        return scan
    scan = whitened(scan)
    if geometric and not (scan.is_cartesian and scan.mask is not None and _whole_readouts(scan)):
        raise ValueError(f"geometric compression needs whole Cartesian readouts, not {scan}")
    matrices = compression_matrices(scan.kspace, coils, geometric=geometric, ndim=sample_axes(scan))
    return change_coils(
        scan, lambda part: compress_coils(part.kspace, matrices, ndim=sample_axes(part))
    )


def whitened(scan: MRScan) -> MRScan:
    """The scan with uncorrelated noise of unit variance, if it brought a noise measurement."""
    noise = scan.noise
    if noise is None:
        return scan
    scan = change_coils(scan, lambda part: whiten(part.kspace, noise, ndim=sample_axes(part)))
    return scan.replace(header={**scan.header, "whitened": True})


def change_coils(scan: MRScan, change: Callable[[MRScan], Tensor]) -> MRScan:
    """Replace the k-space of the scan, and of its calibration scan, by ``change(scan)``."""
    header = dict(scan.header)
    if (reference := header.get("calibration")) is not None:
        header["calibration"] = reference.replace(kspace=change(reference), noise=None)
    return scan.replace(kspace=change(scan), noise=None, header=header)


def sample_axes(scan: MRScan) -> int:
    """Axes of k-space after the coils."""
    return scan.ndim if scan.is_cartesian else 1


def _coil_axis(scan: MRScan, live: Tensor) -> Tensor:
    axis = scan.kspace.ndim - sample_axes(scan) - 1
    return scan.kspace.index_select(axis, live.nonzero().flatten())


def _whole_readouts(scan: MRScan) -> bool:
    assert scan.mask is not None
    return bool((scan.mask == scan.mask[..., :1]).all())
