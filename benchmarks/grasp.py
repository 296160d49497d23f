"""Golden-angle dynamic radial MR of real anatomy: GRASP against frame by frame, error, time, JSON.

    SPINRAY_DATA=FOLDER python -m benchmarks.grasp [--output FILE.json]

A slice of `t2_brain.nii.gz` at 128 x 128 and 8 simulated coils; in 20 frames of 21 golden-angle
spokes a lesion takes up contrast and the head shifts by up to one pixel. Noise: a 600th of
the largest sample. Error: NRMSE of the magnitude of all frames inside the object, scale fitted.
No peer runs beside; the sweep of the weight shows where the default lies.
"""

from __future__ import annotations

import spinray as sr  # before torch: see GOMP_SPINCOUNT there

# isort: split
import argparse
import os
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import sigpy.mri
import torch

from spinray.datasets.trajectories import radial
from spinray.recon.metrics import nrmse
from spinray.recon.mri import resize

from .common import machine, write

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/grasp.json"))
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    parser.add_argument("--save", type=Path, help="also keep frames as .npy")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SPINRAY_DATA", "../shared/data"))
    if not (data / "mr_images" / "t2_brain.nii.gz").exists():
        print("skipped: mr_images/t2_brain.nii.gz is not in SPINRAY_DATA")
        return
    frames = truth(data)
    scan = measured(frames)
    inside = frames > 0.08 * float(frames.flatten()[::7].quantile(0.995))
    results: dict[str, Any] = {"machine": machine(), "grasp": {}}
    kept: dict[str, np.ndarray[Any, Any]] = {"truth": frames.numpy()}

    def run(name: str, method: str, **options: Any) -> None:
        start = time.perf_counter()
        image = sr.reconstruct(scan, method, spokes=SPOKES, **options).data.abs()
        seconds = time.perf_counter() - start
        error = nrmse(frames, image, mask=inside, fit_scale=True)
        results["grasp"][name] = {"nrmse": error, "seconds": seconds}
        kept[name] = image.numpy()
        print(f"{name:30} NRMSE {error:.4f}, {seconds:.1f} s", flush=True)

    run("frame by frame", "grasp", weight=0.0, iterations=20)
    for weight in arguments.weights:
        run(f"grasp, weight {weight:g}", "grasp", weight=weight)
    write(arguments.output, results)
    if arguments.save:
        np.save(arguments.save, np.stack(list(kept.values())))


if __name__ == "__main__":
    main()
