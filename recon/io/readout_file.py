"""Raw files that consist of readouts, whatever their format."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

from .acquisitions import ON_GRID, Acquisitions, assemble, protocol_facts, trajectory_of
from .raw_file import Part, RawFile

_KINDS = {
    "noise": (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,),
    "phase correction": (ismrmrd.ACQ_IS_PHASECORR_DATA,),
    "navigator": (
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_PHASE_STABILIZATION,
        ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ),
    "dummy": (ismrmrd.ACQ_IS_DUMMYSCAN_DATA,),
    "calibration": (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,),
}


def readout_file(
    acquisitions: Acquisitions,
    encoding: int | None = None,
    sequence: str | PathLike[str] | None = None,
) -> RawFile:
    """A raw file of these readouts, of which an encoding space is to be read (see `assemble`).

    `sequence` is the Pulseq .seq that was played, where the readouts lack places and labels.
    """
    if sequence is not None:
        from .pulseq import with_sequence

        acquisitions = with_sequence(acquisitions, Path(sequence))
    imaging, chosen = acquisitions.imaging(encoding)
    layout = acquisitions.header.encoding[chosen]
    axes = acquisitions.axes(chosen)
    head = imaging.head
    missing = []
    if trajectory_of(layout) not in ON_GRID and not _has_trajectory(imaging):
        missing.append(
            f"trajectory: the scan is {trajectory_of(layout)} and its readouts say no places in "
            "k-space"
        )
    if not layout.encodedSpace.fieldOfView_mm.x:
        missing.append("field of view: not in the header, voxels of 1 mm assumed")
    facts = protocol_facts(acquisitions, layout)
    facts |= {"format": acquisitions.source, "encoding": chosen, **_counted(acquisitions)}
    facts["coils"] = int(head["active_channels"].max())
    facts["samples"] = _text_of(head["number_of_samples"])
    if (dwell := float(head["sample_time_us"][0])) > 0:
        facts["sample_time_us"] = round(dwell, 4)

    def take(part: Part) -> Any:
        return assemble(acquisitions.part(part, chosen) if part else acquisitions, chosen)

    sizes = head["number_of_samples"].astype(np.int64) * head["active_channels"]
    return RawFile(
        format=acquisitions.source,
        axes=axes,
        size=8 * int(sizes.sum()),
        facts=facts,
        take=take,
        missing=tuple(missing),
        readouts=acquisitions,
    )


def _has_trajectory(imaging: Acquisitions) -> bool:
    return len(imaging.trajectory[0]) > 0


def _counted(acquisitions: Acquisitions) -> dict[str, Any]:
    """How many readouts of which kind there are."""
    left = np.ones(len(acquisitions), bool)
    kinds = {}
    for name, flags in _KINDS.items():
        chosen = acquisitions.flagged(*flags) & left
        left &= ~chosen
        if chosen.any():
            kinds[name] = int(chosen.sum())
    kinds = {"imaging": int(left.sum()), **kinds}
    found: dict[str, Any] = {"readouts": ", ".join(f"{n} {name}" for name, n in kinds.items())}
    if backward := int((acquisitions.flagged(ismrmrd.ACQ_IS_REVERSE) & left).sum()):
        found["reversed_readouts"] = backward
    return found


def _text_of(values: np.ndarray[Any, Any]) -> int | str:
    low, high = int(values.min()), int(values.max())
    return low if low == high else f"{low} to {high}"
