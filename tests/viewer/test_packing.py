"""What a page holds is what was given, to the bits that it says."""

from __future__ import annotations

import base64
import gzip
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spinray as sr
from spinray.recon.viewer import Series, series_of, stage, viewer_page


def decoded(packed: dict) -> np.ndarray:
    """As `viewer.js` does it, in other words."""
    planes = np.frombuffer(gzip.decompress(base64.b64decode(packed["data"])), np.uint8)
    high, low = planes.astype(np.int64).reshape(2, *packed["shape"])
    codes = np.cumsum(256 * high + low, axis=-1) % 2**16
    return packed["low"] + packed["step"] * codes


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(
    slices=st.integers(1, 3), height=st.integers(1, 7), width=st.integers(1, 9),
    bits=st.sampled_from([8, 12, 16]), scale=st.sampled_from([1e-6, 1.0, 1e5]),
)  # fmt: skip
def test_values_survive_to_half_a_step(slices, height, width, bits, scale) -> None:
    values = scale * noise(slices, height, width)
    packed = Series("a", values).packed(bits)
    step = (values.max() - values.min()) / (2**bits - 1) or 1.0
    assert np.abs(decoded(packed) - values).max() <= 0.51 * step + 1e-6 * scale


def test_an_image_gives_its_magnitude_slice_by_slice() -> None:
    data = torch.from_numpy(noise(2, 3, 8, 6) + 1j * noise(2, 3, 8, 6, seed=1))
    series = series_of(sr.Image(data, (3.0, 1.0, 2.0)), "x")
    assert series.values.shape == (6, 8, 6)
    assert series.spacing == (1.0, 2.0)
    assert np.allclose(series.values[4], data[1, 1].abs())


def held(page: str) -> dict:
    return json.loads(re.search(r'application/json">(.*?)</script>', page, re.S)[1])


def test_too_much_is_rounded_then_thinned_and_said() -> None:
    series = [Series("a", noise(16, 64, 64))]
    assert held(stage(series))["note"] == ""
    rounded = held(stage(series, limit=120_000))
    assert rounded["note"] == "values rounded to 10 bits"
    thinned = held(stage(series, limit=30_000))
    assert thinned["note"] == "values rounded to 8 bits, one slice of 4"
    assert thinned["series"][0]["shape"] == [4, 64, 64]
    assert np.allclose(decoded(thinned["series"][0]), series[0].values[::4], atol=0.03)
    with pytest.raises(ValueError, match="do not fit"):
        stage(series, limit=100)


def test_bad_series_are_named() -> None:
    with pytest.raises(ValueError, match=r"flat: values must be \(slice, y, x\).*\(4, 4\)"):
        Series("flat", noise(4, 4))
    with pytest.raises(ValueError, match="nothing to show"):
        stage([])


def test_a_page_loads_nothing_and_escapes_names() -> None:
    name = "</script><img src=x>"
    page = viewer_page([Series(name, noise(1, 4, 4))])
    assert name not in page
    assert held(page)["series"][0]["name"] == name
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)


def test_values_that_are_not_finite_are_told() -> None:
    values = noise(1, 4, 4)
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    found = held(stage([Series("a", noise(1, 4, 4)), Series("b", values)]))
    assert found["note"] == "3 values of b that are not finite as 0"
    assert np.abs(decoded(found["series"][1])[0, 0, :3]).max() < 1e-3
