"""``spinray bench``: speed, memory and errors of Spinray and of the peers that are installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

SUITES = (
    "nufft", "ct", "mri", "models", "diffusion", "gpu", "server", "reading", "quality", "scaling",
)  # fmt: skip
SMALL = "small"  # a few of the jobs, for --compare: not a part of all


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(SUITES)}, {SMALL} or all.", show_default="all"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller work: minutes.")] = False,
    peers: Annotated[
        str | None,
        typer.Option(
            help="Peers to run, with commas, by the beginnings of their names; '' runs none.",
            show_default="all that are installed",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="fastmri or lodopab, in --path: its official protocol beside published figures. "
            "No suites run then but those named."
        ),
    ] = None,
    path: Annotated[Path | None, typer.Option(help="Folder of --dataset.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Of --dataset, with commas.", show_default="the usual")
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for results.json, report.html, report.md."),
    ] = Path("bench"),
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="OLD NEW",
            help="Measure nothing: which jobs of NEW are slower than in OLD (results.json or its "
            "folder; OLD may be the file of benchmarks.ratios)? Exit code 1 if there are any.",
        ),
    ] = None,
) -> None:
    """Measure Spinray beside its peers and draw one page.

    Example: [bold]spinray bench nufft ct --quick --output bench[/bold]
    """
    if compare is not None:
        _compare(*compare)
        return
    chosen = _chosen(suites, dataset)
    if (dataset is None) != (path is None):
        raise ValueError("--dataset and --path go together: fastmri or lodopab, and its folder")
    if methods is not None and dataset is None:
        raise ValueError("--methods is of --dataset: quality tries every method")
    if output.is_file():
        raise NotADirectoryError(f"{output}: is a file, expected a folder")
    output.mkdir(parents=True, exist_ok=True)
    from ...benchmarks.run import PublicData, run

    data = None
    if dataset is not None and path is not None:
        data = PublicData(dataset, path, _names(methods) or ())
    typer.echo(run(chosen, output, quick=quick, peers=_names(peers), data=data), err=True)


def _chosen(suites: list[str] | None, dataset: str | None) -> tuple[str, ...]:
    if not suites:
        return () if dataset else SUITES
    for name in suites:
        if name not in (*SUITES, SMALL, "all"):
            there = ", ".join((*SUITES, SMALL))
            raise ValueError(f"unknown suite {name!r}: there are {there} and all")
    return SUITES if "all" in suites else tuple(suites)


def _names(text: str | None) -> list[str] | None:
    """What stands between commas."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _compare(old: Path, new: Path) -> None:
    from ...benchmarks.compare import compare

    before, after = _read(old), _read(new)
    changes, drift = compare(before, after)
    if "ratios" in before:
        here = after.get("machine", {})
        load, cores = here.get("load at start", 0.0), here.get("cores") or 1
        busy = f"; the machine was busy, load {load:.1f} on {cores} cores: they say little"
        typer.echo("times over peers' in the same run" + busy * (load > cores / 2))
    else:
        typer.echo(_of_machines(before, after))
        if drift is None:
            typer.echo("too few peers ran in both to tell the machine's drift: times as they are")
        else:
            typer.echo(f"the machine: peers take {drift:.2f} times as long")
    for change in changes:
        typer.echo(str(change))
    bad = sum(change.verdict in ("slower", "less accurate") for change in changes)
    typer.echo(f"{len(changes)} jobs, {bad} slower or less accurate")
    if bad:
        raise typer.Exit(1)


def _of_machines(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Whether both runs were made alike, as far as times go."""
    was, now = old.get("machine", {}), new.get("machine", {})
    other = [
        f"{key} {was.get(key)}, now {now.get(key)}"
        for key in ("processor", "card", "cores", "threads")
        if was.get(key) != now.get(key)
    ]
    return f"measured otherwise: {'; '.join(other)}" if other else "the same kind of machine"


def _read(path: Path) -> Any:
    path = path / "results.json" if path.is_dir() else path
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"{path}: is no JSON ({error})") from error
