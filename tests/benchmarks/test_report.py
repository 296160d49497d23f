"""The page of a run: what it holds, and what Chromium does with it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spinray.benchmarks import plots
from spinray.benchmarks.report import write_report
from spinray.benchmarks.tabulate import Cell, markdown_table

MACHINE = {
    "processor": "AMD <EPYC>", "cores": 2, "threads": 2, "load at start": 0.5, "python": "3.11",
    "versions": {"numpy": "2"}, "commit": "abc",
}  # fmt: skip


def row(tool: str, job: str, seconds: float, **changes):
    base = {
        "suite": "nufft", "job": job, "tool": tool, "facts": {"coils": 8}, "status": "ok",
        "seconds": seconds, "low": seconds, "high": seconds, "rounds": 3, "error": 1e-3,
        "error of": "relative l2", "memory": 4_000_000,
    }  # fmt: skip
    return base | changes


def every(**figure: float):
    return dict.fromkeys(("nrmse", "psnr", "ssim"), figure)


RESULTS = {
    "machine": MACHINE,
    "rows": [
        row("spinray", "forward", 0.002),
        row("ducc0", "forward", 0.010),
        {"suite": "nufft", "job": "forward", "tool": "bart", "facts": {"coils": 8},
         "status": "not installed: no program bart on the PATH", "error of": "relative l2"},
        row("spinray", "adjoint", 0.1),
    ],
    "quality": {
        "table": [
            {"scan": "MR, radial", "method": "grappa", "status": "no lattice"},
            {"scan": "MR, radial", "method": "bad", "status": "ok", "seconds": 2.0,
             "no better than a null": True, **every(mean=1)},
            {"scan": "MR, radial", "method": "sense", "status": "ok", "seconds": 0.5,
             **every(mean=0.1, low=0.05, high=0.15)},
        ],
        "curves": [
            {"modality": "ct", "noise": noise, "method": "fbp", "status": "ok",
             "nrmse": {"mean": 10 / noise}} for noise in (1e3, 1e4)
        ],
    },
    "scaling": [
        {"work": "NUFFT adjoint", "of": "coils", "sizes": [1, 2], "exponent": 0.9,
         "times": [{"seconds": 0.001}, {"seconds": 0.0019}], "memory floor": [1e-4, 2e-4]},
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    image = np.random.default_rng(0).random((1, 32, 32)).astype(np.float32)
    write_report(RESULTS, tmp_path, {"brain": {"reference": image, "sense": 2 * image}})
    return tmp_path


def test_the_page_stays_small(tmp_path) -> None:
    """Noise, which does not pack: 13 MB of it on two viewers."""
    noise = np.random.default_rng(0).random((2, 5, 5, 256, 256)).astype(np.float32)
    images = {
        f"scan {n}": {f"method {m}": x for m, x in enumerate(scan)} for n, scan in enumerate(noise)
    }
    write_report(RESULTS, tmp_path, images)
    assert 4e6 < (tmp_path / "report.html").stat().st_size < 8e6


def test_the_page_loads_nothing(folder) -> None:
    text = (folder / "report.html").read_text()
    assert "AMD &lt;EPYC&gt;" in text
    assert not re.search(r"(src|href)=[\"']?https?:", text)


def test_markdown_has_every_row(folder) -> None:
    text = (folder / "report.md").read_text()
    assert "| forward, coils 8 | ducc0 | 10 | 10 to 10 | 5.00 x | 1.00e-03 | 4.0 |" in text
    assert "| forward, coils 8 | bart | not installed: no program bart on the PATH |" in text


def test_quality_is_best_first_and_nulls_are_named(folder) -> None:
    lines = (folder / "report.md").read_text().split("## MR, radial")[1].splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")][2:5]
    assert rows == ["sense", "bad", "grappa"]
    text = (folder / "report.md").read_text()
    assert "| sense | 0.1000 (0.0500 to 0.1500) |" in text
    assert "| no better than a null model |" in text
    assert "| NUFFT adjoint | coils | 1, 2 | 1, 1.9 | 0.90 |" in text
    page = (folder / "report.html").read_text()
    assert "inside the object" in text
    assert "of the whole slice that is shown" in page
    assert "Robustness to noise, ct: NRMSE over photons a ray" in page
    assert "NUFFT adjoint, power 0.90: ms over coils" in page


def test_cells_are_text() -> None:
    assert Cell("<b>", 2.5, span=3).html == '<td data-value="2.5" colspan="3">&lt;b&gt;</td>'
    assert markdown_table(["a|b"], [[Cell("x|y")]]).splitlines()[2] == "| x\\|y |"


def test_marks_stand_at_their_ratios() -> None:
    svg = plots.ratios(RESULTS["rows"])
    assert svg.count("<circle") == 3
    assert "ducc0: 5.00 x" in svg
    assert svg.count("<svg") == svg.count("</svg>") == 1
    assert plots.ratios([RESULTS["rows"][2]]) == ""


def test_tables_sort_and_the_viewer_opens(browser, folder) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.set_window_size(1200, 900)
    browser.get_log("browser")
    browser.get((folder / "report.html").as_uri())
    column = "return [...document.querySelector('tbody').rows].map(r => r.cells[2].textContent)"
    heads = browser.find_elements("css selector", "th button")
    heads[2].click()
    assert browser.execute_script(column)[:3] == ["2", "10", "100"]
    heads[2].click()
    assert browser.execute_script(column)[:3] == ["100", "10", "2"]
    assert browser.execute_script(column)[3].startswith("not installed")  # always last
    heads[1].click()
    tools = "return [...document.querySelector('tbody').rows].map(r => r.cells[1].textContent)"
    assert browser.execute_script(tools) == ["bart", "ducc0", "spinray", "spinray"]
    state = "return document.querySelector('.viewer').dataset.fitted"
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(state))
    assert browser.execute_script(state) == "true"
    captions = [c.text for c in browser.find_elements("css selector", "figcaption span")]
    assert "× 0.5 · NRMSE 0.000" in captions  # twice the reference, its scale fitted
    complaints = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not complaints
