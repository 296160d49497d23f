"""Public samples from a server on this machine, and the demo's choice of data."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import spinray
from spinray.datasets import demo_data, demo_files
from spinray.datasets.samples import SAMPLES, FetchError, Sample, fetch

DATA, HEADER = b"samples of a scan" * 100, b"# Dimensions\n"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "scan.cfl").write_bytes(DATA)
    (folder / "scan.hdr").write_bytes(HEADER)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def _sample(url: str, **checksums: str) -> Sample:
    known = {"cfl": hashlib.sha256(DATA).hexdigest(), "hdr": hashlib.sha256(HEADER).hexdigest()}
    known |= checksums
    files = tuple((f"brain.{end}", f"scan.{end}", known[end]) for end in ("cfl", "hdr"))
    return Sample("a scan", "BSD-3", "here", url, files)


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_fetch_brings_all_files_and_then_needs_no_network(server: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = fetch(_sample(server), cache)
    assert path == cache / "brain.cfl"
    assert path.read_bytes() == DATA
    assert (cache / "brain.hdr").read_bytes() == HEADER
    offline = _sample(f"http://127.0.0.1:{_closed_port()}")
    assert fetch(offline, cache) == path


def test_a_damaged_file_in_the_cache_is_fetched_again(server: str, tmp_path: Path) -> None:
    path = fetch(_sample(server), tmp_path)
    path.write_bytes(DATA[:50])
    assert fetch(_sample(server), tmp_path).read_bytes() == DATA


def test_other_bytes_than_expected_are_refused(server: str, tmp_path: Path) -> None:
    sample = _sample(server, hdr="0" * 64)
    with pytest.raises(FetchError, match=r"scan\.hdr: not the expected file.*SHA256"):
        fetch(sample, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["brain.cfl"]


def test_a_missing_file_is_named(server: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"nowhere/scan\.cfl: 404"):
        fetch(_sample(f"{server}/nowhere"), tmp_path)


def test_no_network_ends_at_once(tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(FetchError, match=r"scan\.cfl: no connection to the server"):
        fetch(_sample(f"http://127.0.0.1:{_closed_port()}"), tmp_path)
    assert time.perf_counter() - start < 5


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        start = time.perf_counter()
        with pytest.raises(FetchError, match="the server does not answer"):
            fetch(_sample(f"http://127.0.0.1:{listener.getsockname()[1]}"), tmp_path, timeout=0.5)
        assert time.perf_counter() - start < 5


def test_an_unwritable_cache_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FetchError, match=r"file.*cannot keep"):
        fetch(_sample(server), tmp_path / "file")


def test_unknown_sample() -> None:
    with pytest.raises(ValueError, match="unknown sample 'knee', expected one of: brain, tooth"):
        fetch("knee")


def test_checksums_are_those_of_the_real_files(data_dir: Path) -> None:
    """The shared files are the public ones: the same bytes."""
    folders = {"brain": "mr_kspace", "tooth": "ct_raw"}
    for name, sample in SAMPLES.items():
        assert sample.url.startswith("https://")
        for here, _, checksum in sample.files:
            content = (data_dir / folders[name] / here).read_bytes()
            assert hashlib.sha256(content).hexdigest() == checksum


def _fill(folder: Path) -> None:
    for name in ("mr_kspace/brain8ch_full.cfl", "ct_raw/tooth.h5"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"")


def test_demo_takes_the_named_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path)
    monkeypatch.setenv("SPINRAY_DATA", str(tmp_path))
    files = demo_files(tmp_path / "demo")
    assert files.mr == tmp_path / "mr_kspace" / "brain8ch_full.cfl"
    assert files.ct == tmp_path / "ct_raw" / "tooth.h5"
    assert str(tmp_path) in files.source
    assert files.mr_truth is None
    (tmp_path / "ct_raw" / "tooth.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"SPINRAY_DATA is .*tooth\.h5"):
        demo_files(tmp_path / "demo")


def test_demo_then_fetches(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPINRAY_DATA", raising=False)
    monkeypatch.setattr(demo_data, "_NEIGHBOUR", tmp_path / "nowhere")
    monkeypatch.setenv("SPINRAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SAMPLES, "brain", _sample(server))  # type: ignore[misc]
    monkeypatch.setitem(SAMPLES, "tooth", _sample(server))  # type: ignore[misc]
    files = demo_files(tmp_path / "demo")
    assert files.mr == tmp_path / "cache" / "brain.cfl"
    assert "public samples" in files.source
    assert not (tmp_path / "demo").exists()


def test_demo_simulates_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPINRAY_DATA", raising=False)
    monkeypatch.setattr(demo_data, "_NEIGHBOUR", tmp_path / "nowhere")
    monkeypatch.setenv("SPINRAY_CACHE", str(tmp_path / "cache"))
    closed = _sample(f"http://127.0.0.1:{_closed_port()}")
    monkeypatch.setitem(SAMPLES, "brain", closed)  # type: ignore[misc]
    files = demo_files(tmp_path / "demo")
    assert files.source.startswith("Simulated")
    assert "no connection" in files.source
    mr, ct = spinray.load(files.mr), spinray.load(files.ct)
    assert mr.kspace.shape[-3:] == (8, 256, 256)
    assert mr.noise is not None
    assert ct.geometry.shape == (360, 512)
    assert ct.counts is not None
    assert files.mr_truth is not None
    assert files.mr_truth.data.shape == (256, 256)
    assert files.ct_truth is not None
    assert files.ct_truth.data.shape == ct.grid.shape
