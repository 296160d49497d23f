"""Echo-planar readouts made plain: even in k-space, and without the ghost of their directions.

The gradient's shape stands in the header as ISMRMRD's converters write it: a trajectory
description with rampUpTime, flatTopTime, rampDownTime and acqDelayTime in us; sineRamps (0 or 1)
is Spinray's own, for twix files.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import ismrmrd
import numpy as np
import torch
from ismrmrd import xsd
from numpy.typing import NDArray
from torch import Tensor

from ..mri import correct_ghost, navigator_phase, regrid_readouts, trapezoid_positions
from .errors import FormatError
from .flags import flag_bits

if TYPE_CHECKING:
    from .acquisitions import Acquisitions

# Counters that the readouts of an echo train share: its navigators may differ in their average.
_TRAIN = ("repetition", "set", "phase", "contrast", "slice")
_TIMES = {
    "ramp_up": "rampUpTime",
    "flat_top": "flatTopTime",
    "ramp_down": "rampDownTime",
    "delay": "acqDelayTime",
}


def even_readouts(readouts: Acquisitions, layout: xsd.encodingType, sign: int = 1) -> Acquisitions:
    """Readouts on a trapezoidal gradient, regridded to the encoded matrix; others as they are.

    `sign` is that of `image_sign`: Siemens tunes receivers to the middle of the field of view as if
    k-space passed evenly; on ramps it does not, and the phase that is left is taken away first.

    Raises
    ------
    FormatError
        Readouts of several lengths, or longer than the gradient.
    """
    gradient = _gradient(layout)
    if not gradient or not len(readouts):
        return readouts
    size = layout.encodedSpace.matrixSize.x
    lengths = {data.shape[1] for data in readouts.data}
    if len(lengths) > 1:
        raise FormatError(None, "EPI readouts", f"have {sorted(lengths)} samples, expected one")
    samples, dwell = lengths.pop(), float(readouts.head["sample_time_us"][0])
    try:
        positions = trapezoid_positions(samples, dwell, size=size, **gradient)
    except ValueError as error:
        raise FormatError(None, "XML header, trajectory description", str(error)) from error
    lines, backward = _turned(readouts)
    lines = lines * _uneven_phase(readouts, backward, positions, layout, sign)
    even = lines.new_empty((*lines.shape[:-1], size))
    for way, places in ((~backward, positions), (backward, -positions.flip(0))):
        if bool(way.any()):
            even[way] = regrid_readouts(lines[way], places, size)
    head = readouts.head.copy()
    head["number_of_samples"], head["center_sample"] = size, size // 2
    head["discard_pre"] = head["discard_post"] = 0
    return _with_lines(readouts, even, backward, head)


def ghost_free(readouts: Acquisitions, navigators: Acquisitions) -> Acquisitions:
    """Readouts without the phase between both directions that the navigators of their train show.

    Corrected readouts are turned around and no longer flagged as reversed. A train without
    navigators of both directions takes those of another train of its slice; without any, its
    readouts stay as they are.
    """
    if not readouts.flagged(ismrmrd.ACQ_IS_REVERSE).any() or not len(navigators):
        return readouts
    phases = _phases(navigators)
    length = len(next(iter(phases.values()), ()))
    head, data = readouts.head.copy(), list(readouts.data)
    trains = _trains(readouts)
    for train in sorted(set(trains)):
        members = np.flatnonzero([other == train for other in trains])
        phase = phases.get(train, next((p for t, p in phases.items() if t[-1] == train[-1]), None))
        if phase is None or any(data[i].shape[1] != length for i in members):
            continue
        lines, backward = _turned(readouts.select(np.isin(np.arange(len(trains)), members)))
        lines = correct_ghost(lines.movedim(0, 1), backward, phase).movedim(1, 0)
        for i, line in zip(members, lines.numpy(), strict=True):
            data[i] = line
        head["flags"][members] &= ~flag_bits(ismrmrd.ACQ_IS_REVERSE)
        turned = members[backward.numpy()]
        ends = head["discard_pre"][turned], head["discard_post"][turned]
        head["discard_post"][turned], head["discard_pre"][turned] = ends
    return dataclasses.replace(readouts, head=head, data=data)


def _uneven_phase(
    readouts: Acquisitions, backward: Tensor, positions: Tensor, layout: xsd.encodingType, sign: int
) -> Tensor:
    """Factors ``(line, 1, sample)`` that centre turned lines where the receiver did not."""
    head = readouts.head
    offset = sign * (head["position"] * head["read_dir"]).sum(axis=1)
    view = layout.encodedSpace.fieldOfView_mm.x
    if sign > 0 or not view or not np.isfinite(offset).all():
        return torch.ones(1, 1, 1)
    samples = len(positions)
    middle = float(positions[samples // 2 - 1] + positions[samples // 2]) / 2
    step = float(positions[samples // 2] - positions[samples // 2 - 1])
    tuned = middle + step * (torch.arange(samples) - (samples - 1) / 2)
    left = torch.where(backward[:, None], (tuned - positions).flip(0), positions - tuned)
    phase = 2 * torch.pi * torch.from_numpy(offset)[:, None] / view * left
    return torch.polar(torch.ones_like(phase), phase).to(torch.complex64)[:, None]


def _gradient(layout: xsd.encodingType) -> dict[str, Any]:
    """Times of the trapezoid in us; empty where the header has none."""
    description = layout.trajectoryDescription
    if description is None:
        return {}
    stored: dict[str, float] = {
        parameter.name: float(parameter.value)
        for parameter in (*description.userParameterLong, *description.userParameterDouble)
    }
    if not {"rampUpTime", "flatTopTime", "rampDownTime"} <= stored.keys():
        return {}
    times = {name: stored.get(key, 0.0) for name, key in _TIMES.items()}
    return {**times, "sine_ramps": bool(stored.get("sineRamps"))}


def _phases(navigators: Acquisitions) -> dict[tuple[int, ...], Tensor]:
    """Phase along x of every train that has navigators of both directions."""
    phases = {}
    trains = _trains(navigators)
    for train in sorted(set(trains)):
        own = navigators.select(np.array([other == train for other in trains]))
        if len({data.shape for data in own.data}) > 1:
            continue
        lines, backward = _turned(own)
        if bool(backward.any()) and not bool(backward.all()) and bool((lines != 0).any()):
            phases[train] = navigator_phase(lines.movedim(0, 1), backward)
    return phases


def _trains(readouts: Acquisitions) -> list[tuple[int, ...]]:
    idx = readouts.head["idx"]
    return list(zip(*(idx[name].tolist() for name in _TRAIN), strict=True))


def _turned(readouts: Acquisitions) -> tuple[Tensor, Tensor]:
    """Lines ``(line, coil, kx)`` with reversed ones turned around, and which those are."""
    backward = readouts.flagged(ismrmrd.ACQ_IS_REVERSE)
    lines = [d[:, ::-1] if b else d for d, b in zip(readouts.data, backward, strict=True)]
    return torch.from_numpy(np.stack(lines)), torch.from_numpy(backward)


def _with_lines(
    readouts: Acquisitions, lines: Tensor, backward: Tensor, head: NDArray[np.void]
) -> Acquisitions:
    """The readouts with other data, each in the order of its time again."""
    data: list[Any] = [
        line[:, ::-1] if b else line
        for line, b in zip(lines.numpy(), backward.tolist(), strict=True)
    ]
    return dataclasses.replace(readouts, head=head, data=data)
