"""MRD 2 by pipes, written and read by mrd-python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import raw_files

import spinray as sr

mrd = pytest.importorskip("mrd")


def recon(source: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "spinray", "recon", "--stream", *words]
    return subprocess.run(command, input=source, capture_output=True, timeout=300, check=False)


def test_images_of_the_file_with_its_header(tmp_path: Path) -> None:
    path = raw_files.write_mrd2(tmp_path, repetitions=2)
    done = recon(path.read_bytes(), "-m", "rss")
    assert done.returncode == 0, done.stderr
    images = tmp_path / "images.mrd"
    images.write_bytes(done.stdout)
    with mrd.BinaryMrdReader(str(images)) as reader, mrd.BinaryMrdReader(str(path)) as source:
        assert reader.read_header() == source.read_header()
        found = [item.value for item in reader.read_data()]
        list(source.read_data())
    expected = sr.reconstruct(sr.load(path), "rss", progress=False)
    assert [image.head.repetition for image in found] == [0, 1]
    for image, wanted in zip(found, expected.data, strict=True):
        assert np.allclose(image.data[0, 0], wanted, rtol=1e-5)
        assert image.head.image_type == mrd.ImageType.MAGNITUDE
        assert image.head.field_of_view.tolist() == [80.0, 60.0, 5.0]
        assert image.head.col_dir.tolist() == [1, 0, 0]
        assert image.head.position.tolist() == [0, 0, 0]


def test_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    whole = raw_files.write_mrd2(tmp_path).read_bytes()
    for source, words, message in (
        (whole[:-50], ("-m", "rss"), b"standard input: ends in the middle"),
        (whole[:300], (), b"standard input: ends in the middle"),
        (b"garbage", (), b"standard input"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), (), b"standard input: is no MRD 2 stream"),
        (whole, ("-o", "a.h5", "--json"), b"a method and its options only, got --output, --json"),
        (whole, ("-m", "gridding"), b"gridding needs a trajectory"),
        (whole, ("file.h5",), b"--stream reads standard input"),
    ):
        done = recon(source, *words)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
