"""Reading a Cartesian ISMRMRD file: `spinray.load` against `ismrmrd`'s loop over acquisitions.

    python -m benchmarks.reading [--quick] [--output FILE.json]

The file is written by h5py in a temporary folder: 32 coils x 512 samples, 256 lines, as many
repetitions as fill it. `ismrmrd` reads one acquisition after another and does nothing with it;
`spinray.load` gives the sorted k-space. Both read the file that was just written, from the system's
cache. Opening it and reading one repetition are measured as well, and a file whose readouts are
oversampled twice, which is taken off.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import tempfile
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype

from .common import relative_l2, run_suite
from .protocol import OURS, Prepared, Task

COILS, SAMPLES, LINES = 32, 512, 256
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>
<H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz></experimentalConditions><encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize><fieldOfView_mm><x>{x}</x>
<y>{y}</y><z>5</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>{recon}</x><y>{y}</y>
<z>1</z></matrixSize><fieldOfView_mm><x>{recon}</x><y>{y}</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{y}</maximum>
<center>{middle}</center></kspace_encoding_step_1></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


class File:
    """A file of about this size, and the lines that each of its repetitions has."""

    def __init__(self, megabytes: float, oversampled: bool = False) -> None:
        self.repetitions = max(round(megabytes * 1e6 / (8 * COILS * SAMPLES * LINES)), 1)
        self.oversampled = oversampled
        rng = np.random.default_rng(0)
        self.lines = rng.normal(size=(LINES, 2 * COILS * SAMPLES)).astype(np.float32)
        folder = tempfile.TemporaryDirectory()  # as long as this is
        weakref.finalize(self, folder.cleanup)
        self.path = Path(folder.name) / "scan.h5"
        self._write()

    def _write(self) -> None:
        layout = h5py.vlen_dtype(np.float32)
        dtype = np.dtype([("head", acquisition_header_dtype), ("traj", layout), ("data", layout)])
        recon = SAMPLES // (1 + self.oversampled)
        xml = HEADER.format(x=SAMPLES, y=LINES, recon=recon, middle=LINES // 2)
        rows = np.empty(LINES, dtype)
        rows["head"] = np.zeros((), acquisition_header_dtype)
        rows["head"]["number_of_samples"], rows["head"]["active_channels"] = SAMPLES, COILS
        rows["head"]["center_sample"] = SAMPLES // 2
        rows["head"]["idx"]["kspace_encode_step_1"] = np.arange(LINES)
        for y in range(LINES):
            rows[y]["data"], rows[y]["traj"] = self.lines[y], np.zeros(0, np.float32)
        with h5py.File(self.path, "w") as file:
            file.create_dataset("dataset/xml", (1,), h5py.string_dtype("ascii"))[0] = xml
            data = file.create_dataset(
                "dataset/data", (self.repetitions * LINES,), dtype, maxshape=(None,), chunks=(1,)
            )
            for repetition in range(self.repetitions):
                rows["head"]["idx"]["repetition"] = repetition
                data[repetition * LINES : (repetition + 1) * LINES] = rows

    @cache  # noqa: B019  # lives as long as the task
    def kspace(self) -> Any:
        """What a repetition holds, ``(coil, ky, kx)``."""
        found: Any = self.lines.view(np.complex64).reshape(LINES, COILS, SAMPLES).transpose(1, 0, 2)
        if self.oversampled:
            middle = slice(SAMPLES // 4, 3 * SAMPLES // 4)
            shift = {"axes": -1}
            image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(found, **shift)), **shift)
            found = np.fft.fft(np.fft.ifftshift(image[..., middle], **shift), norm="ortho")
            found = np.fft.fftshift(found, **shift) * SAMPLES**0.5
        return found

    def error(self, scan: Any) -> float:
        """Of the last repetition."""
        kspace = scan.kspace.numpy()
        return relative_l2(kspace.reshape(-1, *kspace.shape[-3:])[-1], self.kspace())

    def whole(self) -> Prepared:
        return Prepared(lambda: sr.load(self.path), self.error)

    def one(self) -> Prepared:
        return Prepared(lambda: sr.open_raw(self.path).read(repetition=0), self.error)

    def opening(self) -> Prepared:
        return Prepared(lambda: sr.open_raw(self.path), None)

    def loop(self) -> Prepared:
        def call() -> Any:
            data = ismrmrd.Dataset(str(self.path), "dataset", create_if_needed=False)
            for number in range(self.repetitions * LINES):
                line = data.read_acquisition(number)
            data.close()
            return line

        last = self.lines[-1].view(np.complex64).reshape(COILS, SAMPLES)
        return Prepared(call, lambda line: relative_l2(line.data, last))


def tasks(quick: bool = False) -> Iterator[Task]:
    """The whole file, a part of it, its header; a file with oversampled readouts."""
    size, error = (70.0 if quick else 1000.0), "relative l2 of the k-space"
    facts = {"MB": size}
    plain = cache(lambda: File(size))
    both = {OURS: lambda: plain().whole(), "ismrmrd loop": lambda: plain().loop()}
    yield Task("reading", "the whole file", both, error, facts)
    yield Task("reading", "one repetition of 34 MB", {OURS: lambda: plain().one()}, error, facts)
    yield Task("reading", "opening", {OURS: lambda: plain().opening()}, "", facts)
    doubled = cache(lambda: File(size / 5, oversampled=True))
    yield Task("reading", "oversampled readouts", {OURS: lambda: doubled().whole()}, error,
               {"MB": size / 5})  # fmt: skip


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
