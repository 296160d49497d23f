"""DICOM-CT-PD files by the words of its manual, apart from the package's own reading of them.

Everything is in the manual's left-handed frame: seen from the foot end of the table, x to the
right, y up, z into the gantry; the source stands at (-rho sin phi, rho cos phi, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

CLINICAL = {
    "rows": 16, "columns": 200, "row_width": 2.0, "column_width": 3.0, "rho": 595.0, "d": 1085.6,
    "central": (100.25, 8.0), "views": 240, "turns": 3.0, "feed": 14.0, "first_angle": 0.7,
    "first_height": -120.0, "direction": 1.0,
}  # fmt: skip


def ball(value: float, place: Sequence[float], radius: Sequence[float] | float) -> tuple[Any, ...]:
    """An ellipsoid of constant attenuation, in the manual's frame."""
    return value, np.array(place, float), np.broadcast_to(np.array(radius, float), 3)


def along(source: np.ndarray, end: np.ndarray, balls: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """Line integrals from a source to the points `end`, closed form."""
    way = end - source
    way = way / np.linalg.norm(way, axis=-1, keepdims=True)
    total = np.zeros(end.shape[:-1])
    for value, place, radius in balls:
        a, b = way / radius, (source - place) / radius
        aa, ab, bb = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
        total += value * 2 * np.sqrt(np.maximum(ab**2 - aa * (bb - 1), 0)) / aa
    return total


def detector(at: dict[str, Any], phi: float, z: float, cells: int = 1) -> np.ndarray:
    """Places of all elements ``(row, column * cells, 3)`` of a cylindrical detector."""
    row = np.arange(1, at["rows"] + 1)
    column = (np.arange(at["columns"] * cells) + 0.5) / cells + 0.5
    x0, y0 = at["central"]
    # Row 1 is the farthest, column 1 the leftmost with the detector at 6 o'clock.
    height = z + (y0 - row) * at["row_width"]
    turn = (column - x0) * at["column_width"] / at["d"]
    focus = at["rho"] * np.array([-np.sin(phi), np.cos(phi)])
    inward = np.array([np.sin(phi), -np.cos(phi)])  # from the focus to the isocentre
    # Seen from the focus at phi = 0 the columns run to the right (+x).
    beside = np.array([np.cos(phi), np.sin(phi)])
    flat = focus + at["d"] * (
        np.cos(turn)[:, None] * inward + np.sin(turn)[:, None] * beside
    )  # fmt: skip
    places = np.empty((len(row), len(column), 3))
    places[..., :2], places[..., 2] = flat, height[:, None]
    return places


def write_scan(
    folder: Path,
    balls: Sequence[tuple[Any, ...]],
    spots: Sequence[tuple[float, float, float]] = ((0.0, 0.0, 0.0),),
    *,
    cells: int = 3,
    transposed: bool = False,
    implicit: bool = False,
    photons: Sequence[float] | None = None,
    shuffled: bool = False,
    header: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a helical scan of ellipsoids; `spots` are (angle, z, outward) shifts in turn."""
    at = {**CLINICAL, **changes}
    count = round(at["views"] * at["turns"])
    series = generate_uid()
    rng = np.random.default_rng(0)
    names = rng.permutation(count) if shuffled else np.arange(count)
    for view in range(count):
        phi = at["first_angle"] + at["direction"] * 2 * np.pi * view / at["views"]
        z = at["first_height"] + at["feed"] * view / at["views"]
        turn, climb, outward = spots[view % len(spots)]
        rho = at["rho"] + outward
        source = np.array([-rho * np.sin(phi + turn), rho * np.cos(phi + turn), z + climb])
        lines = along(source, detector(at, phi, z, cells), balls)
        lines = -np.log(np.exp(-lines).reshape(at["rows"], at["columns"], cells).mean(-1))
        stored = np.rint((lines + 0.1) / 2e-4).astype(np.uint16)
        d = _dataset(series, implicit)
        d.InstanceNumber = view + 1
        d.PatientPosition = "HFS"
        d.KVP = 120
        for name, value in (header or {}).items():
            setattr(d, name, value)
        pixels = stored.T if transposed else stored
        d.Rows, d.Columns = pixels.shape
        d.PixelData = np.ascontiguousarray(pixels).tobytes()
        d.RescaleSlope, d.RescaleIntercept = "2e-4", "-0.1"
        floats = {
            0x70291002: at["column_width"], 0x70291006: at["row_width"],
            0x70311001: np.mod(phi, 2 * np.pi), 0x70311002: z, 0x70311003: at["rho"],
            0x70311031: at["d"], 0x70311033: list(at["central"]),
            0x7033100B: turn, 0x7033100C: climb, 0x7033100D: outward,
        }  # fmt: skip
        if photons is not None:
            floats[0x70331065] = [float(p) for p in photons]
        for tag, value in floats.items():
            d.add_new(tag, "FL", value)
        words = {0x7029100B: "CYLINDRICAL", 0x7033100E: "FFSNONE" if len(spots) == 1 else "FFSZ",
                 0x70371009: "HELICAL", 0x7037100A: "FANBEAM", 0x70391003: "YES",
                 0x70391009: "YES"}  # fmt: skip
        for tag, word in words.items():
            d.add_new(tag, "CS", word)
        for tag, number in ((0x70291010, at["rows"]), (0x70291011, at["columns"]),
                            (0x70331013, at["views"])):  # fmt: skip
            d.add_new(tag, "US", number)
        d.add_new(0x70411001, "DS", "0.0192")
        d.save_as(folder / f"proj_{names[view] + 1:05d}.dcm", enforce_file_format=True)
    return folder


def _dataset(series: str, implicit: bool) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    d.SeriesInstanceUID = series
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 0
    return d
