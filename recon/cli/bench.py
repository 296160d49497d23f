"""``spinray bench``: speed, memory and errors of Spinray and of the peers that are installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

SUITES = ("nufft", "ct", "mri", "models", "diffusion", "quality", "scaling")


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(SUITES)} or all.", show_default="all"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller work: minutes.")] = False,
    peers: Annotated[
        str | None,
        typer.Option(
            help="Peers to run, with commas, by the beginnings of their names; '' runs none.",
            show_default="all that are installed",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for results.json, report.html, report.md."),
    ] = Path("bench"),
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="OLD NEW",
            help="Measure nothing: which jobs of NEW are slower than "
            "in OLD? Exit code 1 if there are any.",
        ),
    ] = None,
) -> None:
    """Measure Spinray beside its peers and draw one page.

    Example: [bold]spinray bench nufft ct --quick --output bench[/bold]
    """
    if compare is not None:
        _compare(*compare)
        return
    chosen = SUITES if not suites or "all" in suites else tuple(suites)
    for name in chosen:
        if name not in SUITES:
            raise ValueError(f"unknown suite {name!r}: there are {', '.join(SUITES)} and all")
    output.mkdir(parents=True, exist_ok=True)
    from ...benchmarks.run import run

    names = None if peers is None else [name.strip() for name in peers.split(",") if name.strip()]
    typer.echo(run(chosen, output, quick=quick, peers=names), err=True)


def _compare(old: Path, new: Path) -> None:
    from ...benchmarks.compare import compare

    changes, drift = compare(_read(old), _read(new))
    typer.echo(f"the machine: peers take {drift:.2f} times as long")
    for change in changes:
        typer.echo(str(change))
    bad = sum(change.verdict in ("slower", "less accurate") for change in changes)
    typer.echo(f"{len(changes)} jobs, {bad} slower or less accurate")
    if bad:
        raise typer.Exit(1)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is no JSON ({error})") from error
    return found
