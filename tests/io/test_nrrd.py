"""NRRD images: values, order of axes, place in space, broken files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import spinray as sr

HEADER = """NRRD0004
# a comment: with a colon
type: {type}
dimension: 3
space: {space}
sizes: 4 3 2
space directions: (0.5,0,0) (0,0,-2) (0,3,0)
kinds: domain domain domain
endian: {endian}
encoding: {encoding}
space origin: (10,20,30)

"""


def write(path: Path, values: np.ndarray, kind: str = "short", **changes: str) -> Path:
    fields = {"space": "left-posterior-superior", "endian": "little", "encoding": "raw", **changes}
    order = ">" if fields["endian"] == "big" else "<"
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if fields["encoding"] == "gzip":
        body = gzip.compress(body)
    path.write_bytes(HEADER.format(type=kind, **fields).encode() + body)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_values_and_place(tmp_path, encoding, endian) -> None:
    values = np.arange(-5, 19, dtype=np.int16).reshape(2, 3, 4)
    image = sr.load_image(write(tmp_path / "a", values, encoding=encoding, endian=endian))
    assert np.array_equal(image.data, values)
    assert image.spacing == (3.0, 2.0, 0.5)
    # Index (x, y, z) = (1, 2, 1) lies at (10.5, 23, 26) to the left, back and head.
    np.testing.assert_allclose(image.affine @ [1, 2, 1, 1], [-10.5, -23, 26, 1])
    same = sr.load_image(write(tmp_path / "b", values, space="right-anterior-superior"))
    np.testing.assert_allclose(same.affine @ [1, 2, 1, 1], [10.5, 23, 26, 1])


@pytest.mark.parametrize(("kind", "dtype"), [("float", "f4"), ("unsigned char", "u1"), ("double", "f8")])  # fmt: skip  # noqa: E501
def test_types(tmp_path, kind, dtype) -> None:
    values = np.arange(24).astype(dtype).reshape(2, 3, 4)
    assert np.array_equal(sr.load_image(write(tmp_path / "a", values, kind)).data, values)


def test_real_patients(data_dir) -> None:
    for name, depth in (("brain1", 25), ("brain2", 23)):
        image = sr.load_image(data_dir / "mr_images" / f"{name}.nrrd")
        assert image.data.shape == (depth, 256, 256)
        assert 0.5 < image.spacing[1] < 1.5


def test_broken_files_are_named(tmp_path) -> None:
    values = np.zeros((2, 3, 4), np.int16)
    path = write(tmp_path / "a", values)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(sr.FormatError, match="24 values need 48"):
        sr.load_image(path)
    with pytest.raises(sr.FormatError, match="encoding: is bzip2"):
        sr.load_image(write(tmp_path / "b", values, encoding="bzip2"))
    with pytest.raises(sr.FormatError, match="type: is block"):
        sr.load_image(write(tmp_path / "c", values, "block"))
    path.write_bytes(b"NRRD0004\ntype: short\n")
    with pytest.raises(sr.FormatError, match="empty line"):
        sr.load_image(path)
