"""``spinray evaluate``: reconstructions against targets, in figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ..cluster import RETRIES
from .workers import Retries, Scheduler, Work

if TYPE_CHECKING:
    from ...datasets import LineMask, PoissonMask
    from ..pipelines.figures import Evaluation, VolumeFigures


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RECONSTRUCTIONS] TARGETS",
            help="Folders of reconstructions and of targets; with --method the targets alone.",
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="Reconstruct the targets' raw data by this method."),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Of the method: name=value, repeatedly.")
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(help="fastmri, calgary-campinas, lodopab, 2detect, scans, mr-images, ..."),
    ] = "auto",
    mask: Annotated[
        str | None,
        typer.Option(
            help="With --method: random, equispaced, equispaced_fraction, magic, magic_fraction "
            "(fastMRI's, one a volume, from its name) or poisson."
        ),
    ] = None,
    acceleration: Annotated[int, typer.Option(help="Of --mask.")] = 4,
    center_fraction: Annotated[
        float | None,
        typer.Option(help="Of --mask: part of the lines in the fully sampled centre. [0.08]"),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="lodopab: train, validation or test. Default: test.")
    ] = None,
    challenge: Annotated[
        str | None, typer.Option(help="fastMRI: multicoil or singlecoil; found without.")
    ] = None,
    acquisition: Annotated[
        str | None, typer.Option(help="fastMRI: only volumes with this one, such as CORPD_FBK.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="fastmri or lodopab. Default: fastmri for MR.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV to write, a row a volume.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="CSV of another evaluation: paired tests.")
    ] = None,
    scheduler: Scheduler = None,
    retries: Retries = RETRIES,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Figures of reconstructions by fastMRI's protocol, a table and a CSV.

    A volume that cannot be read is left out and listed; the exit code is then 1.

    Example: [bold]spinray evaluate reconstructions multicoil_val -o figures.csv[/bold]
    """
    from ..io.atomic import require_writable
    from ..pipelines.evaluation import evaluate_folder, evaluate_method

    if protocol not in (None, "fastmri", "lodopab"):
        raise ValueError(f"--protocol must be fastmri or lodopab, got {protocol!r}")
    rules = cast(Literal["fastmri", "lodopab"] | None, protocol)
    if output is not None:
        require_writable(output)
    folders = [folder.absolute() for folder in folders]  # as other machines find them
    show = not as_json and sys.stderr.isatty()
    work = Work(scheduler, retries)
    if method is None:
        if len(folders) != 2 or mask is not None or option:
            raise ValueError(
                "evaluate takes RECONSTRUCTIONS and TARGETS, or --method NAME with --mask and "
                f"--option and TARGETS alone; got {len(folders)} folders"
            )
        with work.begun("volumes") as (workers, step):
            result = evaluate_folder(
                *folders, protocol=rules or "fastmri", challenge=challenge,
                acquisition=acquisition, on_volume=_counted(step, show), workers=workers,
            )  # fmt: skip
    else:
        if len(folders) != 1:
            raise ValueError(f"--method takes TARGETS alone, got {len(folders)} folders")
        data = _dataset(folders[0], dataset, _mask(mask, acceleration, center_fraction), {
            "challenge": challenge, "acquisitions": None if acquisition is None else [acquisition],
            "part": part,
        })  # fmt: skip
        with work.begun("volumes", len(data.volumes)) as (workers, step):
            result = evaluate_method(
                data, method, options=_options(option or []), protocol=rules,
                on_volume=_counted(step, show), workers=workers,
            )  # fmt: skip
    if output is not None:
        result.write_csv(output)
    tests = {} if against is None else result.against(against)
    if as_json:
        typer.echo(json.dumps(_facts(result, tests), indent=2, default=vars))
    else:
        _print(result)
        for name, test in tests.items():
            typer.echo(f"{name} against {against}: {test}")
    for name, reason in result.skipped:
        typer.echo(f"spinray: left out: {name}: {reason}", err=True)
    if result.skipped:
        raise typer.Exit(1)


def _dataset(
    folder: Path, kind: str, mask: LineMask | PoissonMask | None, options: dict[str, Any]
) -> Any:
    """Open the targets; what only MR, or only fastMRI, understands is given to those alone."""
    import inspect

    from ...datasets import KINDS, open_dataset
    from ...datasets.opening import kind_of

    kind = kind_of(folder) if kind == "auto" else kind
    wanted = {name: value for name, value in options.items() if value is not None}
    if mask is not None:
        wanted["mask"] = mask
    known = inspect.signature(KINDS[kind]).parameters if kind in KINDS else wanted
    if unknown := sorted(set(wanted) - set(known)):
        raise ValueError(f"--{', --'.join(unknown)}: not for {kind} data")
    for name in ("fixed_masks", "fixed"):
        if name in known:
            wanted[name] = True
    if "part" in known:
        wanted.setdefault("part", "test")
    return open_dataset(folder, kind, **wanted)


def _mask(
    name: str | None, acceleration: int, center: float | None
) -> LineMask | PoissonMask | None:
    from ...datasets import LineMask, PoissonMask

    if name is None:
        return None
    if name == "poisson":
        if center is not None:
            raise ValueError("--center-fraction is of line masks: poisson has 24 x 24 samples")
        return PoissonMask((float(acceleration),))
    return LineMask(name, (0.08 if center is None else center,), (acceleration,))  # type: ignore[arg-type]


def _options(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if bad := [word for word, (_, sign, _) in zip(words, pairs, strict=True) if not sign]:
        raise ValueError(f"--option must be name=value, got {bad[0]!r}")
    return {name.replace("-", "_"): value for name, _, value in pairs}


def _counted(step: Callable[[], None], show: bool) -> Callable[[VolumeFigures], None]:
    """What is done with each volume's figures."""

    def told(row: VolumeFigures) -> None:
        step()
        if show:
            shown = ", ".join(f"{name} {row.figures[name]:.4g}" for name in ("psnr", "ssim"))
            typer.echo(f"{row.volume}: {shown}", err=True)

    return told


def _print(result: Evaluation) -> None:
    """The table; twice the standard deviation, as fastMRI prints it."""
    from rich.console import Console
    from rich.table import Table

    from ...datasets.reports import crimes_in_words
    from ..pipelines.figures import UNITS

    counts = {"all": len(result.volumes)}
    for volume in result.volumes:
        counts[volume.acquisition] = counts.get(volume.acquisition, 0) + 1
    summary = result.summary()
    table = Table("mean ± 2 standard deviations")
    for group in summary:
        table.add_column(f"{group} ({counts[group]} volumes)", justify="right", no_wrap=True)
    for name in result.names:
        values = [summary[group][name] for group in summary]
        unit = f" ({UNITS[name]})" if name in UNITS else ""
        table.add_row(f"{name}{unit}", *(f"{mean:.4g} ± {2 * sd:.2g}" for mean, sd in values))
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(table)
    typer.echo(crimes_in_words(result.findings, len(result.volumes)))


def _facts(result: Evaluation, tests: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": {
            group: {
                name: {"mean": mean, "standard_deviation": spread}
                for name, (mean, spread) in figures.items()
            }
            for group, figures in result.summary().items()
        },
        "volumes": result.volumes,
        "data_crimes": result.findings,
        "skipped": [{"volume": name, "reason": reason} for name, reason in result.skipped],
        "tests": tests,
    }
