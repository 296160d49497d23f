"""Reading speed: a Cartesian ISMRMRD file against `ismrmrd`'s acquisition loop, JSON.

    python -m benchmarks.reading [--megabytes 2000] [--output FILE.json]

The file is written by h5py in a temporary folder: 32 coils x 512 samples, 256 lines, as many
repetitions as fill it. `ismrmrd` reads one acquisition after another and does nothing with it;
`spinray.load` gives the sorted k-space. Both read the file that was just written, from the system's
cache. Opening, one repetition, and the peak of memory of both are measured as well. The loop may be
run over a share of the file, its time is then scaled; the file says by how much.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype

from .common import machine, write

COILS, SAMPLES, LINES = 32, 512, 256
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>
<H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz></experimentalConditions><encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize><fieldOfView_mm><x>{x}</x>
<y>{y}</y><z>5</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>{recon}</x><y>{y}</y>
<z>1</z></matrixSize><fieldOfView_mm><x>{recon}</x><y>{y}</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{y}</maximum>
<center>{middle}</center></kspace_encoding_step_1></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""
READ = """
import json, resource, sys, time
import spinray as sr
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
sr.load(sys.argv[2])  # imports
before = peak()
start = time.perf_counter(); raw = sr.open_raw(sys.argv[1]); opened = time.perf_counter() - start
start = time.perf_counter(); raw.read(repetition=0); one = time.perf_counter() - start
part = peak() - before
start = time.perf_counter(); scan = sr.load(sys.argv[1]); whole = time.perf_counter() - start
print(json.dumps({"open": opened, "one repetition": one, "whole": whole,
                  "bytes": scan.kspace.nbytes, "memory of one": part, "memory of all": peak() - before}))
"""


def make(path: Path, megabytes: float, oversampled: bool = False) -> int:
    """Write a file of about this size; the number of its readouts."""
    repetitions = max(round(megabytes * 1e6 / (8 * COILS * SAMPLES * LINES)), 1)
    layout = h5py.vlen_dtype(np.float32)
    dtype = np.dtype([("head", acquisition_header_dtype), ("traj", layout), ("data", layout)])
    xml = HEADER.format(x=SAMPLES, y=LINES, recon=SAMPLES // (1 + oversampled), middle=LINES // 2)
    rng = np.random.default_rng(0)
    lines = rng.normal(size=(LINES, 2 * COILS * SAMPLES)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/xml", (1,), h5py.string_dtype("ascii"))[0] = xml
        data = file.create_dataset(
            "dataset/data", (repetitions * LINES,), dtype, maxshape=(None,), chunks=(1,)
        )
        for repetition in range(repetitions):
            rows = np.empty(LINES, dtype)
            rows["head"] = np.zeros((), acquisition_header_dtype)
            rows["head"]["number_of_samples"], rows["head"]["active_channels"] = SAMPLES, COILS
            rows["head"]["center_sample"] = SAMPLES // 2
            rows["head"]["idx"]["kspace_encode_step_1"] = np.arange(LINES)
            rows["head"]["idx"]["repetition"] = repetition
            for y in range(LINES):
                rows[y]["data"], rows[y]["traj"] = lines[y], np.zeros(0, np.float32)
            data[repetition * LINES : (repetition + 1) * LINES] = rows
    return repetitions * LINES


def loop(path: Path, count: int) -> float:
    """Seconds of ismrmrd's loop over the first acquisitions."""
    data = ismrmrd.Dataset(str(path), "dataset", create_if_needed=False)
    start = time.perf_counter()
    for number in range(count):
        data.read_acquisition(number)
    seconds = time.perf_counter() - start
    data.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/reading.json"))
    parser.add_argument("--megabytes", type=float, nargs="+", default=[200, 2000])
    parser.add_argument("--share", type=float, default=0.1, help="of the file, for ismrmrd's loop")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "loop over a share of": arguments.share}
    for megabytes, oversampled in [*((m, False) for m in arguments.megabytes), (200, True)]:
        with tempfile.TemporaryDirectory() as folder:
            path, small = Path(folder) / "scan.h5", Path(folder) / "small.h5"
            make(small, 1)
            count = make(path, megabytes, oversampled)
            command = [sys.executable, "-c", READ, str(path), str(small)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(run.stdout)
            part = max(round(arguments.share * count), 1)
            found["ismrmrd loop"] = loop(path, part) * count / part
            found["file"] = path.stat().st_size
        found["times faster"] = found["ismrmrd loop"] / found["whole"]
        name = f"{megabytes:g} MB" + ", readout oversampled twice" * oversampled
        results[name] = found
        print(
            f"{name}: spinray {found['whole']:.2f} s, ismrmrd {found['ismrmrd loop']:.1f} s, "
            f"{found['times faster']:.0f}x; open {found['open']:.3f} s, one repetition "
            f"{found['one repetition']:.3f} s",
            flush=True,
        )
    write(arguments.output, results)


if __name__ == "__main__":
    main()
