"""A scan that is reconstructed while it is measured."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from ..image import Image
from ..io.acquisitions import BATCH_AXES, ON_GRID, Acquisitions, assemble, trajectory_of
from ..io.multiband import multiband_shifts
from ..pipelines.dispatch import choose, reconstruct
from ..pipelines.mr_encoding import KnownMaps, coil_maps
from ..pipelines.raw_chain import prepared, unit_of, whitened
from ..pipelines.registry import find_for
from ..scan import MRScan
from .items import items
from .parts import Part, Readouts, Sorter

log = logging.getLogger("spinray")

# What auto chooses for undersampled scans of several coils takes the same maps as this method.
_LIKE_AUTO = "sense"


@dataclass(frozen=True, eq=False)
class Result:
    """An image ``([z,] y, x)`` of a part of the scan.

    `place` are its counters, `head` the header of one of its readouts, `latency` the seconds from
    the last readout of its part until it was given away.
    """

    image: Image
    place: dict[str, int]
    head: NDArray[np.void]
    latency: float = 0.0


Job = Callable[[], list[Result]]


class LiveScan:
    """Readouts in, images out as soon as their readouts are there.

    `push` and `finish` may be called from another thread than `next_job`. A method that needs the
    whole scan (`Method.unit`) begins when it is finished; so does one whose options look at all
    of it (virtual coils, gradient delays).

    Parameters
    ----------
    header
        The protocol.
    xml
        The protocol as text.
    method
        A name from `spinray.methods("mri")`, or ``"auto"``.
    options
        Of the method, by name.

    Raises
    ------
    ValueError, TypeError
        No such method, options that it does not have.
    """

    def __init__(
        self, header: xsd.ismrmrdHeader, xml: str, method: str, options: dict[str, Any]
    ) -> None:
        self.method, self.options = method, options
        if method != "auto":
            find_for("mri", method).parse(options)
        elif options:
            raise TypeError(f"name a method for options: auto takes none, got {', '.join(options)}")
        self.layout = header.encoding[0]
        self.readouts = Readouts(header, xml)
        self.unit = "scan" if multiband_shifts(self.layout) else _unit(method, options)
        self._map_options = _map_options(method, options, self.layout, self.unit)
        self._sorter = Sorter(self.readouts, BATCH_AXES[:-1] if self.unit == "series" else ())
        self._open: dict[tuple[int, ...], Part] = {}
        self._maps: dict[int, KnownMaps] = {}  # by slice
        self._lock = threading.Lock()
        self._over = self._whole_begun = False
        self._reason = ""  # of auto's choice
        self.last = 0.0  # when the last readout came
        self.late = 0  # readouts that came after the image of their part

    def push(self, head: NDArray[np.void], data: NDArray[Any], trajectory: NDArray[Any]) -> bool:
        """Take a readout, ``(coil, sample)``, ``(sample, dimension)``; whether it ends a part."""
        with self._lock:
            self.readouts.heads.append(head.tobytes())
            self.readouts.data.append(data)
            self.readouts.trajectory.append(trajectory)
            self.last = time.monotonic()
            part = self._sorter.add(len(self.readouts) - 1)
            if part is None:
                return False
            if part.given:
                self.late += 1
            if not part.released:
                self._open[part.key] = part
            return part.ended

    def finish(self) -> None:
        """No more readouts will come."""
        with self._lock:
            self._over = True
            self._sorter.finish()

    def next_job(self) -> Job | None:
        """The most urgent work that can be done now; it returns what is ready to be given away."""
        with self._lock:
            if self.unit == "scan" or (self._over and not self._sorter.parts):
                ready = self._over and not self._whole_begun and len(self.readouts)
                self._whole_begun |= bool(ready)
                return self._whole if ready else None
            parts = list(self._open.values())
            ended = [part for part in parts if part.ended]
            for part in ended:
                if part.solved == len(part.lines):
                    return lambda part=part: self._give(part)  # type: ignore[misc]
            if ended:
                return self._solution(ended[0])
            for part in parts:
                if not part.ahead and self._can_make_maps(part):
                    part.ahead = True
                    return self._maps_ahead(part)
            for part in parts:
                made = max(part.solved, part.refused)
                if made < len(part.lines) and self._sorter.is_quiet(part):
                    return self._solution(part)
        return None

    def _solution(self, part: Part) -> Job:
        """Reconstruct a part as it is now (the lock is held)."""
        numbers, count = self._sorter.numbers(part), len(part.lines)

        def solve() -> list[Result]:
            try:
                results = self._results(self.readouts.some(numbers), self._known_maps(part))
            except Exception as error:
                with self._lock:
                    part.refused = count
                    if part.ended and len(part.lines) == count:
                        raise
                log.debug("no image before the last line: %s", error)  # more lines may mend it
                return []
            with self._lock:
                part.results, part.solved = results, count
                if not part.ended or len(part.lines) > count:
                    return []
            return self._give(part)

        return solve

    def _give(self, part: Part) -> list[Result]:
        """Hand out the images of a part; older repetitions will not be asked for again."""
        now = time.monotonic()
        with self._lock:
            part.given = part.solved
            self._open.pop(part.key, None)
            if self.unit == "volume":
                for other in list(self._sorter.parts.values()):
                    older = other.given and other.key[1:] == part.key[1:]
                    if older and other.key[0] < part.key[0] and not other.released:
                        self._sorter.release(other)
            return [replace(result, latency=now - part.last) for result in part.results]

    def _can_make_maps(self, part: Part) -> bool:
        if self._map_options is None:
            return False
        wanted = self._map_options.calibration
        return self._sorter.has_calibration(part) or self._sorter.centre_stands(part, wanted)

    def _maps_ahead(self, part: Part) -> Job:
        """Make the coil maps of a part whose centre of k-space seems to be complete."""
        numbers, options = self._sorter.numbers(part), self._map_options

        def make() -> list[Result]:
            try:
                scan = self._scan(self.readouts.some(numbers), self._known_maps(part))
                scan = whitened(prepared(scan, options))
                coil_maps(scan, options.calibration, None, getattr(options, "maps", "espirit"))
            except Exception as error:  # that of the whole part will say what is wrong
                log.debug("no maps before the last line: %s", error)
            return []

        return make

    def _known_maps(self, part: Part) -> KnownMaps:
        return self._maps.setdefault(part.key[-1], KnownMaps())

    def _scan(self, acquisitions: Acquisitions, maps: KnownMaps) -> MRScan:
        scan = assemble(acquisitions)
        return scan.replace(header={**scan.header, "known_maps": maps})

    def _results(self, acquisitions: Acquisitions, maps: KnownMaps) -> list[Result]:
        scan = self._scan(acquisitions, maps)
        if self.method == "auto":
            self.method, self._reason = choose(scan)
            log.info("method %s: %s", self.method, self._reason)
        image = reconstruct(scan, self.method, progress=False, **self.options)
        if self._reason:
            image = replace(image, metadata={**image.metadata, "reason": self._reason})
        imaging, _ = acquisitions.imaging(scan.header["encoding"])
        return [Result(*item) for item in items(image, scan, imaging)]

    def _whole(self) -> list[Result]:
        everything = self.readouts.some(list(range(len(self.readouts))))
        results = self._results(everything, KnownMaps())
        latency = time.monotonic() - self.last
        return [replace(result, latency=latency) for result in results]


def _map_options(method: str, options: dict[str, Any], layout: xsd.encodingType, unit: str) -> Any:
    """Options of a method whose coil maps can be made ahead; None where there are none to make."""
    if unit != "volume" or trajectory_of(layout) not in ON_GRID:
        return None
    if method == "auto":
        factors = layout.parallelImaging and layout.parallelImaging.accelerationFactor
        if not factors or max(factors.kspace_encoding_step_1, factors.kspace_encoding_step_2) < 2:
            return None
        method = _LIKE_AUTO
    recipe = find_for("mri", method)
    return recipe.parse(options) if recipe.takes_maps else None


def _unit(method: str, options: dict[str, Any]) -> str:
    """What is reconstructed on its own; options may look at the whole scan."""
    return "volume" if method == "auto" else unit_of(find_for("mri", method), options)
