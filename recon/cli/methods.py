"""``spinray methods``: what there is to choose from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method, or mri or ct; everything without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List the reconstruction methods with their options.

    Example: [bold]spinray methods l1-wavelet[/bold]
    """
    from ..pipelines.registry import methods as registered

    listed = list(registered(name if name in ("mri", "ct") else None))
    if name not in (None, "mri", "ct"):
        listed = [m for m in listed if m.name == name]
        if not listed:
            names = ", ".join(m.name for m in registered())
            raise ValueError(f"unknown method {name!r}: there are {names}")
    if as_json:
        rows = [
            {
                "name": m.name,
                "modality": m.modality,
                "summary": m.summary,
                "options": [{**asdict(o), "kind": o.kind.__name__} for o in m.options],
            }
            for m in listed
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for m in listed:
        typer.echo(m)
