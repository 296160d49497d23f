"""The server: latency, ingest and a soak, JSON.

    python -m benchmarks.server [--job paced|at-once|ingest|soak] [--seconds 40] [--output FILE.json]

*paced*, *at-once*: 20 slices of 256 x 256 from 32 coils, every fourth line and 24 in the centre, by `sense`;
from the last readout until the last image has come back to the client. Paced are lines at the
repetition time told, slice by slice, as a scanner sends them; At once is the whole scan as fast as
the connection takes it, so that all work is left for the end.

*ingest*: readouts of 256 samples x 32 coils (noise scans: nothing is reconstructed) until the
server has taken them all, and the loop that Python's example servers have:
`ismrmrd.Acquisition.deserialize_from` on a socket. The same bytes from the same sender, in turn.

*soak*: sessions, 8 at a time, for so many seconds; memory of all processes of the server before and
after, and sessions that did not bring their images.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import psutil
import torch

import spinray as sr
from spinray.recon.io.mrd_messages import (
    CLOSE_MESSAGE,
    CONFIG_TEXT,
    HEADER,
    IMAGE,
    acquisition_message,
    text_message,
)
from spinray.recon.server.wire import Limits, MessageReader

from .common import Job, Report, run_jobs

SLICES, MATRIX, COILS, TR = 20, 256, 32, 0.02
INGESTED = 6000
AT_A_TIME = 8


@contextmanager
def served(*words: object) -> Iterator[tuple[int, psutil.Process]]:
    """A server with all cores: its port and process."""
    command = [sys.executable, "-m", "spinray", "serve", "--port", "0", *map(str, words)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"], psutil.Process(process.pid)
        process.terminate()
        process.wait()


def scan(slices: int, matrix: int, coils: int) -> sr.MRScan:
    """Slices that differ by their noise."""
    one = sr.datasets.simulate_mr(
        matrix=matrix, coils=coils, acceleration=3.0, mask="equispaced", calibration=24, snr=50
    )
    assert one.mask is not None
    generator = torch.Generator().manual_seed(0)
    shape = (slices, *one.kspace.shape)
    noise = torch.randn(shape, dtype=torch.complex64, generator=generator)
    kspace = one.kspace + 0.02 * one.kspace.abs().mean() * noise * one.mask
    return one.replace(kspace=kspace, batch_axes=("slice",), spacing=(5.0, *one.spacing))


def messages(path: Path, config: str) -> tuple[bytes, list[bytes]]:
    """Opening and readouts of a session."""
    raw = sr.open_raw(path).readouts
    assert raw is not None
    opening = text_message(CONFIG_TEXT, config) + text_message(HEADER, raw.xml)
    lines = zip(raw.head, raw.trajectory, raw.data, strict=True)
    return opening, [acquisition_message(*line) for line in lines]


def session(port: int, opening: bytes, lines: list[bytes], pause: float) -> dict[str, float]:
    """Seconds from the last readout to the last image, and what came."""
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        reader = MessageReader(connection, Limits(stall=600.0, message=1 << 30))

        def receive() -> None:
            while (message := reader.message()) is not None:
                if message[0] == IMAGE:
                    times.append(time.monotonic())

        receiver = threading.Thread(target=receive)
        receiver.start()
        connection.setblocking(True)
        connection.sendall(opening)
        begun = time.monotonic()
        for number, line in enumerate(lines):
            connection.sendall(line)
            wait = begun + (number + 1) * pause - time.monotonic()
            if wait > 0:
                time.sleep(wait)
        connection.sendall(CLOSE_MESSAGE)
        last = time.monotonic()
        receiver.join()
    return {"sent in": last - begun, "images": len(times), "latency": max(times) - last}


def latency(pause: float) -> Job:
    """From the last line of a scan to its last image."""

    def job(report: Report) -> Iterator[Report]:
        with tempfile.TemporaryDirectory() as folder, served("--sessions", 1) as (port, _):
            path = Path(folder) / "scan.h5"
            sr.save(scan(SLICES, MATRIX, COILS), path)
            opening, lines = messages(path, "sense")
            session(port, opening, lines[: 1 + (len(lines) - 1) // SLICES], 0.0)  # warms up
            yield {
                "scan": f"{SLICES} slices of {MATRIX} x {MATRIX}, {COILS} coils, sense",
                "readouts": len(lines), "seconds a readout": pause,
                **session(port, opening, lines, pause),
            }  # fmt: skip

    return job


def ingest(report: Report) -> Iterator[Report]:
    """Readouts a second, in turn with the loop of Python's example servers."""
    head = np.zeros((), ismrmrd.hdf5.acquisition_header_dtype)
    head["version"], head["number_of_samples"] = 1, MATRIX
    head["active_channels"] = head["available_channels"] = COILS
    head["flags"] = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)
    data = np.ones((COILS, MATRIX), np.complex64)
    one = acquisition_message(head, np.zeros((0, 0), np.float32), data)
    block = one * 50
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        sr.save(scan(1, 32, 2), path)
        opening, _ = messages(path, "rss")
    found: dict[str, Any] = {"bytes of a readout": len(one), "readouts": INGESTED}
    rates: dict[str, list[float]] = {"spinray": [], "ismrmrd-python": []}
    with served("--sessions", 1) as (port, _):
        for turn in range(4):
            ours, theirs = _to_spinray(port, opening, block), _to_loop(block)
            if turn:  # the first warms up
                rates["spinray"].append(INGESTED / ours)
                rates["ismrmrd-python"].append(INGESTED / theirs)
    for name, values in rates.items():
        rate = float(np.median(values))
        found[name] = {"readouts a second": rate, "MB/s": rate * len(one) / 1e6}
    found["ratio"] = found["spinray"]["MB/s"] / found["ismrmrd-python"]["MB/s"]
    yield found


def _to_spinray(port: int, opening: bytes, block: bytes) -> float:
    """Until the server says that there was nothing to make an image of."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(opening)
        begun = time.perf_counter()
        for _ in range(INGESTED // 50):
            connection.sendall(block)
        connection.sendall(CLOSE_MESSAGE)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        seconds = time.perf_counter() - begun
    assert b"is an imaging readout" in answer, answer
    return seconds


_LOOP = """
import socket, sys, ismrmrd
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
stream = listener.accept()[0].makefile("rb")
for _ in range(int(sys.argv[1])):
    stream.read(2)
    ismrmrd.Acquisition.deserialize_from(stream.read)
print("done", flush=True)
"""


def _to_loop(block: bytes) -> float:
    with subprocess.Popen(
        [sys.executable, "-c", _LOOP, str(INGESTED)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            begun = time.perf_counter()
            for _ in range(INGESTED // 50):
                connection.sendall(block)
            process.stdout.readline()
            return time.perf_counter() - begun


def soak(seconds: float) -> Job:
    """Sessions for some time; memory after a tenth of it, and at the end."""

    def job(report: Report) -> Iterator[Report]:
        with (
            tempfile.TemporaryDirectory() as folder,
            served("--sessions", 2, "--folder", folder, "--save") as (port, process),
        ):
            path = Path(folder) / "source.dat"
            sr.save(scan(4, 64, 8), path.with_suffix(".h5"))
            raw = sr.open_raw(path.with_suffix(".h5")).readouts
            assert raw is not None
            counts, lock, begun = {"sessions": 0, "images lost": 0}, threading.Lock(), time.time()

            def use() -> None:
                while time.time() - begun < seconds:
                    images = sr.send(raw, port=port, method="grappa")
                    with lock:
                        counts["sessions"] += 1
                        counts["images lost"] += 4 - len(images)

            users = [threading.Thread(target=use) for _ in range(AT_A_TIME)]
            for user in users:
                user.start()
            time.sleep(seconds / 4)
            early = _memory(process)
            for user in users:
                user.join()
            late = _memory(process)
            yield {
                **counts, "at a time": AT_A_TIME, "seconds": time.time() - begun,
                "memory after a quarter in MB": early / 1e6, "memory at the end in MB": late / 1e6,
                "growth": late / early - 1,
            }  # fmt: skip

    return job


def _memory(process: psutil.Process) -> int:
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--job", choices=("paced", "at-once", "ingest", "soak"), help="default: all"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="of the soak")
    default = Path(__file__).parent / "results" / "server.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    jobs = {
        "paced": latency(TR),
        "at-once": latency(0.0),
        "ingest": ingest,
        "soak": soak(arguments.seconds),
    }
    run_jobs(jobs, arguments.output, arguments.job)
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
