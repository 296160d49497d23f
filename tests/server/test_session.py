"""A session in this process: disks that are full, clients that end their side."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import scanner_files
from mrd_client import Client, opened

import spinray as sr
from spinray.recon.io.mrd_messages import CLOSE_MESSAGE, IMAGE, TEXT, acquisition_message, text_of
from spinray.recon.server import session
from spinray.recon.server.configuration import configuration
from spinray.recon.server.order import Order
from spinray.recon.server.recorder import converted
from spinray.recon.server.wire import Limits, MessageReader
from spinray.recon.server.worker import _serve


class Channel:
    """What the server would hear."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def send(self, facts: dict[str, Any]) -> None:
        self.heard.append(facts)


@pytest.fixture
def logs() -> Iterator[None]:
    """The root logger's formatters are the worker's to set."""
    before = [(handler, handler.formatter) for handler in logging.getLogger().handlers]
    yield
    for handler, formatter in before:
        handler.setFormatter(formatter)


@pytest.fixture
def served(tmp_path: Path, logs: None) -> Callable[..., tuple[dict[str, Any], list[Any]]]:
    """The outcome of a session of a file, and the messages that came back."""

    def serve(
        readouts: Any, wish: str, *, half_closed: bool = False, **order: Any
    ) -> tuple[dict[str, Any], list[Any]]:
        ours, theirs = socket.socketpair()
        given = Order("scan", configuration(wish), readouts.xml, **order)
        found: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: found.append(_serve(theirs, given, Channel())))
        thread.start()
        for head, data, trajectory in zip(
            readouts.head, readouts.data, readouts.trajectory, strict=True
        ):
            ours.sendall(acquisition_message(head, trajectory, data))
        ours.sendall(CLOSE_MESSAGE)
        if half_closed:
            ours.shutdown(socket.SHUT_WR)
        reader = MessageReader(ours, Limits(idle=120))
        answers = list(iter(reader.message, None))
        ours.close()
        thread.join()
        theirs.close()
        return found[0], answers

    return serve


def texts(answers: list[Any]) -> list[str]:
    return [text_of(content[4:]) for number, content in answers if number == TEXT]


def images(answers: list[Any]) -> int:
    return sum(number == IMAGE for number, _ in answers)


def test_images_come_though_nothing_can_be_kept(
    tmp_path: Path, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full before the scan begins: for its raw data, and for its log."""
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=2))

    def full(descriptor: int, buffers: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    outcome, answers = served(
        readouts, "rss", record=tmp_path / "kept", save=True, log=Path("/dev/full")
    )
    assert outcome["outcome"] == "done"
    assert images(answers) == 2
    assert "raw data are kept up to readout 0: No space left on device" in texts(answers)
    assert not list(tmp_path.glob("kept*"))


def test_a_log_that_cannot_be_opened(tmp_path: Path, served: Any) -> None:
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=1))
    outcome, answers = served(readouts, "rss", log=tmp_path / "gone" / "scan.log")
    assert (outcome["outcome"], images(answers)) == ("done", 1)


def test_a_client_may_end_its_side_and_wait(
    tmp_path: Path, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LISTENS", 0.01)
    path = scanner_files.scan_file(tmp_path, slices=2, matrix=96, coils=8)
    outcome, answers = served(
        scanner_files.readouts_of(path), "l1-wavelet iterations=40", half_closed=True
    )
    assert (outcome["outcome"], images(answers)) == ("done", 2)
    assert "images are being made" in texts(answers)


def test_no_readouts_are_told(tmp_path: Path, served: Any) -> None:
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=1))
    _, answers = served(readouts.select(np.zeros(len(readouts), bool)), "rss")
    assert texts(answers) == ["no readouts came"]


def test_raw_data_without_an_image_are_kept_as_hdf5(tmp_path: Path, served: Any) -> None:
    """A noise adjustment, and readouts of an encoding that the header does not have."""
    readouts = scanner_files.readouts_of(scanner_files.scan_file(tmp_path, slices=1))
    noise = readouts.select(readouts.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
    foreign = readouts.select(np.ones(len(readouts), bool))
    foreign.head["encoding_space_ref"] = 5
    for name, some in (("noise", noise), ("foreign", foreign)):
        outcome, answers = served(some, "rss", record=tmp_path / name, save=True)
        assert outcome["outcome"] == "failed"
        assert f"raw data: {name}.h5" in texts(answers)
        data = ismrmrd.Dataset(str(tmp_path / f"{name}.h5"), create_if_needed=False)
        assert data.number_of_acquisitions() == len(some)
        assert np.array_equal(data.read_acquisition(0).data, some.data[0])


def test_a_stream_without_readouts_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.mrd"
    path.write_bytes(b"")
    assert converted(path) == path


def test_a_client_that_leaves_after_its_last_line(start: Any, tmp_path: Path) -> None:
    """Nobody waits for its images: the worker is the next one's within seconds."""
    server = start()
    path = scanner_files.scan_file(tmp_path, slices=4, matrix=96)
    client, lines = opened(server, path, "dip")  # minutes
    client.send(*lines)
    client.messages.close()
    client.out.detach()
    client.socket.close()
    following = Client(server.port)
    following.socket.settimeout(60)
    following.open("rss", sr.open_raw(path).readouts.xml)
    following.send(*lines)
    following.messages.close()
    assert len(following.answers().images) == 4
    told = (server.folder / "server.txt").read_text()
    assert "the client left before its images were made" in told
