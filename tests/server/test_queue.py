"""Several sessions, the end of a server, and networks beyond the scanner's."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import scanner_files
from mrd_client import Client, Running, opened

import spinray as sr
from spinray.benchmarks.soak import memory_of


def finished(client: Client, lines: list[Any]) -> Any:
    client.send(*lines)
    client.messages.close()
    return client.answers()


def state(server: Running) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.watch}/state") as answer:
        return json.load(answer)


def wait_for(server: Running, **wanted: int) -> None:
    for _ in range(600):
        now = state(server)
        if all(now[name] == value for name, value in wanted.items()):
            return
        time.sleep(0.05)
    raise AssertionError(f"expected {wanted}, is {now}")


def test_sessions_wait_for_their_turn_and_are_told(server: Running, path: Path) -> None:
    first, lines = opened(server, path)
    wait_for(server, running=1)
    second, _ = opened(server, path, "grappa")
    wait_for(server, running=1, waiting=1)
    third, _ = opened(server, path)
    wait_for(server, running=1, waiting=2)
    third.socket.close()  # leaves the queue
    third.out.detach()
    wait_for(server, running=1, waiting=1)
    assert len(finished(first, lines).images) == 2
    answers = finished(second, lines)
    assert len(answers.images) == 2
    assert answers.texts[0] == "queued: number 1 in the queue"


def test_two_at_a_time_get_their_own_images(start: Callable[..., Running], tmp_path: Path) -> None:
    """Twelve scans by four clients; each gets its own, and memory does not grow."""
    server = start("--sessions", 2)
    files = [
        scanner_files.scan_file(tmp_path, f"{n}.h5", slices=n + 1, acceleration=1.0)
        for n in range(4)
    ]
    expected = [sr.reconstruct(sr.load(f), "rss", progress=False).data.numpy() for f in files]
    wrong: list[Any] = []

    def use(n: int) -> None:
        for _ in range(3):
            images = sr.send(files[n], port=server.port, method="rss")
            made = np.stack([image.data.numpy() for image in images])
            if not np.allclose(made, expected[n].reshape(made.shape), rtol=1e-5):
                wrong.append(n)

    def round_of_all() -> int:
        users = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for user in users:
            user.start()
        for user in users:
            user.join()
        return memory_of(psutil.Process(server.process.pid))

    before, after = round_of_all(), round_of_all()
    assert not wrong
    wait_for(server, running=0, waiting=0)
    assert state(server)["outcomes"] == {"done": 24}
    assert after < 1.05 * before


def test_sigterm_finishes_and_refuses_but_drops_nobody(
    start: Callable[..., Running], path: Path
) -> None:
    server = start()
    running, lines = opened(server, path)
    running.send(*lines[:5])
    wait_for(server, running=1)
    waiting, _ = opened(server, path)
    wait_for(server, waiting=1)
    silent = [Client(server.port) for _ in range(50)]  # some still wait to be accepted
    server.process.send_signal(signal.SIGTERM)
    for client in (waiting, *silent):
        refused = client.answers()
        assert refused.closed
        assert refused.texts[-1] == "error: the server is shutting down"
    with pytest.raises(OSError, match="refused"):
        sr.send(path, port=server.port)
    assert len(finished(running, lines[5:]).images) == 2
    assert server.process.wait(30) == 0
    told = (server.folder / "server.txt").read_text()
    assert "shutting down: 1 sessions are finished, 1 in the queue refused" in told


def test_tls_and_token(start: Callable[..., Running], tmp_path: Path, path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
         certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    server = start("--tls", certificate, "--key", key, "--token", "secret")
    trusted = ssl.create_default_context(cafile=str(certificate))
    options: dict[str, Any] = {"host": "localhost", "port": server.port, "method": "rss"}
    images = sr.send(path, tls=trusted, token="secret", **options)
    expected = sr.reconstruct(sr.load(path), "rss", progress=False).data
    assert np.allclose(np.stack([image.data for image in images]), expected, rtol=1e-5)
    with pytest.raises(sr.client.ServerError, match="token"):
        sr.send(path, tls=trusted, token="guess", **options)
    with pytest.raises(ssl.SSLCertVerificationError):
        sr.send(path, tls=True, token="secret", **options)
    with pytest.raises(OSError, match="does it expect TLS|broke"):  # without TLS
        sr.send(path, token="secret", **options)
    for _ in range(100):
        if not (left := [t for t in threading.enumerate() if t.name == "TLS"]):
            break
        time.sleep(0.1)
    assert not left  # a client's connection takes its thread along

    def get(place: str) -> bytes:
        address = f"https://localhost:{server.watch}{place}"
        with urllib.request.urlopen(address, context=trusted) as answer:
            return bytes(answer.read())

    assert get("/health")
    assert b"spinray_sessions_total" in get("/metrics?token=secret")
    for place in ("/metrics", "/picture?token=guess", "/"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(place)
    assert server.stop() == 0
    assert "Traceback" not in (server.folder / "server.txt").read_text()


def test_ipv6(start: Callable[..., Running], path: Path) -> None:
    server = start("--host", "::1", "--token", "secret")
    with pytest.raises(sr.client.ServerError, match="token"):
        sr.send(path, "::1", server.port)
    with urllib.request.urlopen(f"http://[::1]:{server.watch}/health") as answer:
        assert answer.status == 200


def test_it_listens_on_loopback_alone(server: Running) -> None:
    process = psutil.Process(server.process.pid)
    addresses = {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}


def test_the_server_itself_stays_small() -> None:
    """Torch and Numba are the workers'."""
    code = (
        "import sys, spinray.recon.server.server, spinray.recon.server.web; "
        "print(*[m for m in ('torch', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
