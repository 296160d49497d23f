"""MRD 2 by pipes, written and read by mrd-python."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_files

import spinray as sr

mrd = pytest.importorskip("mrd")


def test_images_of_the_file_with_its_header(tmp_path: Path) -> None:
    path = raw_files.write_mrd2(tmp_path, repetitions=2)
    command = [sys.executable, "-m", "spinray", "recon", "--stream", "-m", "rss"]
    with path.open("rb") as source:
        done = subprocess.run(command, stdin=source, capture_output=True, timeout=300, check=False)
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


def test_what_is_wrong_in_one_line(
    tmp_path: Path, spinray: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = raw_files.write_mrd2(tmp_path).read_bytes()
    for source, words, message in (
        (whole[:-50], ("-m", "rss"), "standard input: ends in the middle"),
        (b"garbage", (), "standard input"),
        (whole, ("-m", "gridding"), "gridding needs a trajectory"),
        (whole, ("file.h5",), "--stream reads standard input"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))
        done = spinray("recon", "--stream", *words)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
