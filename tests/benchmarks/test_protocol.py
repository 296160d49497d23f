"""What a measured row says, and what a missing or failing tool does to a task."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from spinray.benchmarks import protocol
from spinray.benchmarks.protocol import MissingError, Prepared, Task, measure, seconds_of


def prepared(call=lambda: 1.0, error=lambda out: abs(out - 1.25)) -> Prepared:
    return Prepared(call, error)


def missing() -> Prepared:
    raise MissingError("no program bart on the PATH")


def unfit() -> Prepared:
    raise RuntimeError("broken\nin two lines")


def task(**tools) -> Task:
    return Task("s", "job", tools, "difference", {"coils": 8}, per=2)


def test_every_tool_has_a_row_whatever_happens() -> None:
    rows = measure(
        task(spinray=prepared, bart=missing, other=unfit, late=lambda: prepared(lambda: 1 / 0)), 3
    )
    by = {row["tool"]: row for row in rows}
    assert by["spinray"]["status"] == "ok"
    assert by["spinray"]["error"] == 0.25
    assert by["spinray"]["facts"] == {"coils": 8}
    assert by["bart"]["status"] == "not installed: no program bart on the PATH"
    assert by["other"]["status"] == "failed: RuntimeError: broken in two lines"
    assert by["late"]["status"].startswith("failed: ZeroDivisionError")
    assert all("seconds" not in by[name] for name in ("bart", "other", "late"))


def test_a_long_complaint_ends_where_it_is_cut() -> None:
    short, long = (protocol.one_line(ValueError("no " * n)) for n in (10, 100))
    assert short == " ".join(["no"] * 10)
    assert len(long) == 200
    assert long.endswith("…")


def test_peers_are_chosen_by_name_and_ours_always_runs() -> None:
    tools = {"spinray": prepared, "spinray GPU": prepared, "astra line": prepared, "rtk": prepared}
    assert [r["tool"] for r in measure(task(**tools), 1, ["astra"])] == [
        "spinray", "spinray GPU", "astra line",
    ]  # fmt: skip
    assert len(measure(task(**tools), 1, [])) == 2
    assert "rtk" in [r["tool"] for r in measure(task(**tools), 1, ["RTK"])]


def test_times_are_of_a_unit_and_have_quartiles() -> None:
    took = iter([9.0, 1.0, 2.0, 3.0, 4.0])
    made = Prepared(lambda: 1.0, None, seconds=lambda out: next(took))
    (row,) = measure(task(spinray=lambda: made), 5)  # two units a call; 9 s end the rounds
    assert row["seconds"] == 4.5
    took = iter([1.0, 2.0, 3.0, 4.0, 0.2])
    (row,) = measure(task(spinray=lambda: made), 5)  # slow calls have three rounds
    figures = {"low": 0.75, "seconds": 1.0, "high": 1.25, "least": 0.5, "rounds": 3}
    assert {key: row[key] for key in figures} == figures


def test_a_call_is_timed_by_the_clock() -> None:
    assert 0.02 <= seconds_of(lambda: time.sleep(0.02)) < 1


def test_calls_are_interleaved_and_slow_ones_stop(monkeypatch) -> None:
    order: list[str] = []

    def clock(name: str, seconds: float):
        return lambda: order.append(name) or seconds

    times = protocol.interleaved({"a": clock("a", 0.1), "b": clock("b", 2.0)}, 5)
    assert "".join(order) == "abababaa"
    assert {name: len(t) for name, t in times.items()} == {"a": 5, "b": 3}


@pytest.mark.skipif(not protocol._COUNTERS.exists(), reason="needs Linux's counters")
def test_peak_memory_is_of_the_call_alone() -> None:
    def call() -> float:
        return float(np.ones(20_000_000, np.float64).sum()) * 0

    call()
    _, bytes_held = protocol.with_peak_memory(prepared(call))
    assert 150e6 < bytes_held < 200e6


def test_a_gpu_is_timed_by_its_events(monkeypatch) -> None:
    log: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            log.append("record")

        def synchronize(self) -> None:
            log.append("wait")

        def elapsed_time(self, end: Event) -> float:
            return 12.5  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert seconds_of(lambda: log.append("call"), gpu=True) == pytest.approx(0.0125)
    assert log == ["record", "call", "record", "wait"]
