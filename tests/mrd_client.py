"""A client of MRD 1 that is not Spinray's: messages by ISMRMRD's own package."""

from __future__ import annotations

import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd
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


def opened(server: Running, path: Path, config: str = "rss") -> tuple[Client, list[Any]]:
    """A session that has begun, and its readouts."""
    data = ismrmrd.Dataset(str(path), create_if_needed=False)
    client = Client(server.port)
    client.open(config, data.read_xml_header())
    return client, [data.read_acquisition(i) for i in range(data.number_of_acquisitions())]
