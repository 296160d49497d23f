"""Varian's cone beams: OBI (.hnd with ProjectionInfo.xml) and TrueBeam (.xim with Scan.xml).

Source angles and detector offsets are taken as RTK takes them. Readings without object come from
``Calibrations/AIR-*`` (TrueBeam), scaled by the norm chamber, or are given as `blank`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...scan import CTScan
from ..errors import FormatError, format_errors
from ..frames import files_like
from ..panel_geometry import Panel, PanelViews, centred_panel, panel_geometry
from ..raw_file import Part, RawFile
from ..sniffing import start_of
from ..varian_images import Projection, read_projection
from ..xml_values import number_in, read_xml, values_in

NAME = "Varian cone beam"
_START = 1 << 16
_EMPTY = 16  # projections at the start of a turn that may be empty


@dataclass(frozen=True)
class _Kind:
    """How one of the two systems says things."""

    suffix: str
    isocenter: str
    detector: str


_OBI = _Kind(".hnd", "CalibratedSAD", "CalibratedSID")
_TRUEBEAM = _Kind(".xim", "SAD", "SID")


def matches(path: Path) -> bool:
    """Whether an XML file has the distances of either system near its start."""
    start = start_of(path, _START)
    if b"<" not in start[:64]:
        return False
    return b"<CalibratedSAD>" in start or (b"<SAD>" in start and b"<SID>" in start)


def open_file(path: Path, blank: float | None = None) -> RawFile:
    """Look at the XML file and the first projection.

    Parameters
    ----------
    path
        ProjectionInfo.xml or Scan.xml, or its folder.
    blank
        What the detector reads without object; RTK takes 139000 for OBI. Default: from the air
        calibration beside.
    """
    said = values_in(read_xml(path))
    kind = _OBI if _OBI.isocenter in said else _TRUEBEAM
    files = _projections(path, kind)
    header: dict[str, Any] = {"format": NAME}
    distances = {name: number_in(said, name) for name in (kind.isocenter, kind.detector)}
    facts: dict[str, Any] = {
        **header, "system": "TrueBeam" if kind is _TRUEBEAM else "OBI", "views": len(files),
        "source": f"{distances[kind.isocenter]:g} of {distances[kind.detector]:g} mm",
    }  # fmt: skip
    missing = []
    size = 0
    if not files:
        missing.append(f"projections *{kind.suffix}")
    else:
        first = _first_with_pixels(files)
        rows, columns = first.readings.shape
        size = 4 * len(files) * rows * columns
        facts["frame"] = f"{rows} x {columns}"
        for name in ("KiloVolts", "KVKiloVolts"):
            if first.numbers.get(name):
                header["kvp"] = facts["kvp"] = first.numbers[name]
    air = _air(path, kind)
    if blank is None and air is None:
        missing.append("what the detector reads without object: blank=, or Calibrations/AIR-*")

    def take(part: Part) -> CTScan:
        white = air if blank is None else blank
        if missing or white is None:
            raise FormatError(path, "", f"lacks {'; '.join(missing)}")
        return _read(path, files, kind, said, white, header)

    return RawFile(NAME, {}, size, facts, take, tuple(missing))


def _first_with_pixels(files: Sequence[Path]) -> Projection:
    """Header of the first projection that is not empty, as TrueBeam's at the ends of a turn are."""
    found = read_projection(files[0], pixels=False)
    for file in files[1:_EMPTY]:
        if found.readings.size:
            break
        found = read_projection(file, pixels=False)
    return found


def _projections(path: Path, kind: _Kind) -> list[Path]:
    """Beside the XML file, else in the folders where the systems put them; first of those only."""
    folders = [path.parent, *sorted(path.parent.glob("Acquisitions/*")), *sorted(
        path.parent.glob("Scan*"))]  # fmt: skip
    for folder in folders:
        if folder.is_dir() and any(folder.glob(f"*{kind.suffix}")):
            return files_like(folder, f"*{kind.suffix}")
    return []


def _air(path: Path, kind: _Kind) -> Path | None:
    if kind is _OBI:
        return None
    found = sorted(path.parent.glob("Calibrations/A[Ii][Rr]-*/**/Filter*.xim"))
    root = path.parent.resolve()
    return next((file for file in found if file.resolve().is_relative_to(root)), None)


def _read(
    path: Path,
    files: Sequence[Path],
    kind: _Kind,
    said: dict[str, str],
    air: Path | float,
    header: dict[str, Any],
) -> CTScan:
    frames: list[NDArray[np.float32]] = []
    told: list[Mapping[str, float]] = []
    for file in files:
        view = read_projection(file)
        if not view.readings.size:  # TrueBeam's empty frames at the ends of a turn
            continue
        if frames and view.readings.shape != frames[0].shape:
            raise FormatError(
                file, "size", f"is {view.readings.shape}, of the first {frames[0].shape}"
            )
        with format_errors(file):
            frames.append(_normed(view))
        told.append(view.numbers)
    if not frames:
        raise FormatError(path, "", "has no projections with pixels")
    with format_errors(files[0]):
        panel = _panel(told[0], frames[0].shape, kind)
    with format_errors(path):
        geometry = panel_geometry(_views(told, kind, said), panel)
    if isinstance(air, Path):
        reading = read_projection(air)
        if reading.readings.shape != frames[0].shape:
            raise FormatError(air, "size", f"is {reading.readings.shape}")
        blank = torch.from_numpy(_normed(reading))
    else:
        blank = torch.tensor(float(air))
        if kind is _TRUEBEAM:
            blank = blank / float(np.median([_chamber(view) for view in told]))
    counts = torch.from_numpy(np.stack(frames))
    return CTScan(counts=counts, blank=blank, geometry=geometry, header=header)


def _normed(view: Projection) -> NDArray[np.float32]:
    """Readings over what the norm chamber read meanwhile (TrueBeam)."""
    return view.readings.astype(np.float32) / np.float32(_chamber(view.numbers))


def _chamber(numbers: Mapping[str, float]) -> float:
    value = numbers.get("KVNormChamber", 0.0)
    return value if value > 0 else 1.0


def _panel(numbers: Mapping[str, float], shape: tuple[int, ...], kind: _Kind) -> Panel:
    scale = 1.0 if kind is _OBI else 10.0  # .xim counts in cm
    height, width = (
        scale * _number(numbers, name) for name in ("PixelHeight", "PixelWidth")
    )  # fmt: skip
    if not (0 < height < 1e3 and 0 < width < 1e3):
        raise FormatError(None, "PixelWidth, PixelHeight", f"are {width:g}, {height:g} mm")
    return centred_panel((shape[0], shape[1]), (height, width))


def _views(told: list[Mapping[str, float]], kind: _Kind, said: dict[str, str]) -> PanelViews:
    count = len(told)
    zero, one = np.zeros(count), np.ones(count)
    if kind is _OBI:
        angle = np.array([_number(view, "Angle") for view in told])
        lateral = number_in(said, "CalibratedDetectorOffsetX", 0.0)
        if said.get("FanType") == "HalfFan":
            lateral += number_in(said, "DetectorPosLat", 0.0)
        x, y = lateral * one, number_in(said, "CalibratedDetectorOffsetY", 0.0) * one
    else:
        angle = 180.0 - np.array([_number(view, "KVSourceRtn") for view in told])
        x, y = (
            10.0 * np.array([view.get(name, 0.0) for view in told])
            for name in ("KVDetectorLat", "KVDetectorLng")
        )
    isocenter, detector = (number_in(said, name) for name in (kind.isocenter, kind.detector))
    return PanelViews(angle, isocenter * one, detector * one, x, y, zero, zero, zero, zero)


def _number(numbers: Mapping[str, float], name: str) -> float:
    value = numbers.get(name)
    if value is None or not np.isfinite(value) or abs(value) > 1e6:
        raise FormatError(None, name, f"is {value}, expected a number")
    return value
