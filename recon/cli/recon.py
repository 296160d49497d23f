"""``spinray recon``: raw files to images."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .messages import one_line
from .reading_options import Words, reading_options

if TYPE_CHECKING:
    from ..image import Image
    from ..scan import CTScan, MRScan


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
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Reconstruct raw files to images.

    Options of the method are given by name: [bold]spinray methods NAME[/bold] lists them.

    Example: [bold]spinray recon meas.h5 -o meas.nii.gz --method l1-wavelet --iterations 60[/bold]
    """
    inputs, options = _split_options([*(files or []), *context.args])
    if stream:
        _stream(inputs, method, options)
        return
    if not inputs:
        raise ValueError("recon needs a raw FILE")
    shape = _matrix(matrix)
    given: dict[str, Any] = {"trajectory": trajectory, "encoding": encoding}
    reading = {name: value for name, value in given.items() if value is not None}
    more = reading_options(read)
    outputs = _outputs(inputs, output)

    from ..io import check_writable
    from ..pipelines.dispatch import reconstruct
    from ..scan import CTScan

    _spare_inputs([*inputs, trajectory] if trajectory else inputs, outputs)
    target_device = _device(device)
    for path in outputs:
        check_writable(path)
    done, failed = [], False
    for source, target in zip(inputs, outputs, strict=True):
        try:
            scan = _placed(source, _loaded(source, reading, more, shape), center, pixel_size)
            if shape is not None and isinstance(scan, CTScan):
                scan = _on_matrix(scan, shape, method)
            image = reconstruct(scan.to(target_device), method=method, **options)
            written = _saved(image, target)
        except (ValueError, TypeError, OSError) as error:
            if len(inputs) == 1:
                raise
            failed = True
            typer.echo(f"spinray: {source}: {one_line(error)}", err=True)
            continue
        made = image.metadata
        done.append({"input": str(source), "output": str(written), **made})
        if not as_json:
            typer.echo(
                f"{written}: {made['method']} ({made['reason']}), {made['seconds']:.1f} s", err=True
            )
    if as_json:
        json.dump(done if len(inputs) > 1 else done[0], sys.stdout, indent=2, default=str)
        typer.echo()
    if failed:
        raise typer.Exit(2)


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


def _loaded(
    source: Path, reading: dict[str, Any], more: dict[str, Any], shape: tuple[int, ...] | None
) -> MRScan | CTScan:
    """The scan; options that its format does not have go by their names on the command line."""
    from ..io import load
    from ..io.reading import options_of
    from ..scan import MRScan

    known = options_of(source)
    if foreign := [f"--{name}" for name in reading if name not in known]:
        raise ValueError(f"{source}: {' and '.join(foreign)} cannot be given for this kind of file")
    if shape is not None and "image_shape" in known:
        return load(source, **reading, **more, image_shape=shape)
    scan = load(source, **reading, **more)
    if shape is not None and isinstance(scan, MRScan):
        raise ValueError(f"{source}: --matrix cannot be given, the file says the image's matrix")
    return scan


def _on_matrix(scan: CTScan, shape: tuple[int, ...], method: str) -> CTScan:
    """A CT scan with a grid of `shape` over all that the method would reconstruct."""
    from ...kernels.ct.geometry import VolumeGrid
    from ..pipelines.ct_chain import grid_of
    from ..pipelines.dispatch import choose

    whole = grid_of(scan, choose(scan)[0] if method == "auto" else method)
    if len(shape) > whole.ndim:
        raise ValueError(
            f"--matrix of slices must be like 256x256, got {'x'.join(map(str, shape))}"
        )
    shape = (*whole.shape[: whole.ndim - len(shape)], *shape)
    spacing = tuple(size / n for size, n in zip(whole.extent, shape, strict=True))
    return scan.replace(volume=VolumeGrid(shape, spacing, whole.center))


def _placed(
    source: Path, scan: MRScan | CTScan, center: str | None, pixel_size: float | None
) -> MRScan | CTScan:
    """The scan with the pixel size given, and the axis of rotation given or found."""
    from ...kernels.ct.geometry import ParallelBeam
    from ..pipelines.ct import centred, covers_every_ray
    from ..scan import CTScan

    if not isinstance(scan, CTScan):
        if center is not None or pixel_size is not None:
            raise ValueError(f"{source}: --center and --pixel-size are for CT, this is an MR scan")
        return scan
    geometry = scan.geometry
    if pixel_size is not None:
        if not isinstance(geometry, ParallelBeam) or not 0 < pixel_size < 1e3:
            raise ValueError(
                f"{source}: --pixel-size is for parallel beams and in mm, got {pixel_size:g} for "
                f"{geometry}"
            )
        header = {k: v for k, v in scan.header.items() if k != "pixel_size"}
        geometry = dataclasses.replace(geometry, column_spacing=pixel_size)
        scan = scan.replace(geometry=geometry, slice_spacing=pixel_size, header=header)
    if center is not None:
        if center == "vo":
            return centred(scan, method="vo")
        return centred(scan, _column(center))
    assumed = "not in the file" in str(scan.header.get("rotation_axis"))
    if assumed and isinstance(geometry, ParallelBeam) and covers_every_ray(geometry):
        scan = centred(scan)
        axis = scan.header["rotation_axis"]
        typer.echo(f"{source}: axis of rotation found at {axis} (--center sets it)", err=True)
    return scan


def _saved(image: Image, target: Path) -> Path:
    """Write an image; a failure names the file."""
    from ..io import save

    try:
        return save(image, target)
    except OSError as error:
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def _column(text: str) -> float | None:
    if text == "auto":
        return None
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
    if output is not None and len(inputs) == 1 and not output.is_dir():
        return [output]
    if output is not None and not output.is_dir():
        raise ValueError(f"{output}: several files need an existing folder as --output")
    folder = output or Path()
    targets = [folder / f"{path.name.split('.')[0]}.nii.gz" for path in inputs]
    if len(set(targets)) < len(targets):
        raise ValueError("several of the files have the same name: reconstruct them one by one")
    return targets


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
