"""Readouts as they arrive, and the parts of a scan that can be reconstructed on their own.

No arrays are touched here: this is the bookkeeping of which readouts belong together, and of when
there will be no more of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from ..io.acquisitions import (
    ACQUISITION_HEADER,
    BATCH_AXES,
    ON_GRID,
    SEPARATE,
    Acquisitions,
    calibration_mode,
    trajectory_of,
)
from ..io.flags import NOT_IMAGING, flag_bits

Key = tuple[int, ...]

_SIDE = int(flag_bits(*NOT_IMAGING))
_NOISE = int(flag_bits(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
_CALIBRATION = int(flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION))
_CALIBRATION_TOO = int(flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING))
_LAST_OF_SLICE = int(flag_bits(ismrmrd.ACQ_LAST_IN_SLICE))
_LAST_OF_REPETITION = int(flag_bits(ismrmrd.ACQ_LAST_IN_REPETITION))
_LAST = int(flag_bits(ismrmrd.ACQ_LAST_IN_MEASUREMENT))
_QUIET = 8  # lines that another part has to get before a part is thought to be complete
_LEAST_CENTRE = 6  # lines across that coil maps can be told from
_STANDING = 2  # lines elsewhere after which the centre is thought to be complete


@dataclass(eq=False)
class Part:
    """Imaging readouts that are reconstructed together."""

    key: Key
    lines: list[int] = field(default_factory=list)
    rows: set[tuple[int, int]] = field(default_factory=set)
    ended: bool = False  # there are no more lines, as far as the scanner says
    last: float = 0.0  # when its last line came
    results: list[Any] = field(default_factory=list)  # its newest images,
    solved: int = 0  # the number of lines in them,
    given: int = 0  # and in those that were given away
    refused: int = 0  # lines of which no image could be made, before it was known to be complete
    released: bool = False  # its readouts are forgotten
    ahead: bool = False  # whether coil maps were asked for
    centre: tuple[int, int] = (0, 0)  # rows of the run about the middle, and lines since it grew


class Readouts:
    """All readouts of a scan so far, in the order they came."""

    def __init__(self, header: xsd.ismrmrdHeader, xml: str) -> None:
        self.header, self.xml = header, xml
        self.heads: list[bytes] = []
        self.data: list[NDArray[Any]] = []
        self.trajectory: list[NDArray[Any]] = []

    def __len__(self) -> int:
        return len(self.heads)

    def head(self, number: int) -> NDArray[np.void]:
        """The header of one."""
        head: NDArray[np.void] = np.frombuffer(self.heads[number], ACQUISITION_HEADER)[0]
        return head

    def some(self, numbers: list[int]) -> Acquisitions:
        """Those at some places, as readers give them."""
        joined = b"".join(self.heads[i] for i in numbers)
        return Acquisitions(
            head=np.frombuffer(joined, ACQUISITION_HEADER).copy(),
            data=[self.data[i] for i in numbers],
            trajectory=[self.trajectory[i] for i in numbers],
            header=self.header,
            xml=self.xml,
            source="MRD stream",
            number=np.array(numbers, np.int64),
        )


class Sorter:
    """Puts the readouts of an encoding into parts as they come.

    Parameters
    ----------
    readouts
        Where they are kept.
    joined
        Axes whose items belong together in one part.
    """

    def __init__(self, readouts: Readouts, joined: tuple[str, ...] = ()) -> None:
        self.readouts = readouts
        self.parts: dict[Key, Part] = {}
        self.axes = tuple(name for name in BATCH_AXES if name not in joined)
        self._noise: list[int] = []
        self._navigators: dict[Key, list[int]] = {}
        self._calibration: dict[int, list[int]] = {}  # by slice
        self._newest: Part | None = None
        self._run = 0  # lines that the newest part has got in a row
        layout = readouts.header.encoding[0]
        self.encoding = 0
        self._separate = calibration_mode(layout) in SEPARATE
        self._on_grid = trajectory_of(layout) in ON_GRID
        self._full, self._averages, self._middle = _expected(layout)

    def add(self, number: int) -> Part | None:
        """Sort a readout; the part that it belongs to, if it is one of an image."""
        head = self.readouts.head(number)
        flags, idx = int(head["flags"]), head["idx"]
        where = int(idx["slice"])
        if flags & _NOISE:
            self._noise.append(number)
            return None
        if int(head["encoding_space_ref"]) != self.encoding:
            return None
        key = tuple(int(idx[name]) for name in self.axes)
        if flags & _SIDE:
            self._navigators.setdefault(key, []).append(number)
            return None
        if self._separate and flags & _CALIBRATION and not flags & _CALIBRATION_TOO:
            self._calibration.setdefault(where, []).append(number)
            return None
        part = self.parts.setdefault(key, Part(key))
        part.lines.append(number)
        part.last = time.monotonic()
        row = int(idx["kspace_encode_step_1"]), int(idx["kspace_encode_step_2"])
        part.rows.add(row)
        self._follow_centre(part)
        self._run = self._run + 1 if part is self._newest else 1
        self._newest = part
        self._end(part, flags, int(idx["average"]))
        return part

    def numbers(self, part: Part) -> list[int]:
        """All readouts that a part's reconstruction needs, in the order they came."""
        where = part.key[-1]
        navigators = self._navigators.get(part.key, [])
        if not navigators:
            found = (lines for key, lines in self._navigators.items() if key[-1] == where)
            navigators = [number for lines in found for number in lines]
        calibration = self._calibration.get(where, [])
        return sorted([*self._noise, *navigators, *calibration, *part.lines])

    def has_calibration(self, part: Part) -> bool:
        """Whether calibration lines of a separate scan came for its slice."""
        return bool(self._calibration.get(part.key[-1]))

    def centre_stands(self, part: Part, wanted: int) -> bool:
        """Whether the lines that coil maps come from, `wanted` at most, seem to be complete."""
        rows, idle = part.centre
        return self._on_grid and (rows >= wanted or (rows >= _LEAST_CENTRE and idle >= _STANDING))

    def is_quiet(self, part: Part) -> bool:
        """Whether the scanner has gone on to another part, for long enough to believe it."""
        other = self._newest
        return other is not part and self._run >= max(len(part.lines) // 2, _QUIET)

    def release(self, part: Part) -> None:
        """Forget the samples of a part that will not be reconstructed again."""
        part.released, part.results = True, []
        nothing = np.zeros((0, 0), np.complex64)
        for number in [*part.lines, *self._navigators.pop(part.key, [])]:
            self.readouts.data[number] = nothing

    def finish(self) -> None:
        """No more readouts will come."""
        for part in self.parts.values():
            part.ended = True

    def _end(self, part: Part, flags: int, average: int) -> None:
        if flags & _LAST:
            self.finish()
        elif flags & _LAST_OF_REPETITION and "repetition" in self.axes:
            for other in self.parts.values():
                other.ended |= other.key[0] == part.key[0]
        elif flags & _LAST_OF_SLICE and self._is_2d and len(self.axes) == len(BATCH_AXES):
            part.ended |= average >= self._averages - 1
        if self._averages == 1 and self._full and len(part.rows) >= self._full:
            part.ended |= len(self.axes) == len(BATCH_AXES)

    @property
    def _is_2d(self) -> bool:
        """Partitions of a volume are flagged as slices by some scanners."""
        return bool(self.readouts.header.encoding[0].encodedSpace.matrixSize.z == 1)

    def _follow_centre(self, part: Part) -> None:
        """How many rows about the middle are complete, and for how long it has been as many."""
        if self._middle is None or not self._is_2d:
            return
        grown, idle = part.centre
        width = grown
        while {
            (self._middle - (grown + 1) // 2, 0), (self._middle + grown // 2, 0)
        } <= part.rows:  # fmt: skip
            grown += 1
        part.centre = (grown, 0 if grown > width else idle + 1)


def _expected(layout: xsd.encodingType) -> tuple[int, int, int | None]:
    """Lines of a full scan on a grid (0 where unknown), averages, and the middle line's number."""
    limits = layout.encodingLimits
    first, second, average = (
        getattr(limits, name) if limits else None
        for name in ("kspace_encoding_step_1", "kspace_encoding_step_2", "average")
    )
    averages = average.maximum + 1 if average else 1
    if first is None or trajectory_of(layout) not in ON_GRID:
        return 0, averages, None
    full = first.maximum - first.minimum + 1
    if second is not None:
        full *= second.maximum - second.minimum + 1
    return (full if full > 1 else 0), averages, int(first.center) or None
