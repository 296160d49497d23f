"""The measurement data blocks of Siemens twix files, as readouts with ISMRMRD's headers.

A block is a header (MDH), then the channels' samples, each channel after a header of its own. The
layouts are those of `twixtools`. VB: the MDH (128 bytes) stands before every channel. VD, VE, XA:
the MDH (192 bytes) stands once, 32 bytes before every channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray
from twixtools import mdh_def

from .acquisitions import ACQUISITION_HEADER
from .errors import FormatError
from .flags import flag_bits
from .stored import StoredReadouts, gather

_BLOCK_LENGTH = 0x01FFFFFF  # bits of FlagsAndDMALength
_RUN = 4096  # blocks looked at together

# Flag of the MDH -> flag of ISMRMRD.
_FLAGS = {
    "FIRSTSCANINSLICE": ismrmrd.ACQ_FIRST_IN_SLICE,
    "LASTSCANINSLICE": ismrmrd.ACQ_LAST_IN_SLICE,
    "LASTSCANINMEAS": ismrmrd.ACQ_LAST_IN_MEASUREMENT,
    "NOISEADJSCAN": ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    "PATREFSCAN": ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
    "PATREFANDIMASCAN": ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,
    "SLICE_ACCEL_REFSCAN": ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
    "REFLECT": ismrmrd.ACQ_IS_REVERSE,
    "PHASCOR": ismrmrd.ACQ_IS_PHASECORR_DATA,
    "noname60": ismrmrd.ACQ_IS_NAVIGATION_DATA,  # navigators of free induction decays
    "HPFEEDBACK": ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    "RTFEEDBACK": ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    "MDH_VOP": ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    "RETRO_DUMMYSCAN": ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    "REFPHASESTABSCAN": ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    "PHASESTABSCAN": ismrmrd.ACQ_IS_PHASE_STABILIZATION,
}
# Counter of ISMRMRD -> counter of the MDH.
_COUNTERS = {
    "kspace_encode_step_1": "Lin",
    "kspace_encode_step_2": "Par",
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}
_FREE_COUNTERS = ("Ida", "Idb", "Idc", "Idd", "Ide")


@dataclass(frozen=True)
class Blocks:
    """The readouts of one measurement.

    Parameters
    ----------
    head
        ``(readout,)`` in ISMRMRD's layout.
    data
        Samples ``(coil, sample)`` of each.
    center
        ``(readout, 2)``: line and partition through the middle of k-space.
    """

    head: NDArray[np.void]
    data: StoredReadouts
    center: NDArray[np.int64]


def read_blocks(content: NDArray[np.uint8], start: int, end: int, *, is_vb: bool) -> Blocks:
    """Find the readouts between two bytes of a file.

    Raises
    ------
    FormatError
        A block that reaches beyond the end, an end before the last block.
    """
    dtype = np.dtype(mdh_def.VB17_header if is_vb else mdh_def.Scan_header)
    runs = list(_runs(content, start, end, dtype, is_vb=is_vb))
    if not runs:
        raise FormatError(None, f"byte {start}", "holds no readouts")
    headers = np.concatenate([mdh for mdh, _ in runs])
    first = np.concatenate([at for _, at in runs])
    gap = 128 if is_vb else 32
    data = StoredReadouts(
        content,
        first + (128 if is_vb else 192 + 32),
        headers["UsedChannels"].astype(np.int64),
        headers["SamplesInScan"].astype(np.int64),
        gap=gap,
    )
    center = np.stack([headers["CenterLin"], headers["CenterPar"]], axis=1).astype(np.int64)
    return Blocks(_heads(headers), data, center)


def _runs(
    content: NDArray[np.uint8], start: int, end: int, dtype: np.dtype[Any], *, is_vb: bool
) -> Iterator[tuple[NDArray[np.void], NDArray[np.int64]]]:
    """Headers and first bytes of readouts, in runs of blocks alike."""
    at, width = start, dtype.itemsize
    others = _bits("ACQEND", "SYNCDATA")
    while True:
        if at + width > end:
            raise FormatError(
                None, f"byte {at}", "ends before the block that closes the measurement: truncated"
            )
        mdh = _headers(content, np.array([at]), dtype)
        flags = int(mdh["EvalInfoMask"][0])
        if flags & _bits("ACQEND"):
            return
        if flags & others:  # physiology and other things that are no samples
            length = int(mdh["FlagsAndDMALength"][0]) & _BLOCK_LENGTH
        else:
            channel = 8 * int(mdh["SamplesInScan"][0]) + (128 if is_vb else 32)
            length = int(mdh["UsedChannels"][0]) * channel + (0 if is_vb else width)
        if length < width or at + length > end:
            raise FormatError(
                None, f"byte {at}", f"a block of {length} bytes, {end - at} are left: truncated or "
                "broken",
            )  # fmt: skip
        if flags & others:
            at += length
            continue
        places = at + length * np.arange(min((end - at) // length, _RUN), dtype=np.int64)
        run = _headers(content, places, dtype)
        alike = (run["EvalInfoMask"] & np.uint64(others)) == 0
        for name in ("SamplesInScan", "UsedChannels"):
            alike &= run[name] == mdh[name][0]
        count = len(run) if alike.all() else int(np.argmin(alike))
        yield run[:count], places[:count]
        at += count * length


def _headers(
    content: NDArray[np.uint8], places: NDArray[np.int64], dtype: np.dtype[Any]
) -> NDArray[np.void]:
    return gather(content, places, dtype.itemsize, "block").view(dtype)[:, 0]


def _bits(*names: str) -> int:
    return sum(1 << mdh_def.mask_dict[name] for name in names)


def _heads(mdh: NDArray[np.void]) -> NDArray[np.void]:
    head = np.zeros(len(mdh), ACQUISITION_HEADER)
    head["version"] = 1
    head["flags"] = _flags(mdh["EvalInfoMask"].astype(np.uint64))
    head["measurement_uid"] = mdh["MeasUID"].astype(np.uint32)
    head["scan_counter"] = mdh["ScanCounter"]
    head["acquisition_time_stamp"] = mdh["TimeStamp"]
    head["physiology_time_stamp"][:, 0] = mdh["PMUTimeStamp"]
    head["number_of_samples"] = mdh["SamplesInScan"]
    head["available_channels"] = head["active_channels"] = mdh["UsedChannels"]
    head["discard_pre"], head["discard_post"] = mdh["CutOff"]["Pre"], mdh["CutOff"]["Post"]
    head["center_sample"] = mdh["CenterCol"]
    for axis, name in enumerate(("Sag", "Cor", "Tra")):
        head["position"][:, axis] = mdh["SliceData"]["SlicePos"][name]
    rotation = _rotations(mdh["SliceData"]["Quaternion"].astype(np.float64))
    for axis, name in enumerate(("phase_dir", "read_dir", "slice_dir")):
        head[name] = rotation[:, :, axis]
    for ours, theirs in _COUNTERS.items():
        head["idx"][ours] = mdh["Counter"][theirs]
    for number, theirs in enumerate(_FREE_COUNTERS):
        head["idx"]["user"][:, number] = mdh["Counter"][theirs]
    return head


def _flags(mask: NDArray[np.uint64]) -> NDArray[np.uint64]:
    flags = np.zeros(len(mask), np.uint64)
    for theirs, ours in _FLAGS.items():
        is_set = (mask & np.uint64(_bits(theirs))) != 0
        flags |= np.where(is_set, flag_bits(ours), np.uint64(0))
    # Phase-correction lines of EPI are sent to the feedback, too: they are data all the same.
    feedback = flag_bits(ismrmrd.ACQ_IS_RTFEEDBACK_DATA)
    return np.where((mask & np.uint64(_bits("PHASCOR"))) != 0, flags & ~feedback, flags)


def _rotations(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations with columns phase, read, slice in the patient's frame; zero where there are none.

    Quaternions are (w, x, y, z).
    """
    norm = np.linalg.norm(quaternion, axis=1, keepdims=True)
    sound = np.isfinite(norm[:, 0]) & (np.abs(norm[:, 0] - 1) < 0.01)
    w, x, y, z = np.where(sound[:, None], quaternion / np.where(sound[:, None], norm, 1), 0).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return np.where(sound[:, None, None], matrix, 0.0)
