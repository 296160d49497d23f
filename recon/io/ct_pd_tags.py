"""The private attributes of DICOM-CT-PD: where they stand and what they hold.

B. Chen et al., Med Phys 42, 6964 (2015); T. Moen et al., Med Phys 48, 902 (2021), Table IV.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .errors import FormatError

# Name: tag, value representation.
_TAGS = {
    "TransverseSpacing": (0x70291002, "FL"),
    "AxialSpacing": (0x70291006, "FL"),
    "DetectorShape": (0x7029100B, "CS"),
    "DetectorRows": (0x70291010, "US"),
    "DetectorColumns": (0x70291011, "US"),
    "AngularPosition": (0x70311001, "FL"),
    "AxialPosition": (0x70311002, "FL"),
    "RadialDistance": (0x70311003, "FL"),
    "ConstantRadialDistance": (0x70311031, "FL"),
    "CentralElement": (0x70311033, "FL"),
    "AngularShift": (0x7033100B, "FL"),
    "AxialShift": (0x7033100C, "FL"),
    "RadialShift": (0x7033100D, "FL"),
    "FlyingFocalSpotMode": (0x7033100E, "CS"),
    "SourceAngularSteps": (0x70331013, "US"),
    "NumberOfSpectra": (0x70331061, "US"),
    "SpectrumIndex": (0x70331063, "US"),
    "PhotonStatistics": (0x70331065, "FL"),
    "Timestamp": (0x70331067, "FL"),
    "TypeOfProjectionData": (0x70371009, "CS"),
    "TypeOfProjectionGeometry": (0x7037100A, "CS"),
    "BeamHardeningCorrection": (0x70391003, "CS"),
    "GainCorrection": (0x70391004, "CS"),
    "DarkFieldCorrection": (0x70391005, "CS"),
    "FlatFieldCorrection": (0x70391006, "CS"),
    "BadPixelCorrection": (0x70391007, "CS"),
    "ScatterCorrection": (0x70391008, "CS"),
    "Log": (0x70391009, "CS"),
    "WaterAttenuation": (0x70411001, "DS"),
}
_CREATORS = {
    0x7029: "DetectorSystemArrangementModule", 0x7031: "DetectorDynamicsModule",
    0x7033: "SourceDynamicsModule", 0x7037: "ProjectionDataDefinitions",
    0x7039: "PreprocessingFlagsModule", 0x7041: "WaterAttenuationModule",
}  # fmt: skip
PRIVATE = tuple(tag for tag, _ in _TAGS.values())
CORRECTIONS = tuple(name for name in _TAGS if name.endswith("Correction"))
_LETTERS = {"FL": ("f", 4), "US": ("H", 2)}


def values(dataset: Dataset, name: str) -> NDArray[np.float64]:
    """All numbers of an attribute, none where it is missing.

    Files in implicit representation do not say what private attributes hold: those are bytes.

    Raises
    ------
    FormatError
        Something that is no number.
    """
    tag, kind = _TAGS[name]
    if tag not in dataset:
        return np.empty(0)
    value = dataset[tag].value
    try:
        if isinstance(value, bytes) and kind in _LETTERS:
            letter, size = _LETTERS[kind]
            value = struct.unpack(f"<{len(value) // size}{letter}", value)
        elif isinstance(value, bytes):
            value = value.decode("ascii").strip("\0 ").split("\\")
        found = np.atleast_1d(np.asarray(value, np.float64)).ravel()
    except (ValueError, TypeError, struct.error) as error:
        raise FormatError(None, _place(name), f"holds {value!r:.60}, expected numbers") from error
    if not np.isfinite(found).all():
        raise FormatError(None, _place(name), f"is {found[:4]}, expected finite numbers")
    return found


def number(dataset: Dataset, name: str, default: float | None = None) -> float:
    """One number of an attribute.

    Raises
    ------
    FormatError
        Missing and without default, several numbers, no number.
    """
    found = values(dataset, name)
    if not len(found) and default is not None:
        return default
    if len(found) != 1:
        raise FormatError(None, _place(name), f"holds {len(found)} numbers, expected one")
    return float(found[0])


def text(dataset: Dataset, name: str) -> str:
    """Text of an attribute in capitals, empty where it is missing."""
    tag, _ = _TAGS[name]
    value = dataset[tag].value if tag in dataset else ""
    value = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return str(value).strip("\0 ").upper()


def put(dataset: Dataset, **attributes: Any) -> None:
    """Add attributes by their names, with the private creators of their groups."""
    for name, value in attributes.items():
        tag, kind = _TAGS[name]
        group = tag >> 16
        dataset.add_new((group, 0x0010), "LO", _CREATORS[group])
        dataset.add_new(tag, kind, value)


def _place(name: str) -> str:
    tag, _ = _TAGS[name]
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {name}"
