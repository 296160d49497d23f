"""A server of its own for the tests of a file, and a client that is not Spinray's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd
import pytest
from ismrmrd import serialization


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    watch: int
    folder: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


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
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="module")
def server(start: Callable[..., Running]) -> Running:
    return start()


@dataclass
class Answers:
    """What came back."""

    images: list[ismrmrd.Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    closed: bool = False


class Client:
    """ISMRMRD's own messages over a socket: an independent writer and reader of the protocol."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(120)
        self.out = self.socket.makefile("wb")
        self.messages = serialization.ProtocolSerializer(self.out)

    def open(self, config: str, xml: str | bytes, *, by_name: bool = False) -> None:
        kind = serialization.ConfigFile if by_name else serialization.ConfigText
        self.send(kind(config), ismrmrd.xsd.CreateFromDocument(xml))

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.messages.serialize(message)
        self.out.flush()

    def file(self, path: Path, config: str, *, by_name: bool = False) -> Answers:
        """A whole session."""
        data = ismrmrd.Dataset(str(path), create_if_needed=False)
        self.open(config, data.read_xml_header(), by_name=by_name)
        for i in range(data.number_of_acquisitions()):
            self.send(data.read_acquisition(i))
        self.messages.close()
        return self.answers()

    def answers(self) -> Answers:
        found = Answers()
        with self.socket.makefile("rb") as stream, self.socket:
            reader = serialization.ProtocolDeserializer(stream)
            try:
                for item in reader.deserialize():
                    if isinstance(item, ismrmrd.Image):
                        found.images.append(item)
                    elif isinstance(item, str):
                        found.texts.append(item)
                found.closed = True
            except (EOFError, ConnectionError, ValueError):
                found.closed = False
        return found


@pytest.fixture
def client(server: Running) -> Client:
    return Client(server.port)


def memory_of_tree(process: int) -> int:
    """Bytes of a process and its children."""
    import psutil

    root = psutil.Process(process)
    return sum(p.memory_info().rss for p in [root, *root.children(recursive=True)])


os.environ.setdefault("OMP_NUM_THREADS", "1")
