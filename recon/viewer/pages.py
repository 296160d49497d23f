"""Pages that hold everything they need: styles, scripts, data."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files

from .embedding import stage
from .series import Series

# Whatever a page holds, a browser lets it load nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def resource(name: str, package: str = __package__) -> str:
    """Text of a file that comes with a package."""
    return files(package).joinpath(name).read_text("utf-8")


def page(title: str, body: str, *, styles: str = "", scripts: str = "") -> str:
    """One HTML file around a body that may hold viewers; `title` is escaped, the rest is not."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(title)}</title>
<style>
{resource("viewer.css")}{styles}</style>
</head>
<body>
{body}
<script>
{resource("viewer.js")}{scripts}</script>
</body>
</html>
"""


def viewer_page(series: Sequence[Series]) -> str:
    """A page with one viewer; its first series is the reference."""
    title = ", ".join(s.name for s in series)
    return page(title, f"<main>{stage(series, focus=True)}</main>")
