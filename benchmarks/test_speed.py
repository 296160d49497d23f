"""The suites' quick tasks under pytest-benchmark, with its statistics and its JSON.

pytest benchmarks/test_speed.py --benchmark-enable --benchmark-only -k "nufft and spinray"
"""

from __future__ import annotations

import pytest

from spinray.benchmarks.protocol import Task, first_calls
from spinray.benchmarks.suites import SPEED, tasks

CASES = [
    (task, tool)
    for suite in SPEED
    if suite != "small"  # jobs of the others
    for task in tasks(suite, quick=True)
    for tool in task.tools
]


@pytest.mark.parametrize(("task", "tool"), CASES, ids=[f"{task}, {tool}" for task, tool in CASES])
def test_speed(benchmark, task: Task, tool: str) -> None:
    try:
        prepared = task.tools[tool]()
    except ImportError as missing:
        pytest.skip(f"not installed: {missing}")
    benchmark.group = str(task)
    facts = {**task.facts, "error of": task.error_name, "per": task.per}
    benchmark.extra_info.update(facts | first_calls(prepared))
    benchmark(prepared.call)
