"""The figures in the README's tables are those of the results on disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spinray.benchmarks import tables

README = (Path(__file__).parents[1] / "README.md").read_text()
TABLE = re.compile(r"(?:^\|.*\n)+", re.M)


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.__name__)
def test_tables_are_those_of_the_results(table) -> None:
    assert table() in README


@pytest.mark.parametrize("sentence", tables.SENTENCES, ids=lambda sentence: sentence.__name__)
def test_sentences_are_those_of_the_results(sentence) -> None:
    """Wherever README breaks its lines."""
    assert sentence() in " ".join(README.split())


def test_every_measured_table_is_made_from_results() -> None:
    """A table that somebody typed into the section of measurements is none of these."""
    section = README.split("## Measured")[1].split("\n## ")[0]
    bodies = ["\n".join(block.strip().splitlines()[2:]) for block in TABLE.findall(section)]
    assert len(bodies) >= 3
    made = [table() for table in tables.TABLES]
    assert all(body in made for body in bodies)
