"""fastMRI HDF5 volumes, single and multi coil: https://fastmri.med.nyu.edu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arrays import as_tensor
from ...scan import MRScan
from ..errors import FormatError
from ..hdf5 import (
    attribute,
    dataset,
    find,
    has,
    looks_like,
    number_kind,
    open_hdf5,
    read_array,
    read_text,
)
from ..protocol import facts, parse_header
from ..raw_file import Part, RawFile, index_of, kept_axes

NAME = "fastMRI HDF5"
_TARGETS = ("reconstruction_rss", "reconstruction_esc")


def matches(path: Path) -> bool:
    """Whether an HDF5 file has a dataset named kspace at its root."""
    return looks_like(path, lambda file: find(file, "kspace") is not None)


def open_file(path: Path) -> RawFile:
    """Look at a volume; the readout is the image's y axis, as in the file and its targets.

    The image is cropped to the target's size, or else to the header's recon matrix. Targets and
    attributes (`acquisition`, `max`, `norm`) are in the scan's header under their names.
    """
    with open_hdf5(path) as file:
        node = dataset(file, "kspace")
        if number_kind(node) != "c":
            raise FormatError(None, "kspace", f"holds {node.dtype}, expected complex numbers")
        if node.ndim not in (3, 4):
            raise FormatError(
                None, "kspace", f"has shape {node.shape}, expected (slice, [coil,] ky, kx)"
            )
        header: dict[str, Any] = {"format": NAME}
        found = {
            name: attribute(file, name, None) for name in file.attrs if isinstance(name, str)
        }  # others are damaged
        header |= {name: _plain(value) for name, value in found.items() if value is not None}
        xml = read_text(file, "ismrmrd_header") if find(file, "ismrmrd_header") else None
        protocol = None if xml is None else parse_header(xml)
        if protocol is not None:
            header |= {**facts(protocol), "xml": xml}
        return RawFile(
            format=NAME,
            axes={"slice": node.shape[0]},
            size=8 * node.size,
            facts={**header, "coils": node.shape[1] if node.ndim == 4 else 1},
            take=lambda part: _read(path, part, header, protocol),
        )


def _read(path: Path, part: Part, header: dict[str, Any], protocol: Any) -> MRScan:
    index = index_of(("slice",), part)
    with open_hdf5(path) as file:
        kspace = read_array(file, "kspace", "c", index)
        if dataset(file, "kspace").ndim == 3:
            kspace = kspace[..., None, :, :]
        present = [name for name in _TARGETS if has(file, name)]
        targets = {name: read_array(file, name, index=index) for name in present}
        mask = read_array(file, "mask") if has(file, "mask") else None
    shape: tuple[int, ...] = tuple(kspace.shape[-2:])
    spacing: tuple[float, ...] = ()
    measured = None
    if protocol is not None:
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
        batch_axes=kept_axes(("slice",), part),
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
