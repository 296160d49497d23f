"""fastMRI HDF5 volumes, single and multi coil: https://fastmri.med.nyu.edu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import as_tensor
from ..scan import MRScan
from .errors import FormatError
from .hdf5 import attribute, find, has, looks_like, open_hdf5, read_array, read_text
from .protocol import facts, parse_header

NAME = "fastMRI HDF5"
_TARGETS = ("reconstruction_rss", "reconstruction_esc")


def matches(path: Path) -> bool:
    """Whether an HDF5 file has a dataset named kspace at its root."""
    return looks_like(path, lambda file: find(file, "kspace") is not None)


def read(path: Path) -> MRScan:
    """Read a volume; the readout is the image's y axis, as in the file and its targets.

    The image is cropped to the target's size, or else to the header's recon matrix. Targets and
    attributes (`acquisition`, `max`, `norm`) are in the scan's header under their names.
    """
    with open_hdf5(path) as file:
        kspace = read_array(file, "kspace", "c")
        if kspace.ndim not in (3, 4):
            raise FormatError(
                None, "kspace", f"has shape {kspace.shape}, expected (slice, [coil,] ky, kx)"
            )
        if kspace.ndim == 3:
            kspace = kspace[:, None]
        header: dict[str, Any] = {"format": NAME}
        found = {name: attribute(file, name, None) for name in file.attrs}
        header |= {name: _plain(value) for name, value in found.items() if value is not None}
        targets = {name: read_array(file, name) for name in _TARGETS if has(file, name)}
        mask = read_array(file, "mask") if has(file, "mask") else None
        xml = read_text(file, "ismrmrd_header") if find(file, "ismrmrd_header") else None
    shape: tuple[int, ...] = tuple(kspace.shape[-2:])
    spacing: tuple[float, ...] = ()
    measured = None
    if xml is not None:
        protocol = parse_header(xml)
        header |= {**facts(protocol), "xml": xml}
        spacing = _spacing(protocol.encoding[0])
        measured = measured_columns(protocol.encoding[0], kspace.shape[-1])
        matrix = protocol.encoding[0].reconSpace.matrixSize
        shape = min(matrix.x, shape[0]), min(matrix.y, shape[1])
    for target in targets.values():
        if all(n <= size for n, size in zip(target.shape[-2:], kspace.shape[-2:], strict=True)):
            shape = tuple(target.shape[-2:])
    if mask is not None:
        if mask.shape != kspace.shape[-1:]:
            raise FormatError(
                None, "mask", f"has shape {mask.shape}, expected ({kspace.shape[-1]},)"
            )
        measured = mask.astype(bool) if measured is None else mask.astype(bool) & measured
    return MRScan(
        kspace=as_tensor(kspace),
        mask=None if measured is None else as_tensor(measured[None]),
        image_shape=shape,
        spacing=spacing,
        batch_axes=("slice",),
        header={**header, **targets},
    )


def _spacing(layout: Any) -> tuple[float, ...]:
    matrix, view = layout.encodedSpace.matrixSize, layout.encodedSpace.fieldOfView_mm
    step = layout.reconSpace.fieldOfView_mm.z or 1.0
    return step, view.x / matrix.x or 1.0, view.y / matrix.y or 1.0


def measured_columns(layout: Any, columns: int) -> NDArray[np.bool_] | None:
    """Columns that lie within the encoding limits; the files pad the others with zeros."""
    limits = layout.encodingLimits.kspace_encoding_step_1
    if limits is None or layout.encodedSpace.matrixSize.y != columns:
        return None
    first = columns // 2 - int(limits.center)
    column = np.arange(columns)
    measured = (column >= first) & (column <= first + int(limits.maximum))
    return measured if measured.any() else None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
