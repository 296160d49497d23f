"""The figures in the README are those of the results on disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spinray.benchmarks import sentences, tables

README = (Path(__file__).parents[1] / "README.md").read_text()
MEASURED = README.split("## Measured")[1].split("\nEngineers start")[0]
TABLE = re.compile(r"(?:^\|.*\n)+", re.M)
FIGURE = re.compile(r"\d\.\d|\d %|\d (?:dB|HU|ms|s|MB|GB)\b")


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.__name__)
def test_tables_are_those_of_the_results(table) -> None:
    assert table() in README


@pytest.mark.parametrize("table", tables.LEARNED, ids=lambda table: table.__name__)
def test_tables_of_networks_are_those_of_the_results(table) -> None:
    assert table() in (Path(__file__).parents[1] / "experiments" / "RESULTS.md").read_text()


@pytest.mark.parametrize("sentence", sentences.SENTENCES, ids=lambda make: make.__name__)
def test_sentences_are_those_of_the_results(sentence) -> None:
    """Wherever README breaks its lines."""
    assert sentence() in " ".join(README.split())


def test_every_measured_table_is_made_from_results() -> None:
    """A table that somebody typed into the section of measurements is none of these."""
    bodies = ["\n".join(block.strip().splitlines()[2:]) for block in TABLE.findall(MEASURED)]
    assert len(bodies) >= 3
    made = [table() for table in tables.TABLES]
    assert all(body in made for body in bodies)


def test_every_measured_sentence_is_made_from_results() -> None:
    """What is left without them has no figure."""
    left = " ".join(TABLE.sub("", MEASURED).split())
    for sentence in sentences.SENTENCES:
        left = left.replace(sentence(), "")
    assert not FIGURE.findall(left), left


RESULTS = sorted(tables.RESULTS.glob("*.json"))


def test_make_bench_writes_all_results() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    modules = " ".join(re.findall(r"^(?:SUITES|STUDIES) +:= (.*)$", makefile, re.M)).split()
    assert {path.stem for path in RESULTS} <= set(modules)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_name_their_machine_and_commit(path: Path) -> None:
    """Of the file, or of each of its jobs."""
    found = tables.results(path.stem)
    machines = [found["machine"]] if "machine" in found else [
        part["machine"] for part in found.values()
    ]  # fmt: skip
    assert machines
    for machine in machines:
        assert machine["processor"]
        assert machine["cores"]
        assert machine["versions"]["torch"]
        assert machine["commit"]
