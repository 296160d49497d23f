"""``spinray recon``: raw files to images."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cluster import RETRIES
from .messages import one_line
from .reading_options import Words, reading_options
from .workers import Retries, Scheduler, Work

if TYPE_CHECKING:
    from ..pipelines.files import FileJob, Made


def recon(
    context: typer.Context,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Raw MR or CT files.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Image to write (.nii.gz, .dcm, .h5, .png, .npy), or a folder for several files. "
            "Default: FILE's name + .nii.gz here.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="A method; spinray methods lists them.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
    trajectory: Annotated[
        Path | None, typer.Option(help="BART cfl or npy: the file with the trajectory.")
    ] = None,
    matrix: Annotated[
        str | None,
        typer.Option(
            help="Image matrix: 256x256 or 64x256x256. MR: where the file does not say it; CT: "
            "pixels over the field of view."
        ),
    ] = None,
    encoding: Annotated[
        int | None, typer.Option(help="ISMRMRD: which encoding of several (from 0).")
    ] = None,
    read: Words = None,
    center: Annotated[
        str | None,
        typer.Option(
            help="Parallel-beam CT: column of the rotation axis, or auto or vo to find it (by "
            "opposite views or by Vo's method). Default: found where the file does not say it."
        ),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Parallel-beam CT: detector pixel in mm where the file does not say it."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="MRD 2 from standard input to standard output.")
    ] = False,
    scheduler: Scheduler = None,
    slabs: Annotated[
        int,
        typer.Option(
            min=1, help="Cut each file into so many slabs of slices, each a task of its own."
        ),
    ] = 1,
    retries: Retries = RETRIES,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Reconstruct raw files to images, here or on a cluster.

    Options of the method are given by name: [bold]spinray methods NAME[/bold] lists them. Of
    several files, those that fail are listed and the others made; the exit code is then 1.

    Example: [bold]spinray recon meas.h5 -o meas.nii.gz --method l1-wavelet --iterations 60[/bold]
    """
    inputs, options = _split_options([*(files or []), *context.args])
    if stream:
        _refuse_beside_stream(context)
        _stream(inputs, method, options)
        return
    if not inputs:
        raise ValueError("recon needs a raw FILE")
    given: dict[str, Any] = {"trajectory": trajectory, "encoding": encoding}
    reading = {name: value for name, value in given.items() if value is not None}
    outputs = _outputs(inputs, output)

    from ..io import check_writable
    from ..pipelines.files import FileJob

    _spare_inputs([*inputs, trajectory] if trajectory else inputs, outputs)
    for path in outputs:
        check_writable(path)
    whole = FileJob(
        Path(), method, options, read={**reading, **reading_options(read)},
        matrix=_matrix(matrix), center=None if center is None else _column(center),
        pixel_size=pixel_size, device=device if scheduler else _device(device),
        progress=False if scheduler else None,
    )  # fmt: skip
    jobs = [
        dataclasses.replace(whole, source=source.absolute(), target=target.absolute())
        for source, target in zip(inputs, outputs, strict=True)
    ]
    names = [str(source) for source in inputs]
    _run(jobs, names, Work(scheduler, retries), slabs, as_json)


def _run(jobs: list[FileJob], names: list[str], work: Work, slabs: int, as_json: bool) -> None:
    """Do the jobs and say what became of each, by the file's name as it was given."""
    from ..pipelines.many import run_all

    done, failed = [], 0
    with work.begun("files", len(jobs)) as (workers, step):
        for name, outcome in zip(names, run_all(jobs, workers, slabs, step), strict=True):
            if outcome.error is not None:
                if len(jobs) == 1:
                    raise outcome.error
                failed += 1
                done.append({"input": name, "error": one_line(outcome.error)})
                typer.echo(f"spinray: {name}: {one_line(outcome.error)}", err=True)
                continue
            done.append(
                {"input": name, "output": str(outcome.value.path), **outcome.value.metadata}
            )
            _tell(name, outcome.value, as_json)
    if as_json:
        json.dump(done if len(jobs) > 1 else done[0], sys.stdout, indent=2, default=str)
        typer.echo()
    if failed:
        typer.echo(f"spinray: {failed} of {len(jobs)} files failed", err=True)
        raise typer.Exit(1)


def _tell(name: str, made: Made, as_json: bool) -> None:
    from ..pipelines.files import FOUND

    facts = made.metadata
    axis = str(facts.get("rotation_axis", ""))
    if axis.endswith(FOUND):
        where = axis.removesuffix(FOUND)
        typer.echo(f"{name}: axis of rotation found at {where} (--center sets it)", err=True)
    if not as_json:
        how = f"{facts['method']} ({facts['reason']}), {facts['seconds']:.1f} s"
        typer.echo(f"{made.path}: {how}{_trust(facts.get('convergence'))}", err=True)


def _trust(found: Any) -> str:
    """What a method with a prior says of its images, of several volumes the worst."""
    records = [
        r for r in (found if isinstance(found, list) else [found]) if r and "added_by_prior" in r
    ]
    if not records:
        return ""
    residual = max(records, key=lambda record: abs(math.log(max(record["residual"], 1e-30))))
    text = f"; residual {residual['residual']:.3g} of the noise ({residual['residual_verdict']})"
    text += f", {max(r['added_by_prior'] for r in records):.1%} added by the prior"
    novelty = [r["novelty"] for r in records if "novelty" in r]
    return text + (f", novelty {max(novelty):.2g}" if novelty else "")


def _split_options(words: list[str]) -> tuple[list[Path], dict[str, Any]]:
    """Files, and ``--name value``, ``--name=value`` or ``--flag`` for the method."""
    inputs: list[Path] = []
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            inputs.append(Path(word))
            continue
        name, _, value = word[2:].partition("=")
        if not value:
            value = next(rest, "")
        if not value or value.startswith("--"):
            raise ValueError(f"option --{name} of the method needs a value: --{name} VALUE")
        options[name.replace("-", "_")] = value
    return inputs, options


def _refuse_beside_stream(context: typer.Context) -> None:
    """Refuse options that streams have no use for; what is no option of ours is the method's."""
    given = []
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            given.append(f"--{name.removeprefix('as_').replace('_', '-')}")
    given = [name for name in given if name not in ("--files", "--method", "--stream")]
    if given:
        raise ValueError(f"--stream takes a method and its options only, got {', '.join(given)}")


def _stream(inputs: list[Path], method: str, options: dict[str, Any]) -> None:
    """Reconstruct standard input to standard output."""
    from ..server.mrd2_pipe import pipe

    if inputs:
        raise ValueError(f"--stream reads standard input, got the file {inputs[0]} as well")
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise ValueError(
            "--stream goes between pipes: spinray recon --stream < raw.mrd > images.mrd"
        )
    count = pipe(sys.stdin.buffer, sys.stdout.buffer, method, **options)
    typer.echo(f"{count} images", err=True)


def _column(text: str) -> float | str:
    if text in ("auto", "vo"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--center must be a column number, auto or vo, got {text!r}") from None


def _device(text: str) -> str:
    """The device's name, if torch has it here."""
    import torch

    try:
        torch.empty(0, device=text)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {text}: torch cannot use it here ({reason})") from None
    return text


def _matrix(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        shape = tuple(int(n) for n in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"--matrix must be like 256x256 or 64x256x256, got {text!r}")
    return shape


def _outputs(inputs: list[Path], output: Path | None) -> list[Path]:
    from ..pipelines.many import targets_in

    if output is not None and len(inputs) == 1 and not output.is_dir():
        return [output]
    if output is not None and not output.is_dir():
        raise ValueError(f"{output}: several files need an existing folder as --output")
    return targets_in(output or Path(), inputs)


def _spare_inputs(inputs: list[Path], outputs: list[Path]) -> None:
    """Refuse an output that would replace what is read."""
    for output in outputs:
        if output.exists() and any(_is_read(output, source) for source in inputs):
            raise ValueError(f"{output}: is raw data to read, --output must be another file")


def _is_read(file: Path, source: Path) -> bool:
    """Whether `source` is the file, a BART pair that it is one of, or a folder with that scan."""
    from ..io.reading import is_scan

    if source.is_dir():
        return file.parent.samefile(source) and is_scan(file)
    parts = (source, source.with_suffix(".cfl"), source.with_suffix(".hdr"))
    return any(part.exists() and file.samefile(part) for part in parts)
