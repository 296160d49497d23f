"""Zeiss Xradia scans (.txrm): streams in an OLE container, read by olefile.

Angles count in degrees, distances in mm, the pixel in micrometres at the sample. The sense of the
turn (the sample counter-clockwise as seen from above) and the rows (upward) are those that the
Core Imaging Library takes; no file was at hand that shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....kernels.ct.geometry import Geometry
from ...extras import extra_library
from ...scan import CTScan
from ..beam_geometry import make_geometry
from ..errors import FormatError, format_errors
from ..raw_file import Part, RawFile
from ..sniffing import start_of

NAME = "Zeiss TXRM"
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_TYPES: dict[int, np.dtype[Any]] = {3: np.dtype("u1"), 5: np.dtype("<u2"), 10: np.dtype("<f4")}
_LARGEST_COUNT = 1 << 17
_LARGEST_SIDE = 1 << 15
_FRAMES_A_FOLDER = 100
_REFERENCES = ("ReferenceData", "MultiReferenceData")


def matches(path: Path) -> bool:
    """Whether a file is an OLE container by its first bytes, as no other format here is."""
    return start_of(path, len(_OLE)) == _OLE


def open_file(path: Path, blank: float | None = None) -> RawFile:
    """Look at what was scanned, without its frames.

    Parameters
    ----------
    path
        The file.
    blank
        What the detector reads without sample. Default: the reference in the file.
    """
    with _opened(path) as ole:
        shape = _shape(ole)
        geometry = _geometry(ole, shape)
        dtype = _type(ole, "ImageInfo/DataType")
        reference = _reference(ole)
        header: dict[str, Any] = {"format": NAME}
        voltage = _numbers(ole, "ImageInfo/Voltage", "<f4")
        if voltage.size and 0 < float(voltage[0]) < 1e3:
            header["kvp"] = float(voltage[0])
        facts = {
            **header, "views": shape[0], "frame": f"{shape[1]} x {shape[2]} {dtype}",
            "geometry": repr(geometry),
            "reference": reference or "not in the file",
        }  # fmt: skip
        for fact, name in (("center shift (pixels)", "ReconSettings/CenterShift"),
                           ("current (uA)", "ImageInfo/Current")):  # fmt: skip
            if (value := _numbers(ole, name, "<f4")).size:
                facts[fact] = f"{float(value[0]):.4g}"
    missing = []
    if blank is None and reference is None:
        missing.append("what the detector reads without sample: blank=")

    def take(part: Part) -> CTScan:
        if missing:
            raise FormatError(path, "", f"lacks {missing[0]}")
        with _opened(path) as ole:
            counts = _frames(ole, shape, dtype)
            white = np.float32(blank or 0) if blank is not None else _white(ole, shape)
            counts = _aligned(counts, ole)
        return CTScan(
            counts=torch.from_numpy(counts), blank=torch.from_numpy(np.array(white)),
            geometry=geometry, header=header,
        )  # fmt: skip

    return RawFile(NAME, {}, 4 * int(np.prod(shape)), facts, take, tuple(missing))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    olefile = extra_library("olefile", "vendors")
    with format_errors(path, "OLE"):
        ole = olefile.OleFileIO(str(path), raise_defects=olefile.DEFECT_INCORRECT)
        try:
            yield ole
        finally:
            ole.close()


def _numbers(ole: Any, name: str, dtype: str, count: int = 1) -> NDArray[Any]:
    """The first numbers of a stream; none where it is missing or shorter."""
    size = np.dtype(dtype).itemsize * count
    if not ole.exists(name) or ole.get_type(name) != 2 or ole.get_size(name) < size:
        return np.empty(0, dtype)
    return np.frombuffer(ole.openstream(name).read(size), dtype)


def _number(ole: Any, name: str, dtype: str = "<i4") -> float:
    found = _numbers(ole, name, dtype)
    if not found.size or not np.isfinite(found[0]):
        raise FormatError(None, name, "missing")
    return float(found[0])


def _shape(ole: Any) -> tuple[int, int, int]:
    taken = _numbers(ole, "ImageInfo/ImagesTaken", "<i4")
    views = float(taken[0]) if taken.size and taken[0] > 0 else _number(ole, "ImageInfo/NoOfImages")
    rows, columns = (_number(ole, f"ImageInfo/Image{side}") for side in ("Height", "Width"))
    if not (0 < views <= _LARGEST_COUNT and 0 < rows <= _LARGEST_SIDE >= columns > 0):
        raise FormatError(None, "ImageInfo", f"{views:g} frames of {rows:g} x {columns:g} pixels")
    return int(views), int(rows), int(columns)


def _type(ole: Any, name: str) -> np.dtype[Any]:
    code = int(_number(ole, name))
    if code not in _TYPES:
        raise FormatError(None, name, f"is {code}, expected {', '.join(map(str, _TYPES))}")
    return _TYPES[code]


def _geometry(ole: Any, shape: tuple[int, int, int]) -> Geometry:
    """A cone beam; the parallel rays of nano-CT are refused."""
    beam = _numbers(ole, "ImageInfo/XrayGeometry", "<i4")
    if beam.size and int(beam[0]) == 0:
        raise FormatError(None, "XrayGeometry", "is 0: parallel rays (nano-CT) are not read")
    angles = _numbers(ole, "ImageInfo/Angles", "<f4", shape[0]).astype(np.float64)
    if len(angles) != shape[0] or not np.isfinite(angles).all():
        raise FormatError(None, "ImageInfo/Angles", f"holds no {shape[0]} angles")
    source, detector = (
        abs(_number(ole, f"ImageInfo/{end}toRADistance", "<f4")) for end in ("S", "D")
    )
    pixel = _number(ole, "ImageInfo/PixelSize", "<f4") * 1e-3
    if not (source > 0 and detector > 0 and pixel > 0):
        raise FormatError(
            None, "ImageInfo", f"distances {source:g} and {detector:g} mm, pixel {pixel:g} mm"
        )
    on_detector = pixel * (source + detector) / source
    values = {
        "angles": np.deg2rad(np.mod(-angles, 360.0)), "rows": shape[1], "columns": shape[2],
        "row_spacing": on_detector, "column_spacing": on_detector,
        "source_to_isocenter": source, "source_to_detector": source + detector,
    }  # fmt: skip
    return make_geometry("cone", values, "ImageInfo")


def _frames(ole: Any, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    size = shape[1] * shape[2] * dtype.itemsize
    names = [f"ImageData{i // _FRAMES_A_FOLDER + 1}/Image{i + 1}" for i in range(shape[0])]
    for name in names:  # before memory is taken for them
        if not ole.exists(name) or ole.get_size(name) != size:
            raise FormatError(None, name, f"missing, or not of {size} bytes")
    frames = np.empty(shape, np.float32)
    for view, name in enumerate(names):
        frames[view] = np.frombuffer(ole.openstream(name).read(), dtype).reshape(shape[1:])
    return frames


def _reference(ole: Any) -> str | None:
    """The stream of the reading without sample, or of the first of several."""
    for folder in _REFERENCES:
        for name in (f"{folder}/Image", f"{folder}/Image1"):
            if ole.exists(name) and ole.get_type(name) == 2:
                return name
    return None


def _white(ole: Any, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The reference, the mean of several."""
    name = _reference(ole)
    assert name is not None
    folder, stem = name.split("/")
    kind = _type(ole, f"{folder}/DataType")
    numbered = [f"{folder}/Image{i + 1}" for i in range(_FRAMES_A_FOLDER)]
    total = np.zeros(shape[1:], np.float64)
    present = [name] if stem == "Image" else [s for s in numbered if ole.exists(s)]
    for stream in present:
        content = ole.openstream(stream).read(int(np.prod(shape[1:])) * kind.itemsize)
        if len(content) != total.size * kind.itemsize:
            raise FormatError(
                None, stream, f"holds {len(content)} bytes, expected {shape[1:]} {kind}"
            )  # fmt: skip
        total += np.frombuffer(content, kind).reshape(shape[1:])
    return (total / len(present)).astype(np.float32)


def _aligned(frames: NDArray[np.float32], ole: Any) -> NDArray[np.float32]:
    """Frames moved by the shifts that the scanner measured, in pixels along columns and rows."""
    from scipy import ndimage

    shifts = [
        _numbers(ole, name, "<f4", len(frames))
        for name in ("alignment/y-shifts", "alignment/x-shifts")
    ]
    if any(len(values) != len(frames) or not np.isfinite(values).all() for values in shifts):
        return frames
    largest = max(frames.shape[1:])
    for view, shift in enumerate(zip(*shifts, strict=True)):
        if any(shift) and max(map(abs, shift)) < largest:
            frames[view] = ndimage.shift(frames[view], shift, order=1, mode="nearest")
    return frames
