"""Small scans as files of readouts, as a scanner would send them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import torch

import spinray as sr
from spinray.recon.io.acquisitions import Acquisitions
from spinray.recon.io.flags import flag_bits

LAST = (
    ismrmrd.ACQ_LAST_IN_SLICE, ismrmrd.ACQ_LAST_IN_REPETITION, ismrmrd.ACQ_LAST_IN_MEASUREMENT,
)  # fmt: skip


def scan(
    slices: int = 3, repetitions: int = 1, matrix: int = 48, coils: int = 4, **options: Any
) -> sr.MRScan:
    """Slices of a head, tilted and off the centre; repetitions differ by their noise."""
    options = {"acceleration": 2.0, "snr": 60.0, "calibration": 16} | options
    made = [
        sr.datasets.simulate_mr(
            sr.datasets.phantom("shepp-logan"), matrix=matrix, coils=coils, seed=i, mask=None,
            **options,
        )
        for i in range(slices * repetitions)
    ]  # fmt: skip
    weights = 1 + torch.arange(len(made)) % slices / 10  # slices differ in more than their noise
    kspace = torch.stack([s.kspace * w for s, w in zip(made, weights, strict=True)])
    if made[0].mask is not None:
        kspace = kspace * made[0].mask
    axes = [("repetition", repetitions), ("slice", slices)]
    axes = [(name, size) for name, size in axes if size > 1]
    tilt = np.radians(20)
    affine = np.eye(4)
    affine[:3, :3] = [
        [1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)],
    ] @ np.diag([5.0, 5.0, 8.0])  # fmt: skip
    affine[:3, 3] = (-100, -130, 25)
    return sr.MRScan(
        kspace=kspace.reshape(*(size for _, size in axes), *kspace.shape[1:]),
        mask=made[0].mask, trajectory=made[0].trajectory, noise=made[0].noise,
        image_shape=(matrix, matrix), spacing=(8.0, 5.0, 5.0)[-3 if slices > 1 else -2 :],
        affine=affine, batch_axes=tuple(name for name, _ in axes),
        readout_length=made[0].readout_length,
    )  # fmt: skip


def scan_file(folder: Path, name: str = "scan.h5", **options: Any) -> Path:
    path = folder / name
    sr.save(scan(**options), path)
    return path


def readouts_of(path: Path) -> Acquisitions:
    readouts = sr.open_raw(path).readouts
    assert readouts is not None
    return readouts


def interleaved(readouts: Acquisitions) -> Acquisitions:
    """The first line of all slices, then the second, ...; only the last line says that it is."""
    head = readouts.head
    noise = readouts.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    order = np.lexsort((head["idx"]["slice"], head["idx"]["kspace_encode_step_1"], ~noise))
    return without_ends(shuffled(readouts, order))


def shuffled(readouts: Acquisitions, order: np.ndarray) -> Acquisitions:
    return dataclasses.replace(
        readouts,
        head=readouts.head[order].copy(),
        data=[readouts.data[i] for i in order],
        trajectory=[readouts.trajectory[i] for i in order],
        number=np.arange(len(order)),
    )


def without_ends(readouts: Acquisitions) -> Acquisitions:
    """No readout says that it is the last of its slice."""
    head = readouts.head.copy()
    head["flags"] &= ~flag_bits(*LAST)
    return dataclasses.replace(readouts, head=head)
