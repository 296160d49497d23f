"""The quality table: every method on the reference scans, beside null models that see no data.

    spinray bench quality [--quick] [--output FOLDER]

Figures are means over subjects with 95 % intervals (Student's t). NRMSE, PSNR and SSIM are of
magnitudes inside the object, MR with its scale fitted. A method that a scan does not suit, or whose
weights do not come with Spinray, has a row that says so.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinray.recon.diffusion.samplers import SAMPLERS
from spinray.recon.metrics import nrmse, object_mask, psnr, ssim

from .protocol import Row, one_line
from .references import NOISES, REFERENCES, Reference, noisy

SUBJECTS, PIXELS = 5, 128
QUICK_SUBJECTS, QUICK_PIXELS = 3, 64
# minutes an image: one subject, none in a quick run nor of volumes
SLOW = ("zs-ssl", "dip", "noise2inverse", *SAMPLERS)
MAPS = ("g-factor", "snr")  # of noise: no image of the object
NULLS = ("null: flat object", "null: another subject")
CURVES = {"mri": ("rss", "sense", "l1-wavelet", "tv"), "ct": ("fbp", "sirt", "tv")}
FIGURES = {
    "nrmse": (0.0, np.inf),
    "psnr": (-np.inf, np.inf),
    "ssim": (-1.0, 1.0),
}  # what each can be
Images = dict[str, np.ndarray]


def figures(truth: torch.Tensor, image: Any, modality: str) -> dict[str, float]:
    """NRMSE, PSNR and SSIM inside the object of ``(slice, y, x)``."""
    target, values = truth.numpy(), np.asarray(image, np.float32).reshape(truth.shape)
    inside = object_mask(target)
    if modality == "mri":
        x, t = values[inside].astype(float), target[inside].astype(float)
        values = values * float(x @ t / max(x @ x, 1e-30))
    return {
        "nrmse": nrmse(target, values, mask=inside),
        "psnr": psnr(target, values, mask=inside),
        "ssim": ssim(target, values, mask=inside),
    }


def interval(
    values: Sequence[float], low: float = -np.inf, high: float = np.inf
) -> dict[str, float]:
    """Mean, and the ends of its 95 % interval by Student's t; one value has none.

    Ends are cut to `low` and `high`, which are what a figure can be: few subjects have wide ones.
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean}
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return {"mean": mean, "low": max(mean - half, low), "high": min(mean + half, high)}


def intervals(found: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each figure over subjects."""
    return {key: interval([f[key] for f in found], *ends) for key, ends in FIGURES.items()}


def table(
    reference: Reference, subjects: int, pixels: int, *, slow: bool, methods: Sequence[str] = ()
) -> tuple[list[Row], Images]:
    """Rows of all methods on one kind of scan, and the first subject's images, the truth first."""
    made = [reference.make(seed, pixels) for seed in range(subjects + 1)]
    truths = [reference.middle(truth) for _, truth in made]
    images: Images = {"reference": truths[0].numpy()}
    rows = []
    for name in methods or [m.name for m in sr.methods(reference.modality)]:
        row: Row = {"scan": reference.name, "method": name, "status": "ok"}
        rows.append(row)
        if name in MAPS:
            row["status"] = "a map of noise, no image"
            continue
        if name in SLOW and (reference.heavy or not slow):
            kind = "scans of volumes" if reference.heavy else "quick runs"
            row["status"] = f"left out of {kind}: takes minutes"
            continue
        count = 1 if name in SLOW else subjects
        found, seconds = [], []
        try:
            for scan, truth in made[:count]:
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = sr.reconstruct(
                        scan, name, progress=False, **reference.options.get(name, {})
                    )
                seconds.append(time.perf_counter() - start)
                values = image.magnitude()
                if values.size != truth.numel():
                    raise ValueError(f"gives {values.shape}, no image of each frame")
                target = reference.middle(truth)
                values = reference.middle(values.reshape(truth.shape))
                found.append(figures(target, values, reference.modality))
                if len(found) == 1:
                    images[name] = values.reshape(target.shape).astype(np.float32)
        except Exception as refusal:
            row["status"] = one_line(refusal)
            continue
        row |= intervals(found)
        row |= {"seconds": float(np.median(seconds)), "subjects": count}
    rows += null_rows(reference, truths)
    return flagged(rows), images


def null_rows(reference: Reference, truths: Sequence[torch.Tensor]) -> list[Row]:
    """What knows nothing of the data: the object filled evenly, and the image of somebody else."""
    rows = []
    for name in NULLS:
        found = []
        for truth, other in pairwise(truths):
            if name == NULLS[0]:
                inside = torch.from_numpy(object_mask(truth.numpy()))
                guess = inside * truth[inside].mean()
            else:
                guess = other
            found.append(figures(truth, guess, reference.modality))
        rows.append({
            "scan": reference.name, "method": name, "status": "ok", "subjects": len(found),
            **intervals(found),
        })  # fmt: skip
    return rows


def flagged(rows: list[Row]) -> list[Row]:
    """Mark the methods whose error is no smaller than that of the best null model."""
    null = min(row["nrmse"]["mean"] for row in rows if row["method"] in NULLS)
    for row in rows:
        if row["status"] == "ok" and row["method"] not in NULLS:
            row["no better than a null"] = row["nrmse"]["mean"] >= null
    return rows


def curves(subjects: int, pixels: int) -> Iterator[Row]:
    """NRMSE over noise, from scans far noisier than those that defaults were chosen on."""
    for modality, names in CURVES.items():
        for noise in NOISES[modality]:
            rows, _ = table(noisy(modality, noise), subjects, pixels, slow=False, methods=names)
            for row in rows:
                yield row | {"modality": modality, "noise": noise}


def measured(quick: bool, folder: Path | None = None) -> Iterator[dict[str, list[Row]]]:
    """The table and the curves so far, after each kind of scan; images go to a folder as npz."""
    subjects, pixels = (QUICK_SUBJECTS, QUICK_PIXELS) if quick else (SUBJECTS, PIXELS)
    result: dict[str, list[Row]] = {"table": [], "curves": []}
    for reference in REFERENCES:
        count = 1 if quick and reference.heavy else subjects
        rows, images = table(reference, count, pixels, slow=not quick)
        result["table"] += rows
        for row in rows:
            print(f"  {row['scan']:38} {row['method']:24} {shown(row)}", flush=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = dict(images)
            np.savez_compressed(folder / f"{reference.name}.npz", **arrays)
        yield result
    result["curves"] = list(curves(subjects, pixels))
    yield result


def shown(row: Row) -> str:
    """A row in words."""
    if row["status"] != "ok":
        return str(row["status"])
    return f"NRMSE {row['nrmse']['mean']:.4f}, SSIM {row['ssim']['mean']:.3f}"
