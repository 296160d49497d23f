"""The server under many sessions: memory, and images that were lost or wrong, JSON.

    python -m spinray.benchmarks.soak [--seconds 600] [--output FILE.json]

Clients, 8 at a time, one session after another and 50 at least: Cartesian scans by `grappa` and by
`sense`, radial scans by `gridding`, and clients that leave in the middle of a scan. Two sessions
are served at once, raw data are kept. Every image is compared with what `reconstruct` makes of the
same file. Memory is that of all processes of the server, every second; it is called flat if its
median in the last quarter is within 5 % of that in the second one (the first warms up).
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import torch

import spinray as sr
from spinray.recon.io.mrd_messages import IMAGE
from spinray.recon.server.wire import Limits, MessageReader

from .common import machine, write
from .server import messages, scan, served

AT_A_TIME, LEAST = 8, 50
FLAT = 0.05  # growth of the memory
TOLERANCE = 1e-4  # relative error of an image
_BREAK_OFF = 10  # every so many sessions a client leaves in the middle


@dataclass(frozen=True)
class Wish:
    """A raw file, a method, and the images that it makes."""

    path: Path
    method: str
    expected: torch.Tensor


def wishes(folder: Path) -> list[Wish]:
    """Scans of a few slices."""
    radial = sr.datasets.simulate_mr(matrix=64, coils=8, trajectory="radial", snr=50)
    scans = {"cartesian": scan(4, 64, 8), "radial": radial}
    for name, one in scans.items():
        sr.save(one, folder / f"{name}.h5")
    pairs = (("cartesian", "grappa"), ("radial", "gridding"), ("cartesian", "sense"))
    made = []
    for name, method in pairs:
        path = folder / f"{name}.h5"
        image = sr.reconstruct(sr.load(path), method, progress=False)
        data = image.data.abs()
        made.append(Wish(path, method, data.reshape(-1, *data.shape[-2:])))
    return made


class Soak:
    """Clients until the time is over and `least` sessions were served."""

    def __init__(self, port: int, chosen: list[Wish], seconds: float, least: int = LEAST) -> None:
        self._port, self._wishes, self._least = port, chosen, least
        self._until = time.monotonic() + seconds
        self._numbers = count()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Use the server, `AT_A_TIME` clients at once."""
        users = [threading.Thread(target=self._use) for _ in range(AT_A_TIME)]
        for user in users:
            user.start()
        for user in users:
            user.join()

    def _use(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers)
            if number >= self._least and time.monotonic() > self._until:
                return
            wish = self._wishes[number % len(self._wishes)]
            if number % _BREAK_OFF == _BREAK_OFF - 1:
                _break_off(self._port, self._wishes[0])  # its slices come back one by one
                found = {"broken off by the client": 1}
            else:
                found = _served(self._port, wish)
            with self._lock:
                self.counts.update({"sessions": 1, **found})


def _served(port: int, wish: Wish) -> dict[str, int]:
    try:
        images = sr.send(wish.path, port=port, method=wish.method)
    except (OSError, sr.client.ServerError) as error:
        print(f"{wish.method}: {error}", flush=True)
        return {"failed": 1, "images lost": len(wish.expected)}
    wrong = sum(
        float(torch.linalg.vector_norm(image.data - expected)) > TOLERANCE * float(expected.norm())
        for image, expected in zip(images, wish.expected, strict=False)
    )
    return {
        "images": len(images),
        "images lost": len(wish.expected) - len(images),
        "images wrong": wrong,
    }


def _break_off(port: int, wish: Wish) -> None:
    """Leave when the first slices have come back, in the middle of a readout."""
    opening, lines = messages(wish.path, wish.method)
    with socket.create_connection(("127.0.0.1", port), 60.0) as connection:
        connection.sendall(opening + b"".join(lines[: len(lines) // 2]) + lines[-1][:50])
        reader = MessageReader(connection, Limits(idle=600.0))
        while (message := reader.message()) is not None and message[0] != IMAGE:
            pass


def soak(seconds: float, least: int = LEAST) -> dict[str, Any]:
    """Run it, and say how the server came through."""
    with tempfile.TemporaryDirectory() as name:
        folder, kept = Path(name), Path(name) / "sessions"
        with served("--sessions", 2, "--folder", kept, "--save") as (port, process):
            work = Soak(port, wishes(folder), seconds, least)
            runner, begun = threading.Thread(target=work.run), time.monotonic()
            runner.start()
            memory = []
            while runner.is_alive():
                memory.append(memory_of(process) / 1e6)
                runner.join(1.0)
                saved = [path for path in kept.glob("*.h5") if not path.name.startswith(".")]
                work.counts["raw files kept"] += len(saved)
                for path in saved:  # an hour of them would fill the disk
                    path.unlink()
            alive = process.is_running()
        work.counts["raw files kept"] += len(list(kept.glob("*.h5")))
        unfinished = len(list(kept.glob("*.mrd")))
    quarter = max(len(memory) // 4, 1)
    early, late = (
        statistics.median(memory[quarter : 2 * quarter]),
        statistics.median(memory[-quarter:]),
    )
    return {
        "seconds": time.monotonic() - begun, "clients at a time": AT_A_TIME, **dict(work.counts),
        "raw files that were not finished": unfinished, "server alive": alive,
        "memory in MB": {"second quarter": early, "last quarter": late, "peak": max(memory)},
        "growth": late / early - 1, "flat": abs(late / early - 1) < FLAT,
    }  # fmt: skip


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and its children, one of which may end meanwhile."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    report = {"machine": machine(), **soak(arguments.seconds)}
    print(json.dumps(report, indent=1))
    if arguments.output:
        write(arguments.output, report)


if __name__ == "__main__":
    main()
