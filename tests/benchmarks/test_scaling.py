"""Fitted powers and floors."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from spinray.benchmarks import scaling


def test_the_fitted_power_is_found() -> None:
    sizes = np.array([1, 2, 4, 8])
    assert scaling.exponent(sizes, 0.1 * sizes**1.5) == pytest.approx(1.5)


def test_a_row_has_times_and_floors() -> None:
    axis = ("NUFFT adjoint", lambda matrix: scaling.nufft(2, matrix, 4000), "matrix", (), ())
    row = scaling.along(axis, (16, 32), 1e10, rounds=2)
    assert len(row["times"]) == len(row["memory floor"]) == len(row["torch's FFT"]) == 2
    assert row["memory floor"][1] > row["memory floor"][0] > 0
    assert np.isfinite(row["exponent"])


def test_the_fft_stands_beside_the_work() -> None:
    def work(size: int) -> scaling.Point:
        return scaling.Point(lambda: time.sleep(1e-3), 1000 * size, lambda: time.sleep(2e-2))

    row = scaling.along(("work", work, "size", (), ()), (1, 2), 1e6, rounds=2)
    assert row["memory floor"] == [1e-3, 2e-3]
    assert min(row["torch's FFT"]) > 0.02 > max(time["seconds"] for time in row["times"])


def test_bandwidth_is_that_of_memory() -> None:
    assert 1e8 < scaling.bandwidth(8) < 1e13


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    rows = list(scaling.threads(1))
    assert torch.get_num_threads() == before
    assert [row["of"] for row in rows] == ["threads", "threads"]
