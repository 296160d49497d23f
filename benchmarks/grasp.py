"""Golden-angle dynamic radial MR of real anatomy: GRASP at several weights, and frame by frame.

    SPINRAY_DATA=FOLDER python -m benchmarks.grasp [--jobs "weight 0.5" ...] [--output FILE.json]

A slice of `t2_brain.nii.gz` at 128 x 128 and 8 simulated coils; in 20 frames of 21 golden-angle
spokes a lesion takes up contrast and the head shifts by up to one pixel. Noise: a 600th of
the largest sample. Error: NRMSE of the magnitude of all frames inside the object, scale fitted.
No peer runs beside; the sweep of the weight shows where the default (0.5) lies.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import sigpy.mri
import torch

from spinray.datasets.trajectories import radial
from spinray.recon.metrics import nrmse
from spinray.recon.mri import resize

from .common import data_folder, run_suite
from .protocol import OURS, Prepared, Task

FRAMES, SPOKES, MATRIX, COILS = 20, 21, 128, 8
WEIGHTS = (0.1, 0.25, 0.5, 1.0, 2.0)


def truth(data: Path) -> torch.Tensor:
    """Frames ``(frame, y, x)``: contrast uptake in a lesion, and a slow shift."""
    volume = np.asarray(nibabel.load(data / "mr_images" / "t2_brain.nii.gz").dataobj, np.float32)
    image = torch.from_numpy(volume[..., volume.shape[2] // 2].T.copy())
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image)))
    small = torch.fft.fftshift(
        torch.fft.ifft2(torch.fft.ifftshift(resize(spectrum, (MATRIX,) * 2)))
    )
    still = small.abs() / small.abs().max()
    y, x = torch.meshgrid(*[torch.arange(MATRIX) - MATRIX // 2] * 2, indexing="ij")
    lesion = torch.exp(-((((x - 14.0) ** 2 + (y + 10.0) ** 2) / 40) ** 4))
    k = torch.fft.fftfreq(MATRIX)
    frames = []
    for t in torch.linspace(0, 1, FRAMES):
        uptake = 0.6 * (1 - torch.exp(-6 * (t - 0.2).clamp_min(0)))
        moved = torch.fft.ifft2(
            torch.fft.fft2(still + uptake * lesion) * torch.exp(-2j * torch.pi * k[:, None] * t)
        )
        frames.append(moved.abs())
    return torch.stack(frames)


def measured(frames: torch.Tensor) -> sr.MRScan:
    """The scan: one long run of golden-angle spokes, 8 coils, noise."""
    maps = torch.from_numpy(sigpy.mri.birdcage_maps((COILS, MATRIX, MATRIX)))
    readout = 2 * MATRIX
    trajectory = radial(FRAMES * SPOKES, readout).reshape(FRAMES, -1, 2)
    A = sr.Sense(maps.to(torch.complex64), trajectory=trajectory)
    kspace = A(frames.to(torch.complex64))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    kspace = kspace + noise * float(kspace.abs().max()) / 30 / 20
    return sr.MRScan(
        kspace.movedim(0, 1).flatten(1), trajectory=trajectory.flatten(0, 1),
        image_shape=(MATRIX, MATRIX), readout_length=readout,
    )  # fmt: skip


class Series:
    """The frames, their scan, and what an image of them scores."""

    def __init__(self, data: Path) -> None:
        self.frames = truth(data)
        self.scan = measured(self.frames)
        self.inside = self.frames > 0.08 * float(self.frames.flatten()[::7].quantile(0.995))

    def ours(self, **options: Any) -> Prepared:
        call = partial(sr.reconstruct, self.scan, "grasp", spokes=SPOKES, progress=False, **options)
        return Prepared(call, lambda image: nrmse(
            self.frames, image.data.abs(), mask=self.inside, fit_scale=True))  # fmt: skip


def tasks(quick: bool = False) -> Iterator[Task]:
    """Frame by frame, then each weight; nothing without the data."""
    data = data_folder()
    if not (data / "mr_images" / "t2_brain.nii.gz").exists():
        print("skipped: mr_images/t2_brain.nii.gz is not in SPINRAY_DATA")
        return
    job = cache(lambda: Series(data))
    facts = {"frames": FRAMES, "spokes": SPOKES, "coils": COILS, "matrix": MATRIX}
    runs: dict[str, dict[str, Any]] = {"frame by frame": {"weight": 0.0, "iterations": 20}}
    runs |= {f"weight {w:g}": {"weight": w} for w in ((0.5,) if quick else WEIGHTS)}
    for name, options in runs.items():
        yield Task("grasp", name, {OURS: lambda options=options: job().ours(**options)},
                   "NRMSE inside the object", facts)  # fmt: skip


if __name__ == "__main__":
    run_suite(__doc__ or "", tasks)
