"""What broken, hostile and unlucky clients do: the next session is served, raw data are kept."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import psutil
import pytest
import scanner_files
from mrd_client import Running, opened

import spinray as sr
from spinray.recon.io.mrd_messages import (
    ACQUISITION,
    CLOSE_MESSAGE,
    CONFIG_TEXT,
    HEADER,
    IMAGE,
    text_message,
)
from spinray.recon.server.recorder import Recorder, converted
from spinray.recon.server.server import recover
from spinray.recon.server.wire import Limits, MessageReader, WireError


def require_serves(port: int, path: Path) -> None:
    assert len(sr.send(path, port=port, method="rss")) == 2


def kept(server: Running, before: set[Path], timeout: float = 30) -> Path:
    """The raw data file that was not there before."""
    deadline = time.monotonic() + timeout
    while not (new := set(server.folder.glob("[0-9]*.h5")) - before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return new.pop()


def wait_for(server: Running, lines: list[Any], timeout: float = 60) -> None:
    """Wait until these are on the disk."""
    deadline = time.monotonic() + timeout
    wanted = sum(line.data.nbytes for line in lines)
    while sum(file.stat().st_size for file in server.folder.glob("*.mrd")) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def acquisition_head(samples: int, coils: int) -> bytes:
    head = np.zeros((), ismrmrd.hdf5.acquisition_header_dtype)
    head["number_of_samples"], head["active_channels"] = samples, coils
    return struct.pack("<H", ACQUISITION) + head.tobytes()


def image_head(attributes: int) -> bytes:
    head = np.zeros((), ismrmrd.hdf5.image_header_dtype)
    head["matrix_size"], head["channels"], head["data_type"] = 65535, 65535, 8
    return struct.pack("<H", IMAGE) + head.tobytes() + struct.pack("<Q", attributes)


SPACE = (
    "<matrixSize><x>4096</x><y>4096</y><z>4096</z></matrixSize>"
    "<fieldOfView_mm><x>1</x><y>1</y><z>1</z></fieldOfView_mm>"
)
COILS = (
    "<ismrmrdHeader><acquisitionSystemInformation><receiverChannels>many</receiverChannels>"
    "</acquisitionSystemInformation><encoding><trajectory>cartesian</trajectory>"
    f"<encodedSpace>{SPACE}</encodedSpace></encoding></ismrmrdHeader>"
)
GARBAGE = np.random.default_rng(3).bytes(5000)
HOSTILE = {
    "nothing": b"",
    "garbage": GARBAGE,
    "zeros": bytes(5000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: scanner\r\n\r\n",
    "2 GB of configuration": struct.pack("<HI", CONFIG_TEXT, 1 << 31) + b"x",
    "4 GB of header": struct.pack("<HI", HEADER, (1 << 32) - 1) + b"x",
    "a header that is none": text_message(HEADER, "<ismrmrdHeader/>"),
    "no XML": text_message(HEADER, "\0\1\2"),
    "coils that are no number": text_message(HEADER, COILS),
    "entities": text_message(
        HEADER, "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
            f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ) + "]><ismrmrdHeader>&i;</ismrmrdHeader>",
    ),
    "a readout before the header": acquisition_head(10, 1) + bytes(80),
    "deep JSON": text_message(CONFIG_TEXT, '{"options":' * 20000) + text_message(HEADER, "<x/>"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_openings_that_are_none(server: Running, path: Path, name: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as peer:
        peer.sendall(HOSTILE[name])
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(10)
        while peer.recv(1 << 16):  # it is not left hanging
            pass
    require_serves(server.port, path)


@pytest.mark.parametrize(
    "rest",
    [
        acquisition_head(65535, 65535),  # 34 GB
        acquisition_head(128, 32)[:50],
        acquisition_head(128, 32) + bytes(100),
        image_head(1 << 62),
        GARBAGE,
        struct.pack("<HHHH", 1030, 8, 0, 65535) + b"\xff" * 300,
    ],
)
def test_scans_that_go_wrong_in_the_middle(server: Running, path: Path, rest: bytes) -> None:
    """Half a message, sizes that no scanner has: what came before is kept."""
    before = set(server.folder.glob("*.h5"))
    client, lines = opened(server, path, "rss save=true")
    client.send(*lines[:10])
    client.out.write(rest)
    client.out.flush()
    client.socket.shutdown(socket.SHUT_WR)
    client.answers()
    data = ismrmrd.Dataset(str(kept(server, before)), create_if_needed=False)
    assert data.number_of_acquisitions() == 10
    assert all(data.read_acquisition(i) == lines[i] for i in range(10))
    require_serves(server.port, path)


def test_a_client_that_is_killed(server: Running, path: Path) -> None:
    before = set(server.folder.glob("*.h5"))
    client, lines = opened(server, path, "rss save=true")
    client.send(*lines[:7])
    wait_for(server, lines[:7])
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.out.detach()
    client.socket.close()  # a reset, as of a process that died
    data = ismrmrd.Dataset(str(kept(server, before)), create_if_needed=False)
    assert data.number_of_acquisitions() == 7
    require_serves(server.port, path)


def test_readouts_that_contradict_each_other(server: Running, path: Path) -> None:
    client, lines = opened(server, path)
    other = ismrmrd.Acquisition.from_array(np.ones((3, 20), np.complex64))
    client.send(*lines[:10], other, *lines[10:])
    client.messages.close()
    answers = client.answers()
    assert any(text.startswith("error: ") for text in answers.texts)
    require_serves(server.port, path)


def test_slow_clients_do_not_keep_others_waiting(server: Running, path: Path) -> None:
    """Fifty that drip: none of them gets a worker."""
    peers = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(50)]
    for peer in peers:
        peer.sendall(text_message(HEADER, "<x/>")[:5])
    begun = time.monotonic()
    require_serves(server.port, path)
    assert time.monotonic() - begun < 15
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("part", [acquisition_head(128, 32)[:100], acquisition_head(128, 32)])
def test_a_message_that_drips_is_not_waited_for(part: bytes) -> None:
    """Half its header, and its header without the samples."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = MessageReader(ours, Limits(idle=5.0, stall=1.0))
        theirs.sendall(part)
        begun = time.monotonic()
        with pytest.raises(WireError, match="too little came for too long"):
            reader.message()
        assert 0.9 < time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<HI", CONFIG_TEXT, 1 << 31),
        struct.pack("<HI", HEADER, (1 << 32) - 1),
        acquisition_head(65535, 65535),
        image_head(0),
        image_head(1 << 62),
        struct.pack("<HHHH", 1030, 8, 0, 65535) + b"\xff" * 300,
    ],
)
def test_sizes_beyond_the_limits_are_refused_before_they_are_taken(head: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(head)
        with pytest.raises(WireError, match=r"declares \d+ bytes, at most"):
            MessageReader(ours, Limits()).message()


def workers(server: Running) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def test_a_worker_that_is_killed(server: Running, path: Path) -> None:
    before = set(server.folder.glob("*.h5"))
    client, lines = opened(server, path, "rss save=true")
    client.send(*lines[:9])
    wait_for(server, lines[:9])
    (worker,) = workers(server)
    os.kill(worker.pid, signal.SIGKILL)
    answers = client.answers()
    assert answers.closed
    assert answers.texts[-1] == "error: its worker ended unexpectedly"
    data = ismrmrd.Dataset(str(kept(server, before)), create_if_needed=False)
    assert data.number_of_acquisitions() == 9
    require_serves(server.port, path)


def test_a_server_that_is_killed(start: Callable[..., Running], path: Path) -> None:
    """The next one finds what a dead worker had, and leaves alone what another still writes."""
    first = start("--save", "--sessions", 2)
    lost, lines = opened(first, path)
    lost.send(*lines[:12])
    wait_for(first, lines[:12])
    (recording,) = first.folder.glob("*.mrd")
    going, _ = opened(first, path)
    going.send(*lines[:12])
    wait_for(first, 2 * lines[:12])
    (worker,) = (
        w for w in workers(first) if str(recording) in [file.path for file in w.open_files()]
    )
    first.stop(signal.SIGKILL)
    worker.kill()
    worker.wait()
    second = start("--folder", first.folder)
    found = recording.with_suffix(".h5")
    data = ismrmrd.Dataset(str(found), create_if_needed=False)
    assert data.number_of_acquisitions() == 12
    assert data.read_acquisition(11) == lines[11]
    going.send(*lines[12:])
    going.messages.close()
    assert len(going.answers().images) == 2
    data = ismrmrd.Dataset(str(kept(first, {found})), create_if_needed=False)
    assert data.number_of_acquisitions() == len(lines)
    require_serves(second.port, path)


def test_only_recordings_are_mended(tmp_path: Path) -> None:
    """Somebody else's files in the folder of sessions stay as they are."""
    contents = {
        "20260101-120000-0001.mrd": b"mrd\x02, a stream of another version" * 99,
        "20260101-120000-0002.mrd": b"",
        "mine.mrd": text_message(HEADER, "<x/>") + bytes(7),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    recover(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == contents


def test_a_worker_that_was_killed_while_idle(server: Running, path: Path) -> None:
    require_serves(server.port, path)
    (worker,) = workers(server)
    os.kill(worker.pid, signal.SIGKILL)
    require_serves(server.port, path)


def test_a_worker_that_dies_before_it_takes_a_session(server: Running, path: Path) -> None:
    """The session was handed to it already; it goes on to another worker."""
    require_serves(server.port, path)
    (worker,) = workers(server)
    worker.suspend()
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(require_serves, server.port, path)
        time.sleep(1)
        assert not served.done()
        worker.kill()
        served.result(timeout=60)


def test_a_recording_that_cannot_begin_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, buffers: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No space left"):
        Recorder(tmp_path / "scan", "<x/>")
    assert not list(tmp_path.iterdir())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_disk_that_is_full_ends_the_recording_not_the_session(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole readouts stay, half a one is cut away."""
    readouts = scanner_files.readouts_of(path)
    recorder = Recorder(tmp_path / "scan", readouts.xml)
    pieces = [
        head.tobytes() + np.ascontiguousarray(data).tobytes()
        for head, data in zip(readouts.head, readouts.data, strict=True)
    ]
    recorder.add(ACQUISITION, memoryview(pieces[0]))
    recorder.add(ACQUISITION, memoryview(pieces[1]))

    def full(descriptor: int, buffers: Any) -> int:
        os.write(descriptor, bytes(buffers[1])[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(OSError, match="No space left"):
        recorder.add(ACQUISITION, memoryview(pieces[2]))
    recorder.add(ACQUISITION, memoryview(pieces[3]))  # what comes after a gap is not kept
    monkeypatch.undo()
    left = recorder.finish()
    assert left == tmp_path / "scan.mrd"
    whole = text_message(HEADER, readouts.xml), *pieces[:2], CLOSE_MESSAGE
    assert left.stat().st_size == sum(map(len, whole)) + 2 * 2  # and two messages' numbers
    stream = sr.open_raw(left).readouts
    assert stream is not None
    assert len(stream) == 2
    data = ismrmrd.Dataset(str(converted(left)), create_if_needed=False)  # when there is room
    assert data.number_of_acquisitions() == 2


def test_a_server_whose_disk_is_full(start: Callable[..., Running], path: Path) -> None:
    """Files may not grow beyond half of the scan: images still come, whole readouts stay."""
    readouts = scanner_files.readouts_of(path)
    largest = sum(data.nbytes for data in readouts.data[: len(readouts) // 2])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        server = start("--save")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    images = sr.send(path, port=server.port, method="rss")
    assert len(images) == 2
    remarks = images[0].metadata["remarks"]
    (told,) = (text for text in remarks if text.startswith("raw data are kept up to readout"))
    assert "File too large" in told
    (name,) = (t.removeprefix("raw data: ") for t in remarks if t.startswith("raw data: "))
    kept = sr.open_raw(server.folder / name).readouts
    assert kept is not None
    assert len(readouts) // 4 < len(kept) < len(readouts) // 2
    assert all(np.array_equal(kept.data[i], readouts.data[i]) for i in range(len(kept)))
    require_serves(server.port, path)


def test_a_client_that_pauses_too_long(start: Callable[..., Running], path: Path) -> None:
    """In the middle of its scan, a byte now and then: it is told, the next one gets the worker."""
    server = start("--idle", 1)
    client, lines = opened(server, path, "rss save=true")
    client.send(*lines[:6])
    answers = client.answers()
    assert answers.closed
    assert any("too little came for too long" in text for text in answers.texts)
    assert len(scanner_files.readouts_of(kept(server, set()))) == 6
    require_serves(server.port, path)


def test_a_client_that_does_not_read(server: Running, path: Path) -> None:
    """It sends all, never takes an image, and goes."""
    client, lines = opened(server, path, "rss pixels=complex")
    client.send(*lines)
    client.messages.close()
    client.socket.close()
    client.out.detach()
    require_serves(server.port, path)


def test_a_session_is_not_given_to_a_worker_that_leaves(
    start: Callable[..., Running], tmp_path: Path, path: Path
) -> None:
    """A client goes while its slice is reconstructed, the next is in the queue already."""
    server = start()
    slow = scanner_files.scan_file(tmp_path, slices=2, matrix=96, coils=12)
    for _ in range(2):
        first, lines = opened(server, slow, "l1-wavelet iterations=3000")
        half = next(i for i, line in enumerate(lines) if line.flags < 1 << 18 and line.idx.slice)
        first.send(*lines[: half + 1])
        second, others = opened(server, path)
        time.sleep(1.0)  # the first slice is under way
        first.out.detach()
        first.socket.close()
        second.send(*others)
        second.messages.close()
        answers = second.answers()
        assert len(answers.images) == 2, answers.texts


def test_scans_beyond_the_memory_are_refused(start: Callable[..., Running], path: Path) -> None:
    small = start("--memory", 1)
    readouts = scanner_files.readouts_of(path)
    xml = readouts.xml.replace("<x>48</x>", "<x>4096</x>").replace("<y>48</y>", "<y>4096</y>")
    with socket.create_connection(("127.0.0.1", small.port), 10) as peer:
        peer.sendall(text_message(CONFIG_TEXT, "rss") + text_message(HEADER, xml))
        peer.settimeout(20)
        answer = b"".join(iter(lambda: peer.recv(1 << 16), b""))
    assert b"error: the scan needs about" in answer
    require_serves(small.port, path)
