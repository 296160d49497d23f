"""MATLAB files, version 5 and 7.3 (HDF5): k-space in a variable, as CMRxRecon's.

MATLAB's first index is the fastest: ``(x, y, coil, slice, time)`` becomes our
``(time, slice, coil, y, x)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...arrays import as_tensor
from ...scan import MRScan
from ..array_file import broadcast_part
from ..errors import FormatError
from ..hdf5 import dataset, looks_like, number_kind, open_hdf5, read_array
from ..matlab_v5 import is_matlab_v5, read_variable, variables
from ..raw_file import Part, RawFile, index_of, kept_axes
from ..sniffing import start_of

NAME = "MATLAB"
_NAMES = ("kspace", "kdata", "ksp", "data", "rawdata", "raw", "k")  # tried before all others
_MASKS = ("mask", "us_mask", "sampling_mask")
_AXES = {"x", "y", "z", "coil", "slice", "time", "repetition", "contrast", "phase", "set",
         "average"}  # fmt: skip
# What each number of dimensions means, in MATLAB's order; CMRxRecon's are the last two.
_DEFAULT_AXES = {
    2: ("x", "y"),
    3: ("x", "y", "coil"),
    4: ("x", "y", "coil", "slice"),
    5: ("x", "y", "coil", "slice", "time"),
}


def matches(path: Path) -> bool:
    """Whether a file is MATLAB's: version 5 by its text, 7.3 by HDF5 after MATLAB's text."""
    if is_matlab_v5(path):
        return True
    return start_of(path, 128).startswith(b"MATLAB 7.3") and looks_like(path, lambda file: True)


def open_file(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    image_shape: tuple[int, ...] | None = None,
    spacing: tuple[float, ...] | None = None,
) -> RawFile:
    """Look at the k-space in a file.

    Parameters
    ----------
    path
        The file. Objects, functions and links to other files are refused.
    variable
        Name of the k-space. Default: ``kspace...``, else the largest complex array.
    axes
        What its dimensions are, in MATLAB's order, such as ``"x y z coil"``; of x, y, z, coil,
        slice, time, repetition, contrast, phase, set, average. Default: x, y, coil, slice, time.
    image_shape
        ``([z,] y, x)``. Default: the k-space matrix.
    spacing
        Voxel size in mm, ``([z,] y, x)``.
    """
    is_hdf5 = not is_matlab_v5(path)
    shapes = _hdf5_shapes(path) if is_hdf5 else _v5_shapes(path)
    name = _chosen(shapes, variable)
    shape = shapes[name]
    names = _axis_names(axes, len(shape), name)
    sizes = dict(zip(names, shape, strict=True))
    batch = tuple(axis for axis in reversed(names) if axis not in ("x", "y", "z", "coil"))
    mask_name = next((n for n in shapes if n.lower() in _MASKS or n.lower().startswith("mask")), "")

    def take(part: Part) -> MRScan:
        read = _read_hdf5 if is_hdf5 else _read_v5
        stored = tuple(reversed(names))
        index = index_of(stored, part)
        kspace = _ordered(read(path, name, index), kept_axes(stored, part))
        mask = None
        if mask_name and mask_name != name:
            counts = tuple(sizes[axis] for axis in batch)
            ndim = 3 if "z" in names else 2
            mask = _mask(read(path, mask_name, ()), counts, kspace.shape[-ndim:])
            if mask is not None and mask.ndim > ndim:
                mask = broadcast_part(mask, index_of(batch, part))
        shape_of_image = image_shape or kspace.shape[-3 if "z" in names else -2 :]
        return MRScan(
            kspace=as_tensor(kspace),
            mask=None if mask is None else as_tensor(mask),
            image_shape=tuple(shape_of_image),
            spacing=tuple(spacing or ()),
            batch_axes=kept_axes(batch, part),
            header={"format": NAME, "variable": name},
        )

    facts = {
        "format": f"{NAME} {'7.3' if is_hdf5 else '5'}",
        "variable": name,
        "dimensions": " x ".join(f"{n} {axis}" for axis, n in sizes.items()),
        "variables": ", ".join(shapes),
        "coils": sizes.get("coil", 1),
    }
    return RawFile(
        format=NAME,
        axes={axis: sizes[axis] for axis in batch},
        size=8 * int(np.prod(shape, dtype=object)),
        facts=facts,
        take=take,
        missing=() if spacing else ("voxel size: 1 mm assumed; spacing= gives it",),
    )


def _chosen(shapes: Mapping[str, tuple[int, ...]], variable: str | None) -> str:
    known = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
    if variable is not None:
        if variable not in shapes:
            raise FormatError(None, variable, f"no such array of numbers; there are {known}")
        return variable
    candidates = [name for name, shape in shapes.items() if 2 <= len(shape) <= 5]
    named = [n for n in candidates if n.lower().startswith(_NAMES[0])]
    named += [n for start in _NAMES for n in candidates if n.lower() == start]
    largest = sorted(candidates, key=lambda n: -int(np.prod(shapes[n], dtype=object)))
    found = [*named, *largest]
    if not found:
        raise FormatError(None, "", f"holds no k-space; its arrays: {known}")
    return found[0]


def _axis_names(axes: str | None, count: int, name: str) -> tuple[str, ...]:
    if axes is None:
        if count not in _DEFAULT_AXES:
            raise FormatError(None, name, f"has {count} dimensions: axes= says what they are")
        return _DEFAULT_AXES[count]
    names = tuple(axes.replace(",", " ").split())
    if len(names) != count or not set(names) <= _AXES or len(set(names)) < count:
        raise ValueError(
            f"axes must name the {count} dimensions of {name} once each, of "
            f"{', '.join(sorted(_AXES))}; got {axes!r}"
        )
    if not {"x", "y"} <= set(names):
        raise ValueError(f"axes must have x and y, got {axes!r}")
    return names


def _ordered(array: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.complexfloating[Any]]:
    """Bring stored axes to ``(*batch, coil, [z,] y, x)``."""
    if array.dtype.kind != "c":
        array = array.astype(np.complex64)
    if "coil" not in names:
        array, names = array[None], ("coil", *names)
    last = [axis for axis in ("coil", "z", "y", "x") if axis in names]
    order = [*(a for a in names if a not in last), *last]
    return np.ascontiguousarray(array.transpose([names.index(axis) for axis in order]))


def _mask(
    stored: NDArray[Any], batch: tuple[int, ...], matrix: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """A mask alike for all, or one for each item of the first batch axis; others count as none.

    `matrix` is that of k-space, ``([z,] y, x)``; masks of a plane stand for all of a volume.
    """
    mask = np.asarray(stored != 0)
    while mask.ndim > len(matrix) and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim == 2 and len(matrix) == 3:
        mask = mask[None]
    if mask.shape[-2:] != matrix[-2:]:
        return None
    if mask.ndim == len(matrix) + 1 and batch and mask.shape[0] == batch[0]:
        return mask.reshape(batch[0], *[1] * (len(batch) - 1), *mask.shape[1:])
    return mask if mask.ndim == len(matrix) and mask.shape[0] in (1, matrix[0]) else None


def _hdf5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with open_hdf5(path) as file:
        found = {}
        for name in file:
            link = file.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                continue
            node = file[name]
            if isinstance(node, h5py.Dataset) and number_kind(node) in "cfiu":
                found[str(name)] = tuple(reversed(dataset(file, name).shape))
        return found


def _read_hdf5(path: Path, name: str, index: tuple[int | slice, ...]) -> NDArray[Any]:
    with open_hdf5(path) as file:
        return read_array(file, name, "cfiu", index)


def _v5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {known.name: known.shape for known in variables(path) if known.is_numeric}


def _read_v5(path: Path, name: str, index: tuple[int | slice, ...]) -> NDArray[Any]:
    array = read_variable(path, name)
    if not isinstance(array, np.ndarray):
        raise FormatError(None, name, "holds no numbers")
    reversed_axes = array.transpose()
    return np.asarray(reversed_axes[index]) if index else reversed_axes
