"""The server: from the last line to the last image, and how fast readouts are taken in.

    python -m benchmarks.server [--jobs paced ...] [--quick] [--output FILE.json]

*paced*, *at once*: slices, every third line and 24 in the centre, by `sense`; from the last readout
until the last image has come back to the client. Paced are lines at the repetition time told, slice
by slice, as a scanner sends them; at once is the whole scan as fast as the connection takes it, so
that all work is left for the end.

*ingest*: readouts of 256 samples x 32 coils (noise scans: nothing is reconstructed) until the
server has taken them all, and the loop that Python's example servers have:
`ismrmrd.Acquisition.deserialize_from` on a socket, which forgets each or keeps all in a list. The same
bytes from the same sender.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

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

from .common import run_suite
from .protocol import OURS, Prepared, Task

TR, BLOCK = 0.02, 50


@contextmanager
def served(*words: object) -> Iterator[tuple[int, psutil.Process]]:
    """A server with all cores: its port and process."""
    command = [sys.executable, "-m", "spinray", "serve", "--port", "0", *map(str, words)]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"], psutil.Process(process.pid)
        finally:
            process.terminate()


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


def messages(source: sr.MRScan | Path, config: str) -> tuple[bytes, list[bytes]]:
    """Opening and readouts of a session, of a scan or of its file."""
    if isinstance(source, sr.MRScan):
        with tempfile.TemporaryDirectory() as folder:
            sr.save(source, Path(folder) / "scan.h5")
            return messages(Path(folder) / "scan.h5", config)
    raw = sr.open_raw(source).readouts
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
        begun = last = time.monotonic()
        for number, line in enumerate(lines):
            if (wait := begun + number * pause - time.monotonic()) > 0:
                time.sleep(wait)
            last = time.monotonic()
            connection.sendall(line)
        connection.sendall(CLOSE_MESSAGE)
        receiver.join()
    return {"sent in": last - begun, "images": len(times), "latency": max(times) - last}


class Running:
    """A server of one session at a time, for all tasks; it ends with them."""

    def __init__(self) -> None:
        opened = ExitStack()
        self.port, _ = opened.enter_context(served("--sessions", 1))
        weakref.finalize(self, opened.close)


class Sessions:
    """A scan as a client sends it to a running server."""

    def __init__(self, server: Running, slices: int, matrix: int, coils: int) -> None:
        self.server, self.slices = server, slices
        self.opening, self.lines = messages(scan(slices, matrix, coils), "sense")
        # kernels are compiled, caches filled
        one_slice = self.lines[: 1 + len(self.lines) // self.slices]
        session(server.port, self.opening, one_slice, 0.0)

    def latency(self, pause: float) -> Prepared:
        return Prepared(
            partial(session, self.server.port, self.opening, self.lines, pause),
            lambda out: 1 - out["images"] / self.slices, process=True,
            seconds=lambda out: out["latency"],
        )  # fmt: skip


class Readouts:
    """The same readouts for every receiver."""

    def __init__(self, count: int, matrix: int, coils: int) -> None:
        head = np.zeros((), ismrmrd.hdf5.acquisition_header_dtype)
        head["version"], head["number_of_samples"] = 1, matrix
        head["active_channels"] = head["available_channels"] = coils
        head["flags"] = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)
        data = np.ones((coils, matrix), np.complex64)
        one = acquisition_message(head, np.zeros((0, 0), np.float32), data)
        self.count, self.block = count, one * BLOCK

    def ours(self, server: Running) -> Prepared:
        opening, _ = messages(scan(1, 32, 2), "rss")
        call = partial(self._to_spinray, server.port, opening)
        return Prepared(call, None, process=True, seconds=float)

    def loop(self, mode: str) -> Prepared:
        return Prepared(partial(self._to_loop, mode), None, process=True, seconds=float)

    def _sent(self, connection: socket.socket) -> None:
        for _ in range(self.count // BLOCK):
            connection.sendall(self.block)

    def _to_spinray(self, port: int, opening: bytes) -> float:
        """Until the server says that there was nothing to make an image of."""
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(opening)
            begun = time.perf_counter()
            self._sent(connection)
            connection.sendall(CLOSE_MESSAGE)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            seconds = time.perf_counter() - begun
        if b"is an imaging readout" not in answer:
            raise RuntimeError(f"the server answered {answer[-200:]!r}")
        return seconds

    def _to_loop(self, mode: str) -> float:
        command = [sys.executable, "-c", _LOOP, str(self.count), mode]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port)) as connection:
                begun = time.perf_counter()
                self._sent(connection)
                process.stdout.readline()
                return time.perf_counter() - begun


_LOOP = """
import socket, sys, ismrmrd
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    with listener.accept()[0] as connection, connection.makefile("rb") as stream:
        kept = []
        for _ in range(int(sys.argv[1])):
            stream.read(2)
            readout = ismrmrd.Acquisition.deserialize_from(stream.read)
            if sys.argv[2] == "keep":
                kept.append(readout)
        print("done", flush=True)
"""


def tasks(quick: bool = False) -> Iterator[Task]:
    """Latencies of both kinds, then what the server takes in."""
    slices, matrix, coils = (4, 64, 8) if quick else (6, 256, 32)
    facts = {"slices": slices, "matrix": matrix, "coils": coils}
    running = cache(Running)
    sessions = cache(lambda: Sessions(running(), slices, matrix, coils))
    for name, pause in (("paced", TR), ("at once", 0.0)):
        here = {OURS: lambda pause=pause: sessions().latency(pause)}
        yield Task("server", f"{name}, last line to last image", here,
                   "share of images lost", facts)  # fmt: skip
    count = 1000 if quick else 6000
    readouts = Readouts(count, 256, 32)
    tools = {
        OURS: lambda: readouts.ours(running()),
        "ismrmrd-python loop": lambda: readouts.loop("forget"),
        "ismrmrd-python loop, readouts kept": lambda: readouts.loop("keep"),
    }
    facts = {"samples": 256, "coils": 32}
    yield Task("server", "ingest, a readout", tools, "", facts, per=count)


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
