"""BART's cfl/hdr pairs: complex64, 16 dimensions, first index fastest (https://mrirecon.github.io/bart)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....kernels.warn import warn
from ...scan import MRScan
from ..atomic import atomic
from ..errors import FormatError, format_errors
from ..raw_file import Part, RawFile
from ..sniffing import start_of
from ..trajectory import wrapped

NAME = "BART cfl"

_MAGIC = b"# Dimensions"
_LARGEST_HEADER = 1 << 20  # bytes
_COIL = 3
# BART's dimensions after the coils, as batch axes; slices stand last in ours.
_BATCH = {
    4: "map", 5: "contrast", 6: "coefficient", 7: "coefficient2", 8: "iteration", 9: "shift",
    10: "repetition", 11: "phase", 12: "level", 13: "slice", 14: "average", 15: "batch",
}  # fmt: skip
_BATCH_ORDER = (15, 14, 12, 9, 8, 7, 6, 4, 10, 11, 5, 13)
_FREE = (10, 11, 5, 15, 9, 8)  # where batch axes of other names go


def matches(path: Path) -> bool:
    """Whether the file, or the header beside it, starts as BART's headers do.

    A cfl without its header is BART's too: there is nothing else to tell it by.
    """
    header = path.with_suffix(".hdr")
    if not path.is_file():
        return False
    is_header = start_of(header, len(_MAGIC)) == _MAGIC
    return is_header or (path.suffix == ".cfl" and not header.exists())


def open_file(
    path: Path,
    trajectory: str | PathLike[str] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> RawFile:
    """Look at k-space: dimensions 0, 1, 2 are x, y, z; spatial ones of size 1 are dropped.

    Parameters
    ----------
    path
        The .cfl or the .hdr.
    trajectory
        cfl of a non-Cartesian scan's trajectory in 1/FOV: 3 x readout x spokes. Default:
        ``<name>_traj.cfl`` if there is one.
    image_shape
        ``([z,] y, x)``. Default: twice the trajectory's reach; all of a Cartesian k-space.
    """
    data, sizes = read_cfl(path)
    beside = path.with_name(f"{path.stem}_traj.hdr")
    if trajectory is None and data.shape[-1] == 1 and beside.is_file():
        trajectory = beside
    header = {"format": NAME, "bart_dimensions": sizes}
    dims = _batch_dimensions(data)
    missing: tuple[str, ...] = ()
    if trajectory is None and data.shape[-1] == 1 and data.shape[-2] > 1:
        missing = (
            "trajectory=, if this is no Cartesian slice: samples lie along dimensions 1 and 2",
        )

    def take(part: Part) -> MRScan:
        index = [slice(None)] * 16
        for d in dims:
            items = part.get(_BATCH[d], slice(None))
            index[15 - d] = items if isinstance(items, slice) else slice(items, items + 1)
        chosen = data[tuple(index)]
        if trajectory is not None:
            fields = _samples(chosen, tuple(index), Path(trajectory), image_shape)
        else:
            fields = _grid(chosen)
            if image_shape is not None:
                fields["image_shape"] = image_shape
        return MRScan(**fields, header=header)

    return RawFile(
        format=NAME,
        axes={_BATCH[d]: data.shape[15 - d] for d in dims},
        size=8 * data.size,
        facts={**header, "coils": data.shape[15 - _COIL]},
        take=take,
        missing=missing,
    )


def read_cfl(path: Path) -> tuple[NDArray[np.complex64], tuple[int, ...]]:
    """A pair as a 16-dimensional array in the file, BART's dimension 0 last."""
    dimensions = _dimensions(path.with_suffix(".hdr"))
    data = path.with_suffix(".cfl")
    size = 8 * int(np.prod(dimensions, dtype=object))
    if not data.is_file():
        raise FormatError(data, "", "missing beside its header")
    stored = data.stat().st_size
    if stored != size:
        raise FormatError(
            data, "", f"holds {stored} bytes, its header declares {dimensions}: {size} bytes"
        )
    return np.memmap(data, "<c8", "r", shape=dimensions[::-1]), dimensions


def _dimensions(path: Path) -> tuple[int, ...]:
    if not path.is_file():
        raise FormatError(path, "", "missing: a cfl needs the header that says its dimensions")
    with path.open("rb") as file:
        lines = file.read(_LARGEST_HEADER).decode("ascii", "replace").splitlines()
    words = lines[1].split() if len(lines) > 1 and lines[0].strip() == _MAGIC.decode() else []
    try:
        sizes = tuple(int(word) for word in words)
    except ValueError:
        sizes = ()
    if not 1 <= len(sizes) <= 16 or min(sizes) < 1 or max(sizes) >= 1 << 40:
        found = lines[1][:60] if len(lines) > 1 else ""
        raise FormatError(path, "line 2", f"is {found!r}, expected 1 to 16 positive sizes")
    return sizes + (1,) * (16 - len(sizes))


def _grid(data: NDArray[np.complex64]) -> dict[str, Any]:
    dims = _batch_dimensions(data)
    kspace = _batch_first(data, dims)
    shape = list(kspace.shape[-3:])  # z, y, x
    while len(shape) > 2 and 1 in shape:
        shape.remove(1)
    return {
        "kspace": kspace.reshape(*kspace.shape[:-3], *shape),
        "image_shape": tuple(shape),
        "batch_axes": tuple(_BATCH[d] for d in dims),
    }


def _samples(
    data: NDArray[np.complex64],
    index: tuple[slice, ...],
    path: Path,
    image_shape: tuple[int, ...] | None,
) -> dict[str, Any]:
    with format_errors(path):
        stored, _ = read_cfl(path)
    alike = [slice(None) if n == 1 else part for n, part in zip(stored.shape, index, strict=True)]
    stored = stored[tuple(alike)]
    sizes, full = stored.shape[::-1], data.shape[::-1]
    fits = sizes[1:_COIL] == full[1:_COIL] and all(
        n in (1, m) for n, m in zip(sizes[_COIL + 1 :], full[_COIL + 1 :], strict=True)
    )
    if sizes[0] != 3 or sizes[_COIL] != 1 or full[0] != 1 or not fits:
        raise FormatError(
            path, "", f"has dimensions {sizes}, the k-space {full}: expected a trajectory 3 x "
            "readout x spokes and samples 1 x readout x spokes x coil",
        )  # fmt: skip
    if not np.isfinite(stored).all():
        raise FormatError(path, "", "holds NaN or infinity")
    dims = _batch_dimensions(data)
    kspace = _batch_first(data, dims)
    points = stored.real
    if max(sizes[_COIL:]) > 1:  # one for each item of the batch
        points = np.broadcast_to(points, (*data.shape[:-4], 1, *points.shape[-3:]))
        points = _batch_first(points, dims)
    points = points.reshape(*points.shape[:-4] if max(sizes[_COIL:]) > 1 else (), -1, 3)
    reach = np.abs(points).reshape(-1, 3).max(axis=0)[::-1]
    if image_shape is None:
        image_shape = tuple(2 * int(np.ceil(r)) for r in (reach if reach[0] > 0 else reach[1:]))
    ndim = len(image_shape)
    points = points[..., ::-1]
    outside = reach[-ndim:] > np.array(image_shape) / 2 * 1.001
    if outside.any() or reach[:-ndim].any():
        raise FormatError(
            path, "", f"reaches {reach.tolist()} (z, y, x) in 1/FOV, beyond half of the image "
            f"shape {image_shape}",
        )  # fmt: skip
    return {
        "kspace": kspace.reshape(*kspace.shape[:-3], -1),
        "trajectory": wrapped((points[..., -ndim:] / np.array(image_shape)).astype(np.float32)),
        "image_shape": image_shape,
        "readout_length": full[1],
        "batch_axes": tuple(_BATCH[d] for d in dims),
    }


def _batch_dimensions(data: NDArray[Any]) -> tuple[int, ...]:
    """BART's numbers of the dimensions that are batch axes, in our order."""
    return tuple(d for d in _BATCH_ORDER if data.shape[15 - d] > 1)


def _batch_first(array: NDArray[Any], dims: tuple[int, ...]) -> NDArray[Any]:
    """Order a reversed 16-dimensional array as (*dims, coil, dimension 2, 1, 0)."""
    kept = (*dims, 3, 2, 1, 0)
    others = [d for d in range(16) if d not in kept]
    ordered = array.transpose([15 - d for d in (*others, *kept)])
    return np.ascontiguousarray(ordered.reshape(ordered.shape[len(others) :]))


def write(scan: MRScan, path: Path) -> None:
    """Write k-space, and the trajectory beside it as ``<name>_traj.cfl``.

    Batch axes go to BART's dimensions of the same name, others to free ones. The format has no
    place for mask, spacing and orientation, nor for noise and calibration scans, which are warned
    of.

    Raises
    ------
    ValueError
        More batch axes than BART has dimensions for.
    """
    dims = _write_dimensions(scan)
    lost = ["noise samples"] * (scan.noise is not None)
    lost += ["calibration scan"] * ("calibration" in scan.header)
    if lost:
        warn(f"{path}: a cfl has no place for the {' and the '.join(lost)}: left out")
    kspace = scan.kspace.detach().cpu().numpy()
    batch = kspace.shape[: len(dims)]
    if scan.trajectory is None:
        write_cfl({path: _place(kspace, dims, batch, (1,) * (3 - scan.ndim) + scan.matrix)})
        return
    readout = scan.readout_length or kspace.shape[-1]
    spokes = kspace.shape[-1] // readout
    k = scan.trajectory.detach().cpu().numpy()
    points = np.zeros((*k.shape[:-1], 3), np.float32)
    points[..., : scan.ndim] = (k * np.array(scan.image_shape))[..., ::-1]
    batch_of_k = k.shape[:-2]
    stored = _place(points, dims if batch_of_k else (), batch_of_k, (spokes, readout, 3), coils=1)
    beside = path.with_name(f"{path.stem}_traj.cfl")
    write_cfl({beside: stored, path: _place(kspace, dims, batch, (spokes, readout, 1))})


def write_cfl(arrays: Mapping[Path, NDArray[Any]]) -> None:
    """Write reversed 16-dimensional arrays as pairs: all of them or none."""
    with ExitStack() as together:
        for path, array in arrays.items():
            sizes = " ".join(map(str, array.shape[::-1]))
            header = together.enter_context(atomic(path.with_suffix(".hdr")))
            header.write_text(f"# Dimensions\n{sizes}\n")
            data = together.enter_context(atomic(path.with_suffix(".cfl")))
            np.ascontiguousarray(array, "<c8").tofile(data)


def _write_dimensions(scan: MRScan) -> tuple[int, ...]:
    numbers = {name: d for d, name in _BATCH.items()}
    names = scan.batch_axes or ("",) * len(scan.batch_shape)
    wanted = [numbers.get(name) for name in names]
    free = iter([d for d in _FREE if d not in wanted])
    dims = [next(free, None) if d is None else d for d in wanted]
    if None in dims or len(set(dims)) < len(dims):
        raise ValueError(f"BART has no dimensions for the batch axes {names}")
    return tuple(d for d in dims if d is not None)


def _place(
    array: NDArray[Any],
    dims: tuple[int, ...],
    batch: tuple[int, ...],
    last: tuple[int, ...],
    coils: int = -1,
) -> NDArray[Any]:
    """Order ``(*batch, coil, *last)`` as a reversed 16-dimensional array."""
    array = array.reshape(*batch, coils, *last)
    order = sorted(range(len(dims)), key=lambda axis: -dims[axis])
    array = array.transpose(*order, *range(len(dims), array.ndim))
    sizes = [1] * 12
    for axis in order:
        sizes[15 - dims[axis]] = batch[axis]
    return array.reshape(*sizes, *array.shape[len(dims) :])
