"""``spinray info``: what a file holds, and what this machine can do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
from pathlib import Path
from typing import Annotated, Any

import typer

from .reading_options import Words, reading_options


def info(
    file: Annotated[
        Path | None,
        typer.Argument(help="A raw MR or CT file, an image, or a folder of a data set."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="What the folder is: fastmri, lodopab, scans, mr-images, ct-images, ..."),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="lodopab: train, validation or test. Default: train.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="The other side of a split: subjects and images that both have."),
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="This machine: versions, cores, GPU.")
    ] = False,
    read: Words = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say what a raw file, an image or a data set (with its data crimes) holds; or this machine.

    Of raw files only headers are read, and the samples of one slice or repetition. A data set of
    which files cannot be read lists them; the exit code is then 1.

    Example: [bold]spinray info meas.h5[/bold], or
    [bold]spinray info multicoil_train --against multicoil_val[/bold]
    """
    if system == (file is not None):
        raise ValueError("info takes a FILE, or --system")
    if file is not None and (dataset or against or _holds_many(file)):
        _data_set(file, dataset or "auto", part, against, as_json)
        return
    facts = system_facts() if file is None else _file_facts(file, reading_options(read))
    if as_json:
        typer.echo(json.dumps(facts, indent=2, default=str))
        return
    if file is not None:
        from .raw_facts import shown

        facts = shown(facts)
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {_text(value)}")


def _file_facts(file: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What a raw file or an image says."""
    from ..io import open_raw
    from ..io.converting import is_image
    from ..io.errors import FormatError
    from .image_facts import image_facts
    from .raw_facts import file_facts

    if not options and is_image(file):
        try:
            return image_facts(file)
        except FormatError as error:
            as_image = f"as an image: {error}".replace(f"{file}: ", "")
        try:
            open_raw(file)
        except FormatError as error:
            raise FormatError(file, "", f"{error.message}; {as_image}") from None
    return file_facts(open_raw(file, **options))


def _holds_many(path: Path) -> bool:
    """Whether a folder holds a data set; a single scan is that scan, slices are their volume."""
    from ..io.dicom_file import some_dicom_file
    from ..io.reading import is_scan

    if not path.is_dir() or is_scan(path) or some_dicom_file(path):
        return False
    entries = [entry for entry in path.iterdir() if entry.suffix != ".hdr"]
    return len(entries) > 1


def _data_set(
    folder: Path, kind: str, part: str | None, against: Path | None, as_json: bool
) -> None:
    """Print the report of a data set, and what it shares with another one."""
    from ...datasets import open_dataset, report, split_findings
    from ...datasets.opening import kind_of
    from ...datasets.reports import crimes_in_words

    options = {} if part is None else {"part": part}
    if options and (kind_of(folder) if kind == "auto" else kind) != "lodopab":
        raise ValueError("--part is for lodopab data")
    data = open_dataset(folder, kind, **options)
    facts = report(data)
    shared = [] if against is None else split_findings(data, open_dataset(against, kind))
    if as_json:
        skipped = [{"file": str(path), "reason": reason} for path, reason in facts.skipped]
        told = {**vars(facts), "skipped": skipped, "shared": shared}
        typer.echo(json.dumps(told, indent=2, default=vars))
    else:
        typer.echo(str(facts))
        if against is not None:
            none = f"no subject or image of {folder} found in {against}"
            typer.echo(crimes_in_words(shared, 0) if shared else none)
    if facts.skipped:
        raise typer.Exit(1)


def system_facts() -> dict[str, Any]:
    """Versions, cores, memory and GPU: what a bug report needs."""
    import os

    import torch

    from ... import __version__

    facts: dict[str, Any] = {
        "spinray": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    for package in ("torch", "numpy", "scipy", "numba", "h5py", "ismrmrd", "sigpy"):
        facts[package] = importlib.metadata.version(package)
    facts["threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        facts["gpu"] = f"{', '.join(names)}; torch built for CUDA {torch.version.cuda}"
    else:
        built = torch.version.cuda
        facts["gpu"] = "none found" + ("" if built else ", and this torch is a CPU build")
    kernels = "CUDA kernels run on CUDA tensors (--device cuda)"
    missing = "CUDA kernels need CuPy: pip install 'spinray[cuda]', or [cuda13] for CUDA 13"
    facts["gpu kernels"] = kernels if importlib.util.find_spec("cupy") else missing
    return facts


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{v} {k}s" for k, v in value.items()) or "single"
    if isinstance(value, list) and value and isinstance(value[0], str):
        return "; ".join(value)
    if isinstance(value, list | tuple):
        return " x ".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in value) or "single"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) < 300 else f"{text[:300]}..."
