"""Slices of real CT images: one to report on, others on which defaults are chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .subjects import HEAD, HEAD_SPACING

EXTENT = HEAD_SPACING * 256  # mm, of every slice: an abdomen is scaled to a head's size
SLICE = 60  # of the head
SKULL, BODY = 16, 0  # slices of the head phantom and of the abdomens that are put together
LIVER = 300, 250  # its middle in that abdomen, row and column


def reported(data: Path) -> Tensor:
    """HU ``(256, 256)`` of the test subject's head, on which no default is chosen."""
    return torch.from_numpy(np.load(data / HEAD)["hu"][SLICE].astype(np.float32))


def tuning(data: Path) -> dict[str, Tensor]:
    """HU ``(256, 256)`` of other subjects: two abdomens, and a phantom's skull around a third."""
    bodies = np.load(data / "ct_images" / "abdomen_slices_hu.npz")["hu"].astype(np.float32)
    skulls = np.load(data / "ct_images" / "head_phantom_hu.npz")["hu"].astype(np.float32)
    images = {
        "skull": _filled(skulls[SKULL], bodies[BODY]), "abdomen 0": bodies[0],
        "abdomen 2": bodies[2],
    }  # fmt: skip
    return {k: avg_pool2d(torch.from_numpy(hu)[None], 2)[0] for k, hu in images.items()}


def _filled(skull: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The phantom's empty skull with soft tissue in it."""
    holes = ndimage.binary_fill_holes(ndimage.binary_closing(skull > -300, iterations=4))
    labels, _ = ndimage.label(holes & (skull < 100))
    inside = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    middle = (int(places.mean()) for places in np.nonzero(inside))
    shift = tuple(m - at for m, at in zip(middle, LIVER, strict=True))
    tissue = np.roll(np.clip(body, -120, 200), shift, (0, 1))
    return np.where(inside, np.maximum(tissue, skull), skull)
