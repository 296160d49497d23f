"""``spinray demo``: raw files to images, with pictures and figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Comparison:
    """One demo: the plain image, the reconstruction and the reference, as slices ``(y, x)``."""

    name: str
    title: str
    plain: tuple[str, Array]
    result: tuple[str, Array]
    reference: tuple[str, Array]
    seconds: float


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")] = Path(
        "demo"
    ),
) -> None:
    """Reconstruct MR and CT raw files and write pictures beside their references.

    Uses the folder SPINRAY_DATA if it is set, else public samples, else files that it simulates.

    Example: [bold]spinray demo --output demo[/bold]
    """
    from rich.console import Console
    from rich.table import Table

    from ...datasets import demo_files
    from .montage import Panel, figures, montage

    output.mkdir(parents=True, exist_ok=True)
    screen = Console(stderr=True)
    start = time.perf_counter()
    files = demo_files(output)
    screen.print(files.source)
    table = Table(title="Against the reference")
    for heading in ("data", "method", "NRMSE", "PSNR (dB)", "SSIM", "seconds"):
        table.add_column(heading, justify="left" if heading in ("data", "method") else "right")
    for comparison in _comparisons(files, screen.print):
        name, reference = comparison.reference
        window = (0.0, float(np.percentile(reference, 99.8)))
        panels = [Panel(*comparison.plain), Panel(*comparison.result)]
        picture = output / f"{comparison.name}.png"
        montage(picture, comparison.title, panels, Panel(name, reference), window=window)
        for label, image in (comparison.plain, comparison.result):
            found = figures(reference, image)
            table.add_row(
                comparison.name,
                label,
                f"{found['NRMSE']:.4f}",
                f"{found['PSNR']:.2f}",
                f"{found['SSIM']:.4f}",
                f"{comparison.seconds:.1f}" if label == comparison.result[0] else "",
            )
    Console().print(table)
    screen.print(f"Pictures in {output}/ after {time.perf_counter() - start:.0f} s")
