"""What keeps a server from starting is one line, and no process is left."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from mrd_client import Running

from spinray.recon.server.server import Server, Settings
from spinray.recon.server.wire import listening


def refused(*words: object) -> str:
    command = [sys.executable, "-m", "spinray", "serve", "--port", 0, *words]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line.removeprefix("spinray: ")


def certificate(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", *options, "-days", "2", "-subj",
         "/CN=localhost", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


@pytest.mark.parametrize("option", ["--port", "--watch"])
def test_a_port_that_is_taken(option: str) -> None:
    with listening("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        expected = f"cannot listen on port {port} of 127.0.0.1: Address already in use"
        assert refused("--watch", 0, option, port) == expected


def test_no_such_host() -> None:
    assert refused("--host", "256.1.1.1").startswith("cannot listen on port 0 of 256.1.1.1: ")


def test_certificates_that_are_none(tmp_path: Path) -> None:
    made, _ = certificate(tmp_path, "a", "-nodes")
    _, other = certificate(tmp_path, "b", "-nodes")
    locked, its_key = certificate(tmp_path, "c", "-passout", "pass:secret")
    missing = tmp_path / "none.pem"
    assert refused("--tls", missing) == f"{missing}: No such file or directory"
    assert refused("--tls", made, "--key", missing) == f"{missing}: No such file or directory"
    wanted = "expected a certificate with its key (PEM, without a pass phrase)"
    for first, second in ((made, other), (locked, its_key)):
        told = refused("--tls", first, "--key", second)
        assert told.startswith(f"{first} and {second}: {wanted}")
    assert refused("--tls", made).startswith(f"{made}: {wanted}")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # a root may write all
    with pytest.raises(PermissionError, match="cannot be written to"):
        Server(Settings(port=0, folder=tmp_path))


def test_addresses_of_ipv6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening("::1", 0) as listener:
        assert listener.family == socket.AF_INET6


def test_the_page_survives_what_is_no_tls(start: Callable[..., Running], tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "a", "-nodes")
    server = start("--tls", made, "--key", key)
    with socket.create_connection(("127.0.0.1", server.watch), 10) as peer:
        peer.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        while peer.recv(1 << 16):
            pass
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = f"https://127.0.0.1:{server.watch}/health"
    with urllib.request.urlopen(address, context=context) as answer:
        assert answer.status == 200
    told = (server.folder / "server.txt").read_text()
    assert "the page, to 127.0.0.1: " in told
    assert "Traceback" not in told
