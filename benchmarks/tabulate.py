"""Results as tables: the same cells for the page and for Markdown."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .plots import grouped
from .protocol import OURS, Row


@dataclass(frozen=True)
class Cell:
    """What is shown, the number that columns are sorted by, over how many columns."""

    text: str
    value: float | None = None
    span: int = 1

    @property
    def html(self) -> str:
        order = "" if self.value is None else f' data-value="{self.value:.9g}"'
        span = "" if self.span == 1 else f' colspan="{self.span}"'
        return f"<td{order}{span}>{html.escape(self.text)}</td>"


Table = tuple[str, Sequence[str], list[list[Cell]]]  # title, heads of columns, lines
HEAD = ("job", "tool", "ms", "quartiles", "over Spinray", "error", "memory, MB", "error of")


def cells(rows: Sequence[Row]) -> list[list[Cell]]:
    """A line of cells for every row; `HEAD` names them."""
    found = []
    for job, group in grouped(rows).items():
        ours = [r["seconds"] for r in group if r["status"] == "ok" and r["tool"].startswith(OURS)]
        for row in group:
            first = [Cell(job), Cell(row["tool"])]
            if row["status"] != "ok":
                rest = [Cell(row["status"], span=len(HEAD) - 2)]
            else:
                t, low, high = (1e3 * row[k] for k in ("seconds", "low", "high"))
                ratio = row["seconds"] / min(ours) if ours else None
                memory, error = row["memory"], row["error"]
                rest = [
                    Cell(f"{t:.4g}", t),
                    Cell(f"{low:.4g} to {high:.4g}", high - low),
                    Cell("" if ratio is None else f"{ratio:.2f} x", ratio),
                    Cell("" if error is None else f"{error:.2e}", error),
                    Cell("" if memory is None else f"{memory / 1e6:.1f}", memory),
                    Cell(row["error of"]),
                ]
            found.append([*first, *rest])
    return found


def with_interval(figure: Mapping[str, float], digits: int) -> Cell:
    """A mean, and the ends of its interval where it has one."""
    text = f"{figure['mean']:.{digits}f}"
    if "low" in figure:
        text += f" ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"
    return Cell(text, figure["mean"])


def html_table(head: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    """A table that `report.js` sorts by the column that is clicked."""
    titles = "".join(
        f'<th scope="col"><button type="button">{html.escape(name)}</button></th>' for name in head
    )
    body = "".join(f"<tr>{''.join(cell.html for cell in line)}</tr>" for line in lines)
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    """For papers and READMEs."""
    texts = ([t for c in line for t in (c.text, *[""] * (c.span - 1))] for line in lines)
    every = [list(head), ["---"] * len(head), *texts]
    return "\n".join(
        "| " + " | ".join(t.replace("|", "\\|") for t in line) + " |" for line in every
    )
