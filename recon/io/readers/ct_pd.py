"""DICOM-CT-PD: a vendor-neutral projection format, as Mayo's LDCT-and-Projection data have it.

A file holds a view. B. Chen et al., Med Phys 42, 6964 (2015); T. Moen et al., Med Phys 48, 902
(2021). A flying focal spot is rebinned to a source at rest, so that analytic methods take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ...ct.focal_spot import rest_focal_spot
from ...scan import CTScan
from .. import ct_pd_tags as tags
from ..ct_pd_geometry import (
    Detector,
    detector_in,
    geometry_of,
    orbit_of,
    pitch_factor,
    place_in,
    spot_moves,
)
from ..dicom_file import dicom_files, is_dicom, read_dicom, some_dicom_file
from ..errors import FormatError, format_errors
from ..patient_position import UNKNOWN, patient_frame
from ..raw_file import Part, RawFile

NAME = "DICOM-CT-PD"
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_ROWS = (0x7029, 0x1010)
_RESCALE = (("Slope", 1.0), ("Intercept", 0.0))
_HEADER = (
    "Manufacturer", "ManufacturerModelName", "ProtocolName", "BodyPartExamined", "PatientPosition",
    "SeriesInstanceUID", "SeriesDescription", "KVP", "XRayTubeCurrent", "ExposureTime", "CTDIvol",
    "SpiralPitchFactor", "DataCollectionDiameter",
)  # fmt: skip
_VIEW = (
    "SeriesInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelData",
)  # fmt: skip
# What a physicist asks for, by the attribute that says it.
_FACTS = {
    "vendor": "Manufacturer", "system": "ManufacturerModelName", "protocol": "ProtocolName",
    "series": "SeriesDescription", "body part": "BodyPartExamined", "tube current (mA)":
    "XRayTubeCurrent", "rotation time (ms)": "ExposureTime", "CTDIvol (mGy)": "CTDIvol",
    "field of view (mm)": "DataCollectionDiameter",
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether a DICOM file, or one in a folder, has the detector's private attributes."""
    file = some_dicom_file(path) if path.is_dir() else path
    return file is not None and is_dicom(file) and _ROWS in read_dicom(file, [_ROWS])


def open_file(path: Path, views: slice | None = None) -> RawFile:
    """Look at the first and the last view of a folder, or of the folder of a file.

    Parameters
    ----------
    path
        A folder with the files of one series, or one of them.
    views
        Which views to read, in order of their names. Default: all.
    """
    if views is not None and not isinstance(views, slice):
        raise ValueError(f"views must be a range such as slice(0, 4000), got {views!r}")
    files = dicom_files(path if path.is_dir() else path.parent)
    files = files[views or slice(None)]
    if not files:
        raise FormatError(path, "", f"views {views} chooses none")
    first, last = (read_dicom(file, [*_HEADER, *tags.PRIVATE]) for file in (files[0], files[-1]))
    with format_errors(files[0]):
        detector = detector_in(first)
        header = _header(first)
        facts = {**header, **_facts(first, last, detector, len(files))}
    missing = []
    if _is_readings(first):
        missing.append("line integrals: the file says that no logarithm was taken")
    return RawFile(
        format=NAME,
        axes={},
        size=4 * len(files) * detector.rows * detector.columns,
        facts=facts,
        take=lambda part: _read(files, header, part),
        missing=tuple(missing),
    )


def _header(first: Dataset) -> dict[str, Any]:
    """What the scan keeps: position, tube voltage, the scanner's attenuation of water."""
    header: dict[str, Any] = {"format": NAME}
    position = str(first.get("PatientPosition") or "").strip().upper()
    header["patient_position"] = position or UNKNOWN
    if first.get("KVP"):
        header["kvp"] = float(first.KVP)
    if (water := tags.number(first, "WaterAttenuation", 0.0)) > 0:
        header["water"] = water
    return header


def _facts(first: Dataset, last: Dataset, detector: Detector, count: int) -> dict[str, Any]:
    facts = {name: str(value) for name, key in _FACTS.items() if (value := first.get(key))}
    spot = tags.text(first, "FlyingFocalSpotMode") or "not in the file"
    photons = "by column" if len(tags.values(first, "PhotonStatistics")) else "not in the file"
    arguments = detector.arguments
    facts |= {
        "views": str(count),
        "detector": f"{detector.rows} rows x {arguments['row_spacing']:.4g} mm, "
        f"{detector.columns} columns x {arguments['column_spacing']:.4g} mm, "
        f"{arguments['detector']}",
        "source": f"{arguments['source_to_isocenter']:g} of "
        f"{arguments['source_to_detector']:g} mm",
        "orbit": tags.text(first, "TypeOfProjectionData").lower() or "not in the file",
        "table": f"{tags.number(first, 'AxialPosition'):.2f} to "
        f"{tags.number(last, 'AxialPosition'):.2f} mm",
        "views a turn": f"{tags.number(first, 'SourceAngularSteps', 0):g}",
        "flying focal spot": spot,
        "corrected": ", ".join(
            name.removesuffix("Correction").lower()
            for name in tags.CORRECTIONS
            if tags.text(first, name) == "YES"
        ) or "nothing",
        "photons": photons,
    }  # fmt: skip
    if first.get("SpiralPitchFactor"):
        facts["pitch"] = f"{float(first.SpiralPitchFactor):g}"
    if not first.get("PatientPosition"):
        facts["position"] = f"not in the file, {UNKNOWN} assumed"
    return facts


def _is_readings(first: Dataset) -> bool:
    return tags.text(first, "Log") == "NO"


def _read(files: Sequence[Path], header: dict[str, Any], part: Part) -> CTScan:
    wanted = [*_VIEW, *tags.PRIVATE]
    first = read_dicom(files[0], wanted, pixels=True)
    with format_errors(files[0]):
        if _is_readings(first):
            raise FormatError(None, "Log", "is NO: holds readings, expected line integrals")
        detector = detector_in(first)
        _pixels(first, detector)
    data = np.empty((len(files), detector.rows, detector.columns), np.float32)
    places, order = np.empty((len(files), 6)), np.empty(len(files), np.int64)
    photons: list[NDArray[np.float64]] = []
    series = str(first.get("SeriesInstanceUID", "")), tags.number(first, "SpectrumIndex", 0.0)
    for view, file in enumerate(files):
        dataset = read_dicom(file, wanted, pixels=True) if view else first
        with format_errors(file):
            own = (
                str(dataset.get("SeriesInstanceUID", "")),
                tags.number(dataset, "SpectrumIndex", 0.0),
            )
            if own != series:
                raise FormatError(
                    None, "SeriesInstanceUID", "is of another series or spectrum than "
                    f"{files[0].name}: each needs a folder of its own",
                )  # fmt: skip
            data[view] = _pixels(dataset, detector)
            places[view] = place_in(dataset)
            order[view] = int(dataset.get("InstanceNumber") or view)
            photons.append(tags.values(dataset, "PhotonStatistics"))
    rank = np.argsort(order, kind="stable")
    if not np.array_equal(rank, np.arange(len(rank))):
        data, places, photons = data[rank], places[rank], [photons[i] for i in rank]
    orbit = orbit_of(places)
    geometry, height = geometry_of(detector, orbit)
    sinogram = torch.from_numpy(data)
    if spot_moves(geometry, orbit.shifts):
        with format_errors(files[0].parent, "focal spot"):
            sinogram, geometry = rest_focal_spot(sinogram, geometry, orbit.shifts)
        header = {**header, "focal_spot": "rebinned to a source at rest"}
    if (factor := pitch_factor(geometry)) is not None:
        header = {**header, "pitch": round(factor, 4)}
    return CTScan(
        sinogram,
        geometry,
        photons=_photons(photons, detector),
        affine=patient_frame(header["patient_position"], (0.0, 0.0, height)),
        header=header,
    )


def _pixels(dataset: Dataset, detector: Detector) -> NDArray[np.float32]:
    """Line integrals ``(row, column)`` with rows upward; some scanners' files are transposed."""
    shape = detector.rows, detector.columns
    stored = int(dataset.get("Rows", 0)), int(dataset.get("Columns", 0))
    syntax = dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    bits = dataset.get("BitsAllocated")
    if stored not in (shape, shape[::-1]) or bits != 16 or syntax not in _UNCOMPRESSED:
        raise FormatError(
            None, "PixelData", f"has {bits} bits, {stored[0]} x {stored[1]} ({syntax}), expected "
            f"16, {shape[0]} x {shape[1]} or the other way round, uncompressed",
        )  # fmt: skip
    content = bytes(dataset.get("PixelData") or b"")
    if len(content) != 2 * shape[0] * shape[1]:
        raise FormatError(
            None, "PixelData", f"holds {len(content)} bytes, expected {2 * shape[0] * shape[1]}"
        )
    letter = "i2" if dataset.get("PixelRepresentation") == 1 else "u2"
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    raw = np.frombuffer(content, f"{order}{letter}").reshape(stored)
    raw = raw if stored == shape else raw.T
    slope, start = (float(dataset.get(f"Rescale{k}", d)) for k, d in _RESCALE)
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        values = raw[::-1].astype(np.float32) * np.float32(slope) + np.float32(start)
    if not np.isfinite(values).all():
        raise FormatError(None, "RescaleSlope", f"is {slope:g}, intercept {start:g}")
    return values


def _photons(found: list[NDArray[np.float64]], detector: Detector) -> torch.Tensor | None:
    """Photons without object ``(view, 1, column)``; None where a view does not tell them."""
    if {len(values) for values in found} != {detector.columns}:
        return None
    stacked = np.stack(found).astype(np.float32)
    return torch.from_numpy(stacked)[:, None] if stacked.min() >= 0 else None
