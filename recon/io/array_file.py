"""Raw files that hold arrays by name: NumPy, MATLAB, Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..scan import CTScan, MRScan
from .beam_geometry import make_geometry
from .errors import FormatError
from .raw_file import Part, RawFile, index_of, kept_axes

_MR = ("kspace", "mask", "trajectory", "noise", "image_shape", "spacing", "affine", "batch_axes",
       "readout_length")  # fmt: skip
_CT = ("sinogram", "counts", "blank", "dark", "slice_spacing")


def array_file(arrays: Mapping[str, Any], name: str, given: Mapping[str, Any]) -> RawFile:
    """A raw file of arrays named as the arguments of `MRScan`, or of `CTScan` and a geometry.

    Parameters
    ----------
    arrays
        By name; k-space may lie in the file (anything that NumPy's indexing reads).
    name
        Of the format.
    given
        Arguments that take the place of the file's.
    """
    if "kspace" not in arrays:
        return _ct(arrays, name)
    kspace = arrays["kspace"]
    if kspace.dtype.kind != "c":
        raise FormatError(None, "kspace", f"is {kspace.dtype}, expected complex")
    fields: dict[str, Any] = {key: arrays[key] for key in _MR if key in arrays and key != "kspace"}
    for key in ("image_shape", "spacing"):
        fields[key] = tuple(given.get(key, np.ravel(fields.get(key, ())).tolist()))
    names = tuple(map(str, np.ravel(fields.pop("batch_axes", ()))))
    if "readout_length" in fields:
        fields["readout_length"] = int(np.ravel(fields["readout_length"])[0])
    data_ndim = 1 if "trajectory" in arrays else len(fields["image_shape"] or (0, 0))
    count = max(kspace.ndim - data_ndim - 1, 0)
    axes = names if len(names) == count else unnamed_axes(count)

    def take(part: Part) -> MRScan:
        index = index_of(axes, part)
        chosen = {key: native(value) for key, value in fields.items()}
        chosen["kspace"] = native(kspace[index])
        if "trajectory" not in arrays and kspace.ndim == 2:
            chosen["kspace"] = chosen["kspace"][None]
        for key, own in (("mask", data_ndim), ("trajectory", 2)):
            if key in arrays and arrays[key].ndim > own:
                own_index = index[count - (arrays[key].ndim - own) :]
                chosen[key] = native(broadcast_part(arrays[key], own_index))
        batch = kept_axes(axes, part) if names else ()
        return MRScan(**chosen, batch_axes=batch, header={"format": name})

    return RawFile(
        format=name,
        axes=dict(zip(axes, kspace.shape, strict=False)),
        size=kspace.size * kspace.dtype.itemsize,
        facts={"format": name},
        take=take,
    )


def unnamed_axes(count: int) -> tuple[str, ...]:
    """Names of batch axes for files that do not name theirs."""
    return ("batch",) if count == 1 else tuple(f"batch{i}" for i in range(count))


def native(array: Any) -> Any:
    """An array in memory and in native byte order; other things as they are."""
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        return array
    array = np.array(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def broadcast_part(array: Any, index: tuple[int | slice, ...]) -> Any:
    """Index the batch axes of an array whose axes of length 1 stand for all items."""
    own = [
        items if n > 1 else (slice(None) if isinstance(items, slice) else 0)
        for items, n in zip(index, array.shape, strict=False)
    ]
    return array[tuple(own)]


def _ct(arrays: Mapping[str, Any], name: str) -> RawFile:
    key = "sinogram" if "sinogram" in arrays else "counts"
    data = arrays[key]
    if data.ndim < 2:
        raise FormatError(None, key, f"has shape {data.shape}, expected (view, column)")

    def take(part: Part) -> CTScan:
        values = {key: native(value) for key, value in arrays.items()}
        kind = str(values.get("geometry", "parallel"))
        sizes = {"columns": data.shape[-1], "rows": data.shape[-2]}
        geometry = make_geometry(kind, {**sizes, **values}, "geometry")
        fields: dict[str, Any] = {key: values[key] for key in _CT if key in values}
        if "slice_spacing" in fields:
            fields["slice_spacing"] = float(fields["slice_spacing"])
        return CTScan(**fields, geometry=geometry, header={"format": name})

    missing = []
    if "angles" not in arrays:
        missing.append("view angles: an array named angles, in radians")
    if key == "counts" and "blank" not in arrays:
        missing.append("readings without object: an array named blank")
    return RawFile(
        format=name,
        axes={},
        size=data.size * 4,
        facts={"format": name, "views": data.shape[-2]},
        take=take,
        missing=tuple(missing),
    )
