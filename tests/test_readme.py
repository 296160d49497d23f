"""The figures in the README are those of the results on disk."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_nufft_table_is_that_of_the_results():
    table = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["nufft"]()
    assert table in (ROOT / "README.md").read_text()
