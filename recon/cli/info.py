"""``spinray info``: what a file holds, and what this machine can do."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..scan import CTScan, MRScan


def info(
    file: Annotated[
        Path | None, typer.Argument(help="A raw MR or CT file, or a folder of a data set.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="What the folder is: fastmri, lodopab, scans, mr-images, ct-images, ..."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="The other side of a split: subjects and images that both have."),
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="This machine: versions, cores, GPU.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say what a raw file or a data set holds, with the data crimes found in it; or this machine.

    Example: [bold]spinray info meas.h5[/bold], or
    [bold]spinray info multicoil_train --against multicoil_val[/bold]
    """
    if system == (file is not None):
        raise ValueError("info takes a FILE, or --system")
    if file is not None and (dataset or against or _holds_many(file)):
        _data_set(file, dataset or "auto", against, as_json)
        return
    if file is None:
        facts = system_facts()
    else:
        from ..io import load

        facts = scan_facts(load(file))
    if as_json:
        typer.echo(json.dumps(facts, indent=2, default=str))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {_text(value)}")


def _holds_many(path: Path) -> bool:
    """Whether a folder holds a data set; one with a single scan in it is that scan."""
    if not path.is_dir():
        return False
    entries = [entry for entry in path.iterdir() if entry.suffix != ".hdr"]
    return len(entries) > 1


def _data_set(folder: Path, kind: str, against: Path | None, as_json: bool) -> None:
    """Print the report of a data set, and what it shares with another one."""
    from ...datasets import open_dataset, report, split_findings
    from ...datasets.reports import crimes_in_words

    data = open_dataset(folder, kind)
    facts = report(data)
    shared = [] if against is None else split_findings(data, open_dataset(against, kind))
    if as_json:
        skipped = [{"file": str(path), "reason": reason} for path, reason in facts.skipped]
        told = {**vars(facts), "skipped": skipped, "shared": shared}
        typer.echo(json.dumps(told, indent=2, default=vars))
        return
    typer.echo(str(facts))
    if against is not None:
        none = f"no subject or image of {folder} found in {against}"
        typer.echo(crimes_in_words(shared, 0) if shared else none)


def scan_facts(scan: MRScan | CTScan) -> dict[str, Any]:
    """What a physicist wants to know of a scan, by name."""
    from ..pipelines.ct import grid_of
    from ..pipelines.dispatch import choose
    from ..scan import MRScan

    method, reason = choose(scan)
    facts: dict[str, Any] = {"scan": repr(scan)}
    if isinstance(scan, MRScan):
        facts |= {
            "matrix": list(scan.matrix),
            "image": list(scan.image_shape),
            "coils": scan.coils,
            "batch": dict(zip(scan.batch_axes, scan.batch_shape, strict=False)),
            "spacing (mm)": list(scan.spacing),
            "field of view (mm)": list(scan.field_of_view),
            "trajectory": scan.trajectory_kind,
            "acceleration": round(scan.acceleration, 3),
            "noise samples": 0 if scan.noise is None else scan.noise.shape[-1],
        }
    else:
        facts |= {
            "views": scan.geometry.shape[0],
            "detector": list(scan.geometry.shape[1:]),
            "slices": list(scan.batch_shape),
            "grid": repr(grid_of(scan, method)),
            "readings": "counts" if scan.counts is not None else "line integrals",
        }
    # What the data show goes before what the file says; the XML is for programs.
    said = {str(k): v for k, v in scan.header.items() if isinstance(v, str | int | float | list)}
    facts |= {k: v for k, v in said.items() if k not in facts and k != "xml"}
    facts["method auto"] = f"{method} ({reason})"
    return facts


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
    facts["gpu status"] = (
        "the NUFFT, CT projection and back projection have CUDA kernels, which compile and agree "
        "with Numba when run on the CPU; no card has run them yet, no GPU figure is claimed"
    )
    return facts


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{v} {k}s" for k, v in value.items()) or "single"
    if isinstance(value, list):
        return " x ".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in value) or "single"
    text = str(value)
    return text if len(text) < 300 else f"{text[:300]}..."
