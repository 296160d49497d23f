"""An image of several slices, repetitions, ..., taken apart into those with their headers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..image import Image
from ..io.acquisitions import Acquisitions
from ..io.orientation import image_sign, stack_of
from ..scan import MRScan

_UNNAMED = "phase"  # counts frames that a method made itself


def items(
    image: Image, scan: MRScan, imaging: Acquisitions
) -> Iterator[tuple[Image, dict[str, int], NDArray[np.void]]]:
    """Each item of an image's batch ``([z,] y, x)``, its counters and a header of its readouts.

    Parameters
    ----------
    image
        ``(*batch, [z,] y, x)``.
    scan
        What it was made from.
    imaging
        The imaging readouts that the scan was assembled from.
    """
    batch = tuple(image.data.shape[: -scan.ndim])
    names = scan.batch_axes if len(scan.batch_axes) == len(batch) else (_UNNAMED,) * len(batch)
    idx = imaging.head["idx"]
    values = {}
    for name in names:
        values[name] = np.unique(idx[name])
        if name == "slice":  # in the order of their positions
            values[name] = values[name][np.argsort(stack_of(imaging.head).rank)]
    for index in np.ndindex(*batch):
        place = {name: int(idx[name][0]) for name in ("repetition", "slice")}
        own = np.ones(len(imaging), bool)
        for name, i in zip(names, index, strict=True):
            named = len(scan.batch_axes) == len(batch) and i < len(values[name])
            place[name] = int(values[name][i]) if named else i
            own &= (idx[name] == place[name]) if named else True
        head = imaging.head[own]
        middle = head[len(head) // 2].copy()
        for name, value in place.items():
            middle["idx"][name] = value
        made = Image(
            image.data[index],
            image.spacing[-scan.ndim :],
            _affine(image, scan, imaging, head, index),
            {**image.metadata, **place},
        )
        yield made, place, middle


def _affine(
    image: Image,
    scan: MRScan,
    imaging: Acquisitions,
    head: NDArray[np.void],
    index: tuple[int, ...],
) -> NDArray[np.float64]:
    """That of the item's own readouts, or of its place in a stack where they have no directions."""
    layout = imaging.header.encoding[scan.header.get("encoding", 0)]
    affine = stack_of(head).affine(layout, scan.image_shape, image_sign(imaging.header))
    if affine is not None:
        return affine
    affine = image.affine.copy()
    if scan.batch_axes[-1:] == ("slice",) and len(index) == len(scan.batch_axes):
        affine[:3, 3] += index[-1] * affine[:3, 2]
    return affine
