"""A soak of the server: sessions, 8 at a time, for so many seconds; memory, and images lost.

    python -m benchmarks.soak [--seconds 600] [--output FILE.json]

Memory is of all processes of the server, after a quarter of the time and at the end.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import psutil

import spinray as sr

from .common import Report, machine, write
from .server import scan, served

AT_A_TIME = 8


def soak(seconds: float) -> Report:
    """Sessions for some time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served("--sessions", 2, "--folder", folder, "--save") as (port, process),
    ):
        path = Path(folder) / "source.h5"
        sr.save(scan(4, 64, 8), path)
        raw = sr.open_raw(path).readouts
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
        return {
            **counts, "at a time": AT_A_TIME, "seconds": time.time() - begun,
            "memory after a quarter in MB": early / 1e6, "memory at the end in MB": late / 1e6,
            "growth": late / early - 1,
        }  # fmt: skip


def _memory(process: psutil.Process) -> int:
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = {"machine": machine(), "soak": soak(arguments.seconds)}
    print(found["soak"])
    if arguments.output:
        write(arguments.output, found)


if __name__ == "__main__":
    main()
