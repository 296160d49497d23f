"""Our reading of MATLAB's version 5 against SciPy's writing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import io

import spinray as sr
from spinray.recon.io.errors import FormatError
from spinray.recon.io.matlab_v5 import read_variable, variables

DTYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "c8", "c16")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    dtype=st.sampled_from(DTYPES),
    packed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_numbers_as_scipy_writes_them(tmp_path_factory, shape, dtype, packed, seed):
    rng = np.random.default_rng(seed)
    array = rng.normal(0, 50, shape).astype(np.dtype(dtype).type(0).real.dtype).astype(dtype)
    if np.dtype(dtype).kind == "c":
        array = (array + 1j * rng.normal(size=shape)).astype(dtype)
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    io.savemat(path, {"before": "text", "k": array, "after": 1.0}, do_compression=packed)
    known = {v.name: v for v in variables(path)}
    assert known["k"].shape == array.shape
    assert (known["k"].is_numeric, known["before"].is_numeric) == (True, False)
    found = read_variable(path, "k")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("packed", [False, True])
def test_structures(tmp_path, packed):
    inner = {"angles": np.arange(5.0), "name": "scan", "empty": np.zeros((0, 0))}
    items = np.zeros(2, [("p", object), ("x", object)])
    for i in range(2):
        items[i] = (inner, np.full((2, 3), i, np.uint8))
    path = tmp_path / "a.mat"
    io.savemat(path, {"s": items, "cell": np.array([1, "a"], object)}, do_compression=packed)
    assert [v.is_structure for v in variables(path)] == [True, False]
    first, second = read_variable(path, "s")
    assert np.array_equal(second["x"], np.ones((2, 3)))
    assert np.array_equal(first["p"][0]["angles"], np.arange(5.0)[None])
    assert first["p"][0]["name"] is None
    assert read_variable(path, "cell") is None
    with pytest.raises(FormatError, match="no such variable"):
        read_variable(path, "t")


def test_big_endian(tmp_path):
    """A 1 x 2 array of doubles stored as bytes, from a machine of the other order."""

    def element(kind: int, content: bytes) -> bytes:
        padding = -len(content) % 8
        return np.array([kind, len(content)], ">u4").tobytes() + content + bytes(padding)

    body = element(6, np.array([6, 0], ">u4").tobytes())
    body += element(5, np.array([1, 2], ">i4").tobytes()) + element(1, b"kspace")
    body += np.array([2 << 16 | 2], ">u4").tobytes() + bytes([7, 9, 0, 0])  # a small element
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, body))
    found = read_variable(path, "kspace")
    assert found.dtype == np.float64
    assert found.tolist() == [[7.0, 9.0]]
    assert sr.load(path).kspace.shape == (1, 2, 1)
