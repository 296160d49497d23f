"""Siemens twix raw data (.dat): VB, and the multi-measurement files of VD, VE and XA."""

from __future__ import annotations

import dataclasses
import struct
from os import PathLike
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from ..acquisitions import ON_GRID, Acquisitions, trajectory_of
from ..errors import FormatError
from ..flags import NOT_IMAGING, flagged
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..sniffing import start_of
from ..stored import StoredReadouts, mapped

NAME = "Siemens twix"
_ENTRY = struct.Struct("<IIQQ64s64s")  # ids, offset, length, patient, protocol
_LARGEST_COUNT = 64
_ID_LIMIT = 10000  # VB files begin with the length of a header, which is larger


def matches(path: Path) -> bool:
    """Whether a file begins with the protocol of a measurement, or a table of measurements."""
    start = start_of(path, 8 + _ENTRY.size)
    if len(start) < 64:
        return False
    from ..twix_protocol import is_measurement

    if is_measurement(start):
        return True
    table = _table(start, path.stat().st_size)
    if not table:
        return False
    with path.open("rb") as file:
        file.seek(table[0][0])
        return is_measurement(file.read(64))


def open_file(
    path: Path,
    measurement: int = -1,
    sequence: str | PathLike[str] | None = None,
    trajectory: str | PathLike[str] | NDArray[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> RawFile:
    """Look at the headers of a measurement's readouts.

    Noise of an earlier measurement in the file (the adjustments come first) is taken along. Data
    of Pulseq take places in k-space and labels from the sequence.

    Parameters
    ----------
    path
        The file.
    measurement
        Which measurement of several. Default: the last.
    sequence
        The Pulseq .seq that was played. Default: the one beside the file of the same name, if the
        file is Pulseq's.
    trajectory
        Places in k-space of a radial, spiral or other non-Cartesian measurement, in cycles per
        pixel or 1/FOV: a .npy file or an array ``(readout, sample, 2 or 3)``, axes x, y, z, one for
        every imaging readout or one for each line counter. It counts where the header says
        Cartesian, too, as sequences of one's own often do. Radial ones default to spokes evenly
        over half a turn.
    image_shape
        ``([z,] y, x)``, where a sequence or trajectory is given. Default: the protocol's.
    """
    from .. import twix_protocol as protocols
    from ..twix_blocks import read_blocks

    content = mapped(path)
    start = content[: 8 + _LARGEST_COUNT * _ENTRY.size].tobytes()
    is_vb = protocols.is_measurement(start)
    table = [(0, content.size)] if is_vb else _table(start, content.size)
    if not -len(table) <= measurement < len(table):
        raise ValueError(f"measurement {measurement}: the file has {len(table)}, from 0")
    chosen = measurement % len(table)
    protocol, data = protocols.read_protocol(content, table[chosen][0], table[chosen][1])
    blocks = read_blocks(content, data, table[chosen][1], is_vb=is_vb)
    head, stored = blocks.head, blocks.data
    is_imaging = ~flagged(head, *NOT_IMAGING)
    if not is_imaging.any():
        raise FormatError(None, f"measurement {chosen}", "holds no imaging readouts")
    dwell = protocol.numbers("sRXSPEC.alDwellTime") or [0.0]
    echo = np.minimum(head["idx"]["contrast"], len(dwell) - 1)
    head["sample_time_us"] = np.array(dwell)[echo] / 1e3
    header = protocols.make_header(protocol, head[is_imaging], blocks.center[is_imaging])
    if not flagged(head, ismrmrd.ACQ_IS_NOISE_MEASUREMENT).any():
        for first, last in table[:chosen][::-1]:
            other, at = protocols.read_protocol(content, first, last)
            noise = _noise(read_blocks(content, at, last, is_vb=is_vb), int(stored.rows[-1]))
            if noise is not None:
                noise[0]["sample_time_us"] = other.number("sRXSPEC.alDwellTime[0]") / 1e3
                head = np.concatenate([noise[0], head])
                stored = noise[1].followed_by(stored)
                break
    acquisitions = Acquisitions.of(head, stored, header, NAME)
    played = protocol.values.get("tSequenceFileName", "").lower()
    beside = path.with_suffix(".seq")
    if sequence is None and "pulseq" in played and beside.is_file():
        sequence = beside
    facts: dict[str, Any] = {"measurements": len(table), "measurement": chosen}
    missing: tuple[str, ...] = ()
    if sequence is not None:
        from ..pulseq import with_sequence

        acquisitions = with_sequence(acquisitions, Path(sequence), image_shape)
        facts["sequence_file"] = Path(sequence).name
    elif "pulseq" in played:
        missing = (f"sequence: the .seq that was played, as {beside.name} beside the file or by "
                   "sequence=; without it, counters are taken for lines",)  # fmt: skip
    elif trajectory is not None or trajectory_of(acquisitions.header.encoding[0]) not in ON_GRID:
        from ..given_trajectory import with_trajectory

        acquisitions = with_trajectory(acquisitions, trajectory, image_shape)
    raw = readout_file(acquisitions)
    return dataclasses.replace(raw, facts={**raw.facts, **facts}, missing=(*missing, *raw.missing))


def _table(start: bytes, size: int) -> list[tuple[int, int]]:
    """First and last + 1 byte of each measurement; empty if this is no table of them."""
    identity, count = struct.unpack_from("<II", start)
    if identity >= _ID_LIMIT or not 1 <= count <= _LARGEST_COUNT:
        return []
    places = []
    for number in range(min(count, (len(start) - 8) // _ENTRY.size)):
        _, _, first, length, _, _ = _ENTRY.unpack_from(start, 8 + number * _ENTRY.size)
        # A single measurement that was cut short may have a length of 0.
        last = first + length if length else size
        if not 8 <= first < size:
            return []
        places.append((first, min(last, size)))
    return places


def _noise(blocks: Any, coils: int) -> tuple[NDArray[np.void], StoredReadouts] | None:
    """Noise readouts of another measurement, if they are of as many coils."""
    is_noise = flagged(blocks.head, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    places = np.flatnonzero(is_noise & (blocks.head["active_channels"] == coils))
    return (blocks.head[places], blocks.data.select(places)) if len(places) else None
