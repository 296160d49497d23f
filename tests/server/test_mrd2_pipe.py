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
import torch

import spinray as sr
from spinray.recon.io.acquisitions import ACQUISITION_HEADER
from spinray.recon.server import mrd2_pipe
from spinray.recon.server.live import Result

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


def test_images_lie_where_their_affines_say() -> None:
    """Tilted about x; MRD's place is that of the pixel in the middle, in LPS."""
    tilt, spacing = np.radians(30), np.array([2.0, 3.0, 5.0])
    turn = np.array([
        [1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)],
    ])  # fmt: skip
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, (10, -20, 30)
    image = sr.Image(torch.ones(6, 8), tuple(spacing[1::-1]), affine)
    result = Result(image, {}, np.zeros((), ACQUISITION_HEADER))
    head = mrd2_pipe._item(mrd, result, 1).value.head
    assert np.allclose(head.field_of_view, spacing * [8, 6, 1])
    to_lps = np.diag([-1.0, -1.0, 1.0])
    for i, name in enumerate(("col_dir", "line_dir", "slice_dir")):
        assert np.allclose(getattr(head, name), to_lps @ turn[:, i], atol=1e-6), name
    first = head.position - 4 * 2.0 * head.col_dir - 3 * 3.0 * head.line_dir
    assert np.allclose(first, to_lps @ affine[:3, 3], atol=1e-5)


def test_what_is_wrong_in_one_line(
    tmp_path: Path, spinray: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = raw_files.write_mrd2(tmp_path).read_bytes()
    for source, words, message in (
        (whole[:-50], ("-m", "rss"), "standard input: ends in the middle"),
        (whole[:300], (), "standard input: ends in the middle"),
        (b"garbage", (), "standard input"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), (), "standard input: is no MRD 2 stream"),
        (whole, ("-o", "a.h5", "--json"), "a method and its options only, got --output, --json"),
        (whole, ("-m", "gridding"), "gridding needs a trajectory"),
        (whole, ("file.h5",), "--stream reads standard input"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))
        done = spinray("recon", "--stream", *words)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
