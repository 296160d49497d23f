"""``spinray view``: images side by side in the browser."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer


def view(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Results: .nii, .nii.gz, .dcm, .nrrd, .h5, .npy, .png. The first is the reference."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write this HTML file and open no browser."),
    ] = None,
) -> None:
    """Compare images: one HTML page with zoom, window, slices, differences from a reference.

    The page holds the images and needs no network.

    Example: [bold]spinray view truth.nii.gz sense.nii.gz l1.nii.gz[/bold]
    """
    from ..io import load_image
    from ..io.atomic import atomic, require_writable
    from ..viewer import series_of, viewer_page

    if output is not None:
        if output.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{output}: the page is HTML, expected a name that ends in .html")
        require_writable(output)
    text = viewer_page([series_of(load_image(path), path.name) for path in images])
    path = output or _temporary()
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
    typer.echo(f"{path}: {len(text) / 1e6:.3g} MB", err=True)
    if output is None and not webbrowser.open(path.as_uri()):
        typer.echo("no browser found here: open that file in one", err=True)


def _temporary() -> Path:
    """A page of its own for each call: an open one is not replaced."""
    handle, name = tempfile.mkstemp(prefix="spinray-", suffix=".html")
    os.close(handle)
    return Path(name)
