"""``spinray demo``: raw files to images, with pictures and figures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...datasets import DemoFiles
    from ..image import Image
    from ..scan import CTScan

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
    for comparison in _comparisons(files):
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


def _comparisons(files: DemoFiles) -> Iterator[Comparison]:
    yield _brain(files)
    yield _radial()
    yield _few_views(files)
    yield _low_dose()


def _brain(files: DemoFiles) -> Comparison:
    """Poisson-disc undersampling of a full scan, against the full scan."""
    from ...datasets import masks
    from ..io import load
    from ..pipelines.dispatch import reconstruct
    from ..scan import MRScan

    full = load(files.mr)
    assert isinstance(full, MRScan)
    mask = masks.poisson(full.matrix, 4.0, calibration=24, seed=0)
    scan = full.replace(mask=mask)
    truth = _slice(files.mr_truth or reconstruct(full, "rss"))
    plain, result = reconstruct(scan, "rss"), reconstruct(scan, "l1-wavelet")
    return Comparison(
        "mr_cartesian",
        f"MR, {full.coils} coils, {scan.acceleration:.1f}x undersampled: {files.mr.name}",
        ("zero-filled", _fitted(_slice(plain), truth)),
        ("l1-wavelet", _fitted(_slice(result), truth)),
        ("all samples" if files.mr_truth is None else "truth", truth),
        result.metadata["seconds"],
    )


def _radial() -> Comparison:
    """Golden-angle spokes of a phantom with noise, against the phantom."""
    from ...datasets import reference_image, simulate_mr
    from ..pipelines.dispatch import reconstruct

    scan = simulate_mr(matrix=224, coils=8, trajectory="radial", acceleration=6, snr=25, seed=0)
    truth = _slice(reference_image(scan))
    plain, result = reconstruct(scan, "gridding"), reconstruct(scan, "sense")
    return Comparison(
        "mr_radial",
        f"MR, {scan.trajectory_kind}, {scan.coils} coils: simulated",
        ("gridding", _fitted(_slice(plain), truth)),
        ("sense", _fitted(_slice(result), truth)),
        ("truth", truth),
        result.metadata["seconds"],
    )


def _few_views(files: DemoFiles) -> Comparison:
    """A quarter of the views of a parallel-beam scan, against all of them."""
    from ..io import load
    from ..pipelines.ct import centred
    from ..pipelines.dispatch import reconstruct
    from ..scan import CTScan

    stack = load(files.ct)
    assert isinstance(stack, CTScan)
    scan = centred(_first_slice(stack))
    truth = _slice(files.ct_truth or reconstruct(scan, "fbp", filter="hann"))
    few = scan[::4]
    plain, result = reconstruct(few, "fbp", filter="hann"), reconstruct(few, "tv")
    return Comparison(
        "ct_few_views",
        f"CT, {few.geometry.shape[0]} of {scan.geometry.shape[0]} views: {files.ct.name}",
        ("fbp", _slice(plain)),
        ("tv", _slice(result)),
        ("fbp of all views" if files.ct_truth is None else "truth", truth),
        result.metadata["seconds"],
    )


def _low_dose() -> Comparison:
    """A fan-beam head with few photons, against the phantom."""
    from ...datasets import reference_image, simulate_ct
    from ..pipelines.dispatch import reconstruct

    scan = simulate_ct(views=360, columns=400, photons=2e4, seed=0)
    truth = _slice(reference_image(scan))
    plain, result = reconstruct(scan, "fbp"), reconstruct(scan, "tv")
    return Comparison(
        "ct_low_dose",
        f"CT, fan beam, {scan.geometry.shape[0]} views, 2e4 photons a ray: simulated",
        ("fbp", _slice(plain)),
        ("tv", _slice(result)),
        ("truth", truth),
        result.metadata["seconds"],
    )


def _first_slice(scan: CTScan) -> CTScan:
    """One slice of a stack."""
    if not scan.batch_shape:
        return scan
    return scan.replace(sinogram=scan.sinogram[0])


def _slice(image: Image) -> Array:
    """The middle slice ``(y, x)`` of an image, as shown."""
    data = image.magnitude()
    while data.ndim > 2:
        data = data[len(data) // 2]
    return data.astype(np.float64)


def _fitted(image: Array, reference: Array) -> Array:
    """The image in the reference's units: MR magnitudes have none of their own."""
    return image * (np.vdot(image, reference) / np.vdot(image, image))
