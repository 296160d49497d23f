"""Each peer's adapter beside Spinray's, and every suite where no peer is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch

from spinray.benchmarks import ct, mri_speed, network_speed, nufft, reading, server
from spinray.benchmarks.protocol import Task, measure, seconds_of

# what Spinray does not need itself: modules, and the program bart
PEERS = (
    "ducc0", "finufft", "cufinufft", "torchkbnufft", "mrinufft", "mrpro", "astra", "itk", "jax",
    "mbirjax", "leapctype", "tomopy", "deepinv", "pygrappa", "fastmri",
)  # fmt: skip


def row_of(task: Task, tool: str):
    """Of one tool, or a skip that says what is missing."""
    rows = {row["tool"]: row for row in measure(task, 1, [tool])}
    if rows[tool]["status"].startswith("not installed"):
        pytest.skip(rows[tool]["status"])
    assert rows[tool]["status"] == "ok", rows[tool]
    return rows[tool]


@pytest.mark.peer
@pytest.mark.parametrize("way", [0, 1], ids=["forward", "adjoint"])
@pytest.mark.parametrize("tool", list(nufft.PEERS))
def test_nufft(tool: str, way: int) -> None:
    task = list(nufft.transforms("2D", nufft.radial(24, 64), (32, 32), 2, 1e-3, (tool,)))[way]
    assert row_of(task, tool)["error"] < 0.06


@pytest.mark.peer
@pytest.mark.parametrize("way", ["forward", "back"])
@pytest.mark.parametrize("tool", ["leap", "deepinv", "mbirjax", "astra line"])
def test_parallel_beams(tool: str, way: str) -> None:
    """Errors are those of this sampling: Spinray's own is 1.2e-2."""
    for task in ct.planar("parallel", 64):
        if tool in task.tools and way in task.name:
            assert row_of(task, tool)["error"] < (0.06 if way == "forward" else 1e-3)


@pytest.mark.peer
@pytest.mark.parametrize("tool", ["leap", "rtk joseph"])
def test_cones(tool: str) -> None:
    forward, back, *_ = ct.cones(24)
    assert row_of(forward, tool)["error"] < 0.03
    assert row_of(back, tool)["error"] < 1e-3


@pytest.mark.peer
@pytest.mark.parametrize("tool", ["tomopy", "astra", "scikit-image"])
def test_filtered_back_projection(tool: str) -> None:
    assert row_of(ct.filtered_back_projection(64), tool)["error"] < 0.2


class Blind:
    """A finder of modules that sees no peer."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        hidden = name.partition(".")[0] in PEERS
        return None if hidden else self.finder.find_spec(name, path, target)


@pytest.fixture
def nothing_installed(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in PEERS]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Blind(finder) for finder in sys.meta_path])
    monkeypatch.setenv("PATH", "")


def small() -> Iterator[Task]:
    yield from nufft.transforms("2D", nufft.radial(24, 64), (32, 32), 2, 1e-3, tuple(nufft.PEERS))
    yield nufft.normal()
    yield nufft.conjugate_gradients()
    yield from nufft.frames(4)
    for name in ct.FIELDS:
        yield from ct.planar(name, 32)
    yield ct.filtered_back_projection(32)
    yield from ct.cones(16)
    yield from mri_speed.tasks(n=64)
    yield from network_speed.models(quick=True)


OWN = ("sigpy", "scikit-image", "torch FFT Toeplitz", "plain backpropagation")  # always there


def test_no_suite_fails_where_every_peer_is_missing(nothing_installed, monkeypatch) -> None:
    monkeypatch.setattr(nufft.ConjugateGradients, "ITERATIONS", 2)
    seen = set()
    for task in small():
        for row in measure(task, 1):
            if row["tool"].startswith("spinray") or row["tool"] in OWN:
                assert row["status"] == "ok", row
            else:
                assert row["status"].startswith("not installed"), row
                seen.add(row["tool"])
    assert seen >= {
        "bart", "ducc0", "finufft", "mrpro", "astra line", "leap", "deepinv", "mbirjax", "tomopy",
        "rtk joseph", "pygrappa", "fastmri",
    }  # fmt: skip


def test_server_and_reading() -> None:
    for task in (*server.tasks(quick=True), *reading.tasks(quick=True)):
        for row in measure(task, 1):
            assert row["status"] == "ok", row
            assert row["error"] is None or row["error"] < 1e-5
            assert 0 < row["seconds"] < 60


class Card:
    """Stands for torch.cuda where there is none: tensors stay, events count."""

    def __init__(self, monkeypatch) -> None:
        self.log: list[str] = []
        card = self

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                pass

            def record(self) -> None:
                card.log.append("record")

            def synchronize(self) -> None:
                card.log.append("wait")

            def elapsed_time(self, end: Event) -> float:
                return 2.5

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 1000)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 4000)
        monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
        monkeypatch.setattr(torch.nn.Module, "cuda", lambda module: module)


def test_gpu_rows_are_timed_by_events_after_warm_up(monkeypatch) -> None:
    """The code of a card's rows, run on tensors that stay: their errors are those of the CPU."""
    card = Card(monkeypatch)
    tasks = [
        *nufft.transforms("2D", nufft.radial(24, 64), (32, 32), 2, 1e-3, ()),
        next(ct.planar("parallel", 32)), *list(ct.cones(16))[:2],
        *network_speed.models(quick=True), *network_speed.diffusion(quick=True),
    ]  # fmt: skip
    found = 0
    for task in tasks:
        card.log.clear()
        rows = {row["tool"]: row for row in measure(task, 2, [])}
        if "spinray GPU" not in rows:
            continue
        found += 1
        row = rows["spinray GPU"]
        assert row["status"] == "ok", row
        assert row["seconds"] * task.per == pytest.approx(0.0025)
        assert row["memory"] == 3000
        assert row["error"] == pytest.approx(rows["spinray"]["error"], rel=0.3, abs=1e-6)
        assert card.log == ["record", "record", "wait"] * 2
    assert found == 2 + 1 + 2 + 1 + 4


def test_the_time_may_be_a_part_of_the_call() -> None:
    assert seconds_of(cache(lambda: {"latency": 0.25}), found=lambda out: out["latency"]) == 0.25
