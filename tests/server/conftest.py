"""A server of its own for the tests of a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import scanner_files
from mrd_client import Client, Running


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Starts servers, which end with the module."""
    started: list[Running] = []

    def begin(*words: object) -> Running:
        folder = tmp_path_factory.mktemp("sessions")
        command = [
            sys.executable, "-m", "spinray", "serve", "--port", 0, "--watch", 0, "--cores", 1,
            "--sessions", 1, "--folder", folder, *words,
        ]  # fmt: skip
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True,
            stderr=(folder / "server.txt").open("w"),
        )  # fmt: skip
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        started.append(Running(process, ports["port"], ports["watch"], folder))
        return started[-1]

    yield begin
    for running in started:  # all at once, then wait for each
        running.process.terminate()
    for running in started:
        running.process.wait(60)


@pytest.fixture(scope="module")
def server(start: Callable[..., Running]) -> Running:
    return start()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of two slices."""
    return scanner_files.scan_file(tmp_path_factory.mktemp("scan"), slices=2)


@pytest.fixture
def client(server: Running) -> Client:
    return Client(server.port)
