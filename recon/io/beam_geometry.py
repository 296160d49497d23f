"""CT geometries and grids as names and numbers, for files that keep them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...kernels.ct import geometry as beams
from ...kernels.ct.geometry import Geometry, VolumeGrid
from .errors import FormatError

# Units of length in files.
TO_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "nm": 1e-6}

_KINDS: dict[str, type[Any]] = {
    "parallel": beams.ParallelBeam,
    "fan": beams.FanBeam,
    "cone": beams.ConeBeam,
    "helical": beams.HelicalBeam,
    "modular": beams.ModularBeam,
}


def fields_of(value: Geometry | VolumeGrid) -> dict[str, Any]:
    """Constructor arguments of a geometry or grid; arrays as NumPy."""
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}


def kind_of(geometry: Geometry) -> str:
    """Name of a geometry's class in files: parallel, fan, cone, helical or modular."""
    for name, kind in _KINDS.items():
        if type(geometry) is kind:
            return name
    raise ValueError(f"no file format here keeps a {type(geometry).__name__}")


def make_geometry(kind: str, values: Mapping[str, Any], place: str) -> Geometry:
    """Make a geometry of its kind's name and constructor arguments; other values are ignored.

    Raises
    ------
    FormatError
        An unknown kind, missing or unfit values.
    """
    if kind not in _KINDS:
        raise FormatError(None, place, f"is {kind!r}, expected one of {', '.join(_KINDS)}")
    geometry: Geometry = _made(_KINDS[kind], values, place)
    return geometry


def arguments_of(kind: str) -> tuple[str, ...]:
    """Names that a kind of geometry takes; none for an unknown kind."""
    return (
        tuple(f.name for f in dataclasses.fields(_KINDS[kind]) if f.init) if kind in _KINDS else ()
    )


def make_grid(values: Mapping[str, Any], place: str) -> VolumeGrid:
    """Make a grid of its constructor arguments.

    Raises
    ------
    FormatError
        Missing or unfit values.
    """
    grid: VolumeGrid = _made(VolumeGrid, values, place)
    return grid


def _made(kind: type[Any], values: Mapping[str, Any], place: str) -> Any:
    wanted = [f for f in dataclasses.fields(kind) if f.init]
    given = {f.name: _plain(values[f.name]) for f in wanted if f.name in values}
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise FormatError(None, place, f"makes no {kind.__name__}: {error}") from error


def _plain(value: Any) -> Any:
    """Numbers and text as Python's own, arrays as they are."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else value
