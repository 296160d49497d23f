"""``spinray convert``: raw files and images in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .reading_options import Words, reading_options


def convert(
    source: Annotated[Path, typer.Argument(help="Raw MR or CT data, or an image.")],
    target: Annotated[
        Path,
        typer.Argument(
            help="Raw: .h5, .mrd (ISMRMRD; Data Exchange for CT), .cfl (BART), .dcm (DICOM-CT-PD). "
            "Image: .nii.gz, .dcm, .h5, .png, .npy."
        ),
    ],
    anonymize: Annotated[
        bool,
        typer.Option(
            "--anonymize", help="Leave out names, dates, institutions, devices, free text, UIDs."
        ),
    ] = False,
    multiframe: Annotated[
        bool, typer.Option("--multiframe", help="Images to DICOM: one file of all slices.")
    ] = False,
    read: Words = None,
) -> None:
    """Write a raw file or an image in another format.

    Readouts go to ISMRMRD as they are, with noise, navigators and headers.

    Example: [bold]spinray convert meas.dat meas.h5 --anonymize[/bold]
    """
    from ..io import convert as converted

    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the source, give another file as target")
    options = reading_options(read)
    written = converted(source, target, anonymize=anonymize, multiframe=multiframe, **options)
    files = [written]
    if written.name != target.name:  # the first of many
        files = sorted(written.parent.glob(f"{target.stem}_*{written.suffix}"))
    size = sum(file.stat().st_size for file in files) / 1e6
    others = f" to {files[-1].name}" if len(files) > 1 else ""
    typer.echo(f"{written}{others}: {size:.3g} MB", err=True)
