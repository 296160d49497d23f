"""Servers for the tests: one for all, and others that begin with options of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import scanner_files
from mrd_client import Client, Running


def begun(folder: Path, *words: object) -> Running:
    """A server of one session at a time, as a process."""
    command = [
        sys.executable, "-m", "spinray", "serve", "--port", 0, "--watch", 0, "--cores", 1,
        "--sessions", 1, "--folder", folder, *words,
    ]  # fmt: skip
    with (folder / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    ports = json.loads(process.stdout.readline())
    return Running(process, ports["port"], ports["watch"], folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The one that tests leave as they found it."""
    running = begun(tmp_path_factory.mktemp("sessions"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Starts servers, which end with the module."""
    started: list[Running] = []

    def begin(*words: object) -> Running:
        started.append(begun(tmp_path_factory.mktemp("sessions"), *words))
        return started[-1]

    yield begin
    for running in started:  # all at once, then wait for each
        running.process.terminate()
    for running in started:
        running.process.wait(60)


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of two slices."""
    return scanner_files.scan_file(tmp_path_factory.mktemp("scan"), slices=2)


@pytest.fixture
def client(server: Running) -> Client:
    return Client(server.port)
