"""Public data sets by their official protocols, beside figures that others published.

    spinray bench --dataset fastmri --path FOLDER [--methods sense,tv] [--quick] [--output FOLDER]

fastMRI: every volume with one mask, seeded by its name, at 4x with 8 % and at 8x with 4 % of the
lines in the centre: `random` for knees, `equispaced_fraction` for brains, as its challenges had
them. Targets are cropped, a volume is one figure, its maximum the peak (`recon.metrics`).
LoDoPaB-CT: the test part in its own geometry; PSNR and SSIM with each image's range and with the
fixed one, means over images. 95 % intervals are over volumes, or files.

What was published stands beside with its source. It is of other splits than a folder here may hold:
the note of each source says of which.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinray.datasets import FastMRI, LineMask, LoDoPaB, SliceDataset
from spinray.recon.pipelines.evaluation import evaluate_method

from .protocol import Row, one_line
from .quality import interval
from .tabulate import Cell, Table, markdown_table, with_interval

QUICK_VOLUMES = 2
METHODS = {
    "fastmri": ("rss", "sense", "l1-wavelet", "varnet"),
    "lodopab": ("fbp", "tv", "unrolled"),
}
FIGURES = {"fastmri": ("nmse", "psnr", "ssim"), "lodopab": ("psnr", "psnr_fr", "ssim", "ssim_fr")}
KNEE, BRAIN = ("CORPD_FBK", "CORPDFS_FBK"), ("AXFLAIR", "AXT1", "AXT1PRE", "AXT1POST", "AXT2")
PROMPTMR = "github.com/hellopipu/PromptMR, promptmr_examples/fastmri/README.md"
PROMPTMR_PLUS = "github.com/hellopipu/PromptMR-plus, README.md"
LEUSCHNER = "J. Leuschner et al., J Imaging 7, 44 (2021)"


@dataclass(frozen=True)
class Published:
    """Means that others reported: of which scan, by which method, on what, where."""

    scan: str
    method: str
    figures: Mapping[str, float]
    source: str
    note: str


def _fastmri(scan: str, method: str, note: str, source: str, *figures: float) -> Published:
    named = dict(zip(FIGURES["fastmri"], figures, strict=True))
    return Published(scan, method, named, source, note)


_SPLIT = "100 of the 199 validation volumes"
_SAW = f"{_SPLIT}, which it saw in training"
_TEST = "the official test set"
_CHALLENGE = "the challenge set, whose targets are not public"
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "fastmri": (
        _fastmri("knee 4x", "PromptMR+", _SPLIT, PROMPTMR_PLUS, 0.0050, 39.92, 0.9276),
        _fastmri("knee 4x", "PromptMR", _SPLIT, PROMPTMR_PLUS, 0.0051, 39.71, 0.9264),
        _fastmri("knee 4x", "E2E-VarNet", _SAW, PROMPTMR, 0.0053, 39.37, 0.9236),
        _fastmri("knee 8x", "PromptMR+", _SPLIT, PROMPTMR_PLUS, 0.0078, 38.09, 0.9012),
        _fastmri("knee 8x", "PromptMR", _SPLIT, PROMPTMR_PLUS, 0.0080, 37.78, 0.8984),
        _fastmri("knee 8x", "HUMUS-Net-L", _SPLIT, PROMPTMR, 0.0086, 37.45, 0.8955),
        _fastmri("knee 8x", "HUMUS-Net", _SPLIT, PROMPTMR, 0.0090, 37.20, 0.8946),
        _fastmri("knee 8x", "E2E-VarNet", _SAW, PROMPTMR, 0.0087, 37.30, 0.8936),
        _fastmri("brain 4x", "PromptMR+", _TEST, PROMPTMR_PLUS, 0.0031, 41.84, 0.9615),
        _fastmri("brain 4x", "PromptMR", _TEST, PROMPTMR_PLUS, 0.0033, 41.59, 0.9609),
        _fastmri("brain 8x", "PromptMR+", _TEST, PROMPTMR_PLUS, 0.0055, 39.46, 0.9494),
        _fastmri("brain 8x", "PromptMR", _TEST, PROMPTMR_PLUS, 0.0063, 38.82, 0.9465),
    ),
    "lodopab": tuple(
        Published("LoDoPaB-CT", method, {"psnr": psnr, "ssim": ssim}, LEUSCHNER, _CHALLENGE)
        for method, psnr, ssim in (
            ("Learned Primal-Dual", 36.25, 0.866), ("ISTA U-Net", 36.09, 0.862),
            ("FBP + U-Net", 36.00, 0.862), ("TV", 33.36, 0.830), ("FBP", 30.19, 0.727),
        )
    ),
}  # fmt: skip


def scans(name: str, folder: Path, quick: bool) -> Iterator[tuple[str, SliceDataset[Any]]]:
    """The data sets of a protocol: each under every mask.

    Raises
    ------
    ValueError
        An unknown protocol, or nothing readable in the folder.
    """
    if name == "lodopab":
        yield "LoDoPaB-CT", _first(LoDoPaB(folder, "test"), quick)
        return
    if name != "fastmri":
        raise ValueError(f"unknown data set {name!r}: there are {', '.join(METHODS)}")
    found = 0
    for part, acquisitions, kind in (
        ("knee", KNEE, "random"), ("brain", BRAIN, "equispaced_fraction"),
    ):  # fmt: skip
        for acceleration, center in ((4, 0.08), (8, 0.04)):
            mask = LineMask(kind, (center,), (acceleration,))  # type: ignore[arg-type]
            try:
                data = FastMRI(folder, mask, fixed_masks=True, acquisitions=acquisitions)
            except ValueError:
                continue
            found += 1
            yield f"{part} {acceleration}x", _first(data, quick)
    if not found:
        raise ValueError(
            f"{folder}: no volume with an acquisition of fastMRI's multi-coil knees or brains: "
            f"{', '.join(KNEE + BRAIN)}"
        )


def _first(data: SliceDataset[Any], quick: bool) -> SliceDataset[Any]:
    """All of it, or the first volumes in a quick run."""
    if quick:
        kept = set(data.volumes[:QUICK_VOLUMES])
        data.slices = [entry for entry in data.slices if entry[0] in kept]
    return data


def measured(
    name: str, folder: Path, methods: Sequence[str] = (), *, quick: bool = False
) -> Iterator[Row]:
    """A row for every method on every kind of scan; one that cannot has a row that says why.

    Parameters
    ----------
    name
        "fastmri" or "lodopab".
    folder
        Of the data: ``multicoil_val`` of fastMRI, the unpacked files of LoDoPaB-CT.
    methods
        Default: those of `METHODS`.
    quick
        The first two volumes.
    """
    for scan, data in scans(name, folder, quick):
        for method in methods or METHODS.get(name, ()):
            row: Row = {"scan": scan, "method": method, "status": "ok"}
            start = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = evaluate_method(data, method)
            except Exception as refusal:
                row["status"] = one_line(refusal)
            else:
                row |= {key: interval(result.values(key).tolist()) for key in FIGURES[name]}
                if name == "lodopab":  # whose files are no volumes: its figures are of images
                    images = [volume.slices for volume in result.volumes]
                    for key in FIGURES[name]:
                        row[key]["mean"] = float(np.average(result.values(key), weights=images))
                row |= {
                    "volumes": len(result.volumes), "skipped": len(result.skipped),
                    "seconds": (time.perf_counter() - start) / len(result.volumes),
                    "crimes": sorted({finding.crime for finding in result.findings}),
                }  # fmt: skip
            print(f"  {scan:12} {method:16} {shown(row, name)}", flush=True)
            yield row


NAMES = {"nmse": "NMSE", "psnr": "PSNR, dB", "psnr_fr": "PSNR-FR, dB", "ssim": "SSIM",
         "ssim_fr": "SSIM-FR"}  # fmt: skip
DIGITS = {"psnr": 2, "psnr_fr": 2}


def tables(name: str, rows: Sequence[Row]) -> Iterator[Table]:
    """Each scan of a data set: what was measured, then what others published."""
    keys = FIGURES[name]
    head = ("method", *(NAMES[key] for key in keys), "seconds a volume", "of what, by whom")
    for scan in dict.fromkeys(row["scan"] for row in rows):
        lines = [_measured_line(row, keys) for row in rows if row["scan"] == scan]
        lines += [
            [Cell(p.method), *(_plain(p.figures.get(key), key) for key in keys), Cell(""),
             Cell(f"{p.note}; {p.source}")]
            for p in PUBLISHED[name] if p.scan == scan
        ]  # fmt: skip
        yield f"{name}: {scan}", head, lines


def _measured_line(row: Row, keys: Sequence[str]) -> list[Cell]:
    method = Cell(f"Spinray {row['method']}")
    if row["status"] != "ok":
        return [method, Cell(row["status"], span=len(keys) + 2)]
    figures = [with_interval(row[key], DIGITS.get(key, 4)) for key in keys]
    of = f"{row['volumes']} volumes" + f", {row['skipped']} left out" * bool(row["skipped"])
    words = "; ".join((of, "measured here", *(f"data crime: {crime}" for crime in row["crimes"])))
    return [method, *figures, Cell(f"{row['seconds']:.3g}", row["seconds"]), Cell(words)]


def _plain(value: float | None, key: str) -> Cell:
    return Cell("") if value is None else Cell(f"{value:.{DIGITS.get(key, 4)}f}", value)


def in_words(name: str, rows: Sequence[Row]) -> str:
    """The tables as Markdown, for a terminal."""
    return "\n\n".join(
        f"{title}\n\n{markdown_table(head, lines)}" for title, head, lines in tables(name, rows)
    )


def shown(row: Row, name: str) -> str:
    """A row in words."""
    if row["status"] != "ok":
        return str(row["status"])
    return ", ".join(f"{key} {row[key]['mean']:.4g}" for key in FIGURES[name])
