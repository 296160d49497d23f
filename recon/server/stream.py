"""`Stream`: images from readouts while they are measured, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import ismrmrd
import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from ..image import Image
from ..io.acquisitions import ACQUISITION_HEADER
from ..io.protocol import parse_header
from .live import LiveScan, Result

log = logging.getLogger("spinray")

WORKING = "reconstruction"  # name of the threads that do it
_LOOK = 0.02  # s between looks for work that no readout announces


class Stream:
    """Reconstruct while readouts arrive.

    ::

        with sr.Stream(header, "sense") as stream:
            for acquisition in scanner:
                stream.push(acquisition)
                for image in stream.ready():
                    show(image)  # slices that are complete
            for image in stream:  # the rest
                show(image)

    Parameters
    ----------
    header
        The protocol: ISMRMRD's XML header, as text or parsed.
    method
        A name from `spinray.methods("mri")`, or ``"auto"``.
    options
        Of the method.

    Raises
    ------
    FormatError
        A header that cannot be read.
    ValueError, TypeError
        No such method, options that it does not have.
    """

    def __init__(
        self, header: str | bytes | xsd.ismrmrdHeader, method: str = "auto", **options: Any
    ) -> None:
        xml = header.toXML() if isinstance(header, xsd.ismrmrdHeader) else header
        text = xml.decode("utf-8", "replace") if isinstance(xml, bytes) else xml
        self.live = LiveScan(parse_header(text), text, method, options)
        self._results: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._wake = threading.Event()
        self._finished = self._stopped = self._drained = False
        self._thread = threading.Thread(target=self._work, name=WORKING, daemon=True)
        self._thread.start()

    def push(self, acquisition: ismrmrd.Acquisition) -> None:
        """Take a readout as ISMRMRD's package has it.

        Raises
        ------
        ValueError
            The stream is finished.
        Exception
            What went wrong with the readouts before.
        """
        head = np.frombuffer(bytes(acquisition.getHead()), ACQUISITION_HEADER)[0]
        self.push_arrays(head, np.array(acquisition.data), np.array(acquisition.traj))

    def push_arrays(
        self, head: NDArray[np.void], data: NDArray[Any], trajectory: NDArray[Any]
    ) -> None:
        """Take a readout: header, complex ``(coil, sample)``, ``(sample, dimension)``; as `push`.

        The arrays are kept, not copied.
        """
        if self._finished:
            raise ValueError("the stream is finished: readouts cannot be pushed any more")
        self._raise()
        samples, coils = int(head["number_of_samples"]), int(head["active_channels"])
        if data.shape != (coils, samples) or (trajectory.size and len(trajectory) != samples):
            raise ValueError(
                f"a readout of {coils} coils and {samples} samples has data {data.shape} and a "
                f"trajectory {trajectory.shape}"
            )
        if self.live.push(head, data, trajectory):
            self._wake.set()

    def ready(self) -> Iterator[Image]:
        """Images that are ready now, without waiting."""
        for result in self.results(wait=False):
            yield result.image

    def finish(self) -> None:
        """All readouts were pushed; images may still be on their way."""
        if not self._finished:
            self._finished = True
            self.live.finish()
            self._wake.set()

    def __iter__(self) -> Iterator[Image]:
        """Finish, and give all images that have not been given yet."""
        self.finish()
        for result in self.results():
            yield result.image

    def results(self, *, wait: bool = True) -> Iterator[Result]:
        """Images with their places and headers; `wait` for all of them, to the last.

        Raises
        ------
        Exception
            What went wrong.
        """
        while not self._drained:
            try:
                result = self._results.get(block=wait)
            except queue.Empty:
                break
            if result is None:
                self._drained = True
            else:
                yield result
        self._raise()

    def close(self, *, wait: bool = True) -> None:
        """Stop; images that were not fetched are dropped. `wait` for work that is under way."""
        self._finished = self._stopped = True
        self._wake.set()
        if wait:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._stopped:
                self._wake.clear()
                finished = self._finished
                job = self.live.next_job()
                if job is not None:
                    for result in job():
                        self._results.put(result)
                elif finished:
                    break
                else:
                    self._wake.wait(_LOOK)
        except Exception as error:  # goes to whoever pushes or waits
            self._error = error
        finally:
            self._results.put(None)
