"""The code of the documentation's pages runs, in order, as a reader would paste it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib
import pytest

CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = [
    page
    for page in sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
    if CODE.search(page.read_text())
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # what is shown is done right
        for block in CODE.findall(page.read_text()):
            exec(compile(block, str(page), "exec"), names)
