"""One page of a run: tables, plots and images, and the tables as Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinray.recon.io.atomic import atomic
from spinray.recon.viewer import Series, page, resource, stage

from . import official, plots
from .protocol import Row
from .tabulate import (
    HEAD,
    Cell,
    Table,
    cells,
    html_table,
    markdown_table,
    with_interval,
)

Results = Mapping[str, Any]
IMAGES = 6_000_000  # bytes of all viewers of a page, which stays below 8 MB


def write_report(results: Results, folder: Path, images: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``report.html`` and ``report.md`` into a folder.

    Parameters
    ----------
    results
        What ``results.json`` holds.
    folder
        Where to.
    images
        Name of a scan to its images ``(slice, y, x)`` by name, the reference first.
    """
    texts = {"report.html": report(results, images), "report.md": markdown(results)}
    for name, text in texts.items():
        with atomic(folder / name) as temporary:
            temporary.write_text(text, "utf-8")


def report(results: Results, images: Mapping[str, Mapping[str, Any]]) -> str:
    """HTML of one page that holds everything: what each section shows, under its title."""
    sections: list[tuple[str, str]] = []
    for suite, rows in _suites(results):
        sections.append((suite, plots.ratios(rows) + html_table(HEAD, cells(rows))))
    for title, head, lines in _official_tables(results):
        sections.append((title, html_table(head, lines)))
    sections += _quality(results, images) + _scaling(results)
    links = " · ".join(
        f'<a href="#s{number}">{html.escape(title)}</a>'
        for number, (title, _) in enumerate(sections)
    )
    body = "".join(
        f'<h2 id="s{number}">{html.escape(title)}</h2>{text}'
        for number, (title, text) in enumerate(sections)
    )
    head = f"<h1>Spinray bench</h1><p>{html.escape(_about(results))}</p><nav>{links}</nav>"
    return page(
        "Spinray bench",
        f'<main class="report">{head}{body}</main>',
        styles=resource("report.css", __package__),
        scripts=resource("report.js", __package__),
    )


def markdown(results: Results) -> str:
    """The tables alone."""
    parts = ["# Spinray bench", _about(results)]
    for suite, rows in _suites(results):
        parts += [f"## {suite}", markdown_table(HEAD, cells(rows))]
    for title, head, lines in _official_tables(results):
        parts += [f"## {title}", markdown_table(head, lines)]
    for title, head, lines in _quality_tables(results):
        parts += [f"## {title}", TABLE_NOTE, markdown_table(head, lines)]
    for title, head, lines in _scaling_tables(results):
        parts += [f"## {title}", markdown_table(head, lines)]
    return "\n\n".join(parts) + "\n"


QUALITY_HEAD = ("method", "NRMSE", "PSNR, dB", "SSIM", "seconds", "remark")
TABLE_NOTE = (
    "Means over subjects with 95 % intervals (Student's t), inside the object. Null models see no "
    "data."
)
IMAGES_NOTE = "The first subject; figures under images are of the whole slice that is shown."


def _quality(results: Results, images: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each kind of scan, its table and its images; then the curves over noise."""
    tables = {title: html_table(head, lines) for title, head, lines in _quality_tables(results)}
    limit = IMAGES // max(len(images), 1)
    found = []
    for title in dict.fromkeys((*tables, *images)):
        text = f"<p>{html.escape(TABLE_NOTE)}</p>{tables[title]}" if title in tables else ""
        if title in images:
            series = [Series(name, np.asarray(x)) for name, x in images[title].items()]
            own_units = not title.startswith("CT")  # CT's are 1/mm for all
            text += f"<p>{IMAGES_NOTE}</p>" + stage(series, fit_scale=own_units, limit=limit)
        found.append((title, text))
    curves = results.get("quality", {}).get("curves", [])
    for modality, noise in (("mri", "SNR"), ("ct", "photons a ray")):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in curves:
            if row["modality"] == modality and row["status"] == "ok":
                lines.setdefault(row["method"], []).append((row["noise"], row["nrmse"]["mean"]))
        if lines:
            title = f"Robustness to noise, {modality}"
            found.append((title, plots.lines(title, noise, "NRMSE", lines)))
    return found


def _quality_tables(results: Results) -> Iterator[Table]:
    """A table for every kind of scan: means with their 95 % intervals, best first, refusals last."""
    rows = results.get("quality", {}).get("table", [])
    for scan in dict.fromkeys(row["scan"] for row in rows):
        own = [row for row in rows if row["scan"] == scan]
        own.sort(key=lambda row: row["nrmse"]["mean"] if row["status"] == "ok" else float("inf"))
        yield scan, QUALITY_HEAD, [_quality_line(row) for row in own]


def _quality_line(row: Row) -> list[Cell]:
    if row["status"] != "ok":
        return [Cell(row["method"]), Cell(row["status"], span=len(QUALITY_HEAD) - 1)]
    cells_of = [
        with_interval(row[key], digits) for key, digits in (("nrmse", 4), ("psnr", 2), ("ssim", 4))
    ]
    seconds = row.get("seconds")
    time = Cell("") if seconds is None else Cell(f"{seconds:.3g}", seconds)
    remark = "no better than a null model" if row.get("no better than a null") else ""
    return [Cell(row["method"]), *cells_of, time, Cell(remark)]


def _official_tables(results: Results) -> Iterator[Table]:
    for name, rows in results.get("official", {}).items():
        yield from official.tables(name, rows)


SCALING_HEAD = ("work", "grows with", "sizes", "ms", "power")


def _scaling(results: Results) -> list[tuple[str, str]]:
    tables = [(title, html_table(head, lines)) for title, head, lines in _scaling_tables(results)]
    text = ""
    for row in results.get("scaling", []):
        seconds = [time["seconds"] for time in row["times"]]
        curves = {"measured": seconds} | {
            name: row[name] for name in ("torch's FFT", "memory floor") if name in row
        }
        title = f"{row['work']}, power {row['exponent']:.2f}" if "exponent" in row else row["work"]
        text += plots.lines(title, row["of"], "ms", {
            name: [(x, 1e3 * t) for x, t in zip(row["sizes"], curve, strict=True)]
            for name, curve in curves.items()
        })  # fmt: skip
    return [(title, table + text) for title, table in tables]


def _scaling_tables(results: Results) -> Iterator[Table]:
    rows = results.get("scaling", [])
    if not rows:
        return
    yield "scaling", SCALING_HEAD, [
        [
            Cell(row["work"]), Cell(row["of"]), Cell(", ".join(f"{n:g}" for n in row["sizes"])),
            Cell(", ".join(f"{1e3 * time['seconds']:.3g}" for time in row["times"])),
            Cell(f"{row['exponent']:.2f}", row["exponent"]) if "exponent" in row else Cell(""),
        ]
        for row in rows
    ]  # fmt: skip


def _suites(results: Results) -> Iterator[tuple[str, Sequence[Row]]]:
    rows: Sequence[Row] = results["rows"]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        yield suite, [row for row in rows if row["suite"] == suite]


def _about(results: Results) -> str:
    machine, seconds = results["machine"], results.get("seconds", {})
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    card = f", {machine['card']}" if "card" in machine else ""
    took = ", ".join(f"{part} {value:.0f} s" for part, value in seconds.items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads{card}; load "
        f"{machine['load at start']:.1f} at the start; commit {machine['commit'] or 'unknown'}; "
        f"Python {machine['python']}, {versions}." + f" Took: {took}." * bool(took)
    )
