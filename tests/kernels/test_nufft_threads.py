"""Concurrent callers, forked workers, thread counts, cold and warm starts."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spinray.kernels import threads
from spinray.kernels.nufft import Plan
from spinray.kernels.nufft import plan as plan_module

RNG = np.random.default_rng(0)
K = RNG.uniform(-0.5, 0.5, (3000, 2))
X = (RNG.standard_normal((8, 32, 32)) + 1j * RNG.standard_normal((8, 32, 32))).astype("complex64")
FIRST_CALL = """
import time; start, cpu = time.perf_counter(), time.process_time()
import numpy as np
from spinray.kernels.nufft import Plan
k = np.random.default_rng(0).uniform(-0.5, 0.5, (3000, 2))
plan = Plan(k, (32, 32))
y = plan.forward(np.ones((8, 32, 32), np.complex64))
plan.adjoint(y)
import sys
print(time.perf_counter() - start, time.process_time() - cpu, "torch" in sys.modules)
"""


def test_concurrent_callers_of_one_plan() -> None:
    plan = Plan(K, (32, 32))
    images = [X * (i + 1) for i in range(8)]
    expected = [plan.adjoint(plan.forward(x)) for x in images]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            results = list(pool.map(lambda x: plan.adjoint(plan.forward(x)), images))
            assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


def test_callers_beside_torch_threads() -> None:
    plan, tensor = Plan(K, (32, 32)), torch.randn(300, 300)
    expected = plan.forward(X)

    def work(i: int) -> bool:
        _ = tensor @ tensor
        return np.array_equal(plan.forward(X), expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))


def _in_child(queue: multiprocessing.Queue, expected: np.ndarray) -> None:
    queue.put(np.array_equal(Plan(K, (32, 32)).forward(X), expected))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_workers_after_a_parallel_call() -> None:
    expected = Plan(K, (32, 32)).forward(X)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_in_child, args=(queue, expected)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [True, True]
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0


def _locked_normal(queue: multiprocessing.Queue) -> None:
    queue.put(float(np.abs(Plan(K, (32, 32)).normal(X)).max()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("owner", [(threads, "_one_caller"), (plan_module, "_building")])
def test_a_fork_leaves_no_lock_closed(monkeypatch: pytest.MonkeyPatch, owner: Any) -> None:
    expected = float(np.abs(Plan(K, (32, 32)).normal(X)).max())
    monkeypatch.setattr(threads, "_layer_is_reentrant", lambda: False)
    monkeypatch.setattr(Plan, "_convolves", lambda plan: True)
    lock, taken, done = getattr(*owner), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait()

    other = threading.Thread(target=hold)
    other.start()
    taken.wait()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_locked_normal, args=(queue,), daemon=True)
    try:
        worker.start()
        assert queue.get(timeout=20) == pytest.approx(expected, rel=1e-3)
    finally:
        done.set()
        other.join()
        worker.kill()
        worker.join()


def test_thread_count_follows_torch() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert threads.thread_count() == 1
        start, wall = time.process_time(), time.perf_counter()
        plan = Plan(K, (32, 32))
        for _ in range(50):
            plan.forward(X)
        assert time.process_time() - start < 1.3 * (time.perf_counter() - wall) + 0.05
    finally:
        torch.set_num_threads(before)


def test_result_memory_is_not_handed_out_twice() -> None:
    plan = Plan(K, (32, 32))
    kept = [plan.forward(X * i) for i in range(6)]
    assert len({y.ctypes.data for y in kept}) == 6
    first = plan.forward(X)[2, 5:9]  # a view alone keeps the memory
    copy = first.copy()
    for _ in range(5):
        plan.forward(X * 7)
    assert np.array_equal(first, copy)
    tensor = plan.forward(torch.from_numpy(X))[0]
    copy = tensor.clone()
    for _ in range(5):
        plan.forward(X * 7)
    assert torch.equal(tensor, copy)


def test_cold_and_warm_start(tmp_path: Path) -> None:
    """Cold, it compiles and says so; warm, it is at work in a second, silent, torch untouched.

    A quiet core of 2.5 GHz compiles for 25 s; the limits leave room for one that others slow down.
    """
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", FIRST_CALL],
            env=environment, capture_output=True, text=True, check=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    # what others do on the machine must not count, so far as that can be told: processor time
    cold, *warm = (min(map(float, run.stdout.split()[:2])) for run in runs)
    assert runs[0].stderr.count("compiling") == 1
    assert runs[1].stderr == ""
    assert runs[1].stdout.split()[2] == "False"
    assert cold < 60
    assert min(warm) < 3
