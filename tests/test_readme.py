"""The figures in the README are those of the results on disk."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["nufft", "ct"])
def test_tables_are_those_of_the_results(name):
    table = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))[name]()
    assert table in (ROOT / "README.md").read_text()
