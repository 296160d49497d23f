"""Plots as inline SVG, in the page's own colours."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from .protocol import OURS, Row

WIDTH, ROW = 720, 22
LETTER = 6.4  # of a label, at most
COLOURS = 12  # that report.css has: line0 to line11
Points = Sequence[tuple[float, float]]


def ratios(rows: Sequence[Row]) -> str:
    """Each job's times over Spinray's: one line a job, one mark a tool, logarithmic."""
    jobs: dict[str, list[tuple[str, float]]] = {}
    for name, group in grouped(rows).items():
        timed = {r["tool"]: r["seconds"] for r in group if r["status"] == "ok"}
        ours = min((t for tool, t in timed.items() if tool.startswith(OURS)), default=None)
        if ours:
            jobs[name] = [(tool, t / ours) for tool, t in timed.items()]
    if not jobs:
        return ""
    every = [ratio for marks in jobs.values() for _, ratio in marks]
    low, high = min(0.5, *every), max(2.0, *every) * 1.3
    tools = list(dict.fromkeys(tool for marks in jobs.values() for tool, _ in marks))

    left = min(LETTER * max(map(len, jobs)) + 16, 0.6 * WIDTH)

    def x(ratio: float) -> float:
        return left + (WIDTH - left - 20) * math.log(ratio / low) / math.log(high / low)

    height = ROW * (len(jobs) + 2)
    parts = [
        f'<line class="grid" x1="{x(v):.1f}" x2="{x(v):.1f}" y1="0" y2="{height - ROW}"/>'
        f'<text x="{x(v):.1f}" y="{height - 6}" text-anchor="middle">{v:g} x</text>'
        for v in _ticks(low, high)
    ]
    for i, (name, marks) in enumerate(jobs.items()):
        y = ROW * (i + 0.8)
        parts.append(
            f'<text x="{left - 10:.0f}" y="{y + 4}" text-anchor="end">{_text(name)}</text>'
        )
        parts += [
            f'<circle class="line{tools.index(tool) % COLOURS}" cx="{x(ratio):.1f}" cy="{y}" r="5">'
            f"<title>{_text(tool)}: {ratio:.2f} x</title></circle>"
            for tool, ratio in marks
        ]
    return (
        f'<figure class="plot"><figcaption>Time over Spinray\'s</figcaption><svg viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="times over Spinray\'s">{"".join(parts)}</svg>'
        f"{_legend(tools)}</figure>"
    )


def lines(title: str, x_name: str, y_name: str, curves: Mapping[str, Points]) -> str:
    """Curves over positive numbers, both axes logarithmic."""
    points = [p for curve in curves.values() for p in curve if p[0] > 0 and p[1] > 0]
    if not points:
        return ""
    height, left, bottom = 300, 70, 40
    (x0, x1), (y0, y1) = (_range([p[axis] for p in points]) for axis in (0, 1))

    def place(p: tuple[float, float]) -> tuple[float, float]:
        across = math.log(p[0] / x0) / math.log(x1 / x0)
        up = math.log(p[1] / y0) / math.log(y1 / y0)
        return left + across * (WIDTH - left - 20), (height - bottom) * (1 - up) + 5

    parts = []
    for value in _ticks(x0, x1):
        x, _ = place((value, y0))
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="5" y2="{height - bottom + 5}"/>'
            f'<text x="{x:.1f}" y="{height - 20}" text-anchor="middle">{value:g}</text>'
        )
    for value in _ticks(y0, y1):
        _, y = place((x0, value))
        parts.append(
            f'<line class="grid" x1="{left}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for i, curve in enumerate(curves.values()):
        path = " ".join("{:.1f},{:.1f}".format(*place(p)) for p in curve if p[0] > 0 and p[1] > 0)
        parts.append(f'<polyline class="line{i % COLOURS}" points="{path}"/>')
    label = f"{_text(y_name)} over {_text(x_name)}"
    return (
        f'<figure class="plot"><figcaption>{_text(title)}: {label}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}'
        f"</svg>{_legend(curves)}</figure>"
    )


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by what was done: the job and its facts."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        facts = [f"{name} {value:g}" for name, value in row["facts"].items()]
        found.setdefault(", ".join([row["job"], *facts]), []).append(row)
    return found


def _legend(names: Iterable[str]) -> str:
    marks = (
        f'<span><i class="line{i % COLOURS}"></i>{_text(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(marks)}</p>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low / 1.2, high * 1.2


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade, or 1 alone where there are many decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    return [v for d in decades for s in steps if low <= (v := s * 10.0**d) <= high]


def _text(words: str) -> str:
    return html.escape(words)
