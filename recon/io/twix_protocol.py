"""The protocol in Siemens twix files: text buffers, and ISMRMRD's header made of them."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from . import header_parts
from .errors import FormatError

_LARGEST_HEADER = 64 << 20  # bytes; usual ones have half a megabyte
_LARGEST_BUFFERS = 64
_NAME = re.compile(rb"(\w{3,47})\0")
_ASSIGNMENT = re.compile(r"^[ \t]*([\w.\[\]]+)[ \t]*=[ \t]*([^\r\n]*)", re.MULTILINE)
_TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral"}
_CALIBRATION = {2: "embedded", 4: "separate", 8: "separate", 16: "interleaved", 32: "interleaved",
                64: "interleaved"}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """What the buffers before the data say.

    Parameters
    ----------
    buffers
        Text by name: Config, Dicom, Meas, MeasYaps, Phoenix, Spice.
    """

    buffers: Mapping[str, str]

    @cached_property
    def values(self) -> dict[str, str]:
        """The protocol proper (ASCCONV): text by names such as ``sKSpace.lBaseResolution``."""
        text = self.buffers.get("MeasYaps") or self.buffers.get("Phoenix", "")
        found: list[tuple[str, str]] = _ASSIGNMENT.findall(text)
        return {name: value.split("#")[0].strip().strip('"') for name, value in found}

    def number(self, name: str, default: float = 0.0) -> float:
        """A number of the protocol proper; text and nonsense count as missing."""
        return _number(self.values.get(name, ""), default)

    def numbers(self, name: str, largest: int = 64) -> list[float]:
        """The numbers ``name[0]``, ``name[1]``, ... up to the first that is missing."""
        found: list[float] = []
        while len(found) < largest and f"{name}[{len(found)}]" in self.values:
            found.append(self.number(f"{name}[{len(found)}]"))
        return found

    def parameter(self, name: str) -> str:
        """Text of a parameter of the measurement (XProtocol), empty where there is none."""
        pattern = re.compile(rf'<Param(?:Bool|Long|String|Double)\."{name}">\s*{{([^{{}}]*)}}')
        for buffer in ("Meas", "Dicom", "Config"):
            if match := pattern.search(self.buffers.get(buffer, "")):
                text = re.sub(r"<\w+>\s*\S+", "", match[1])
                if text.strip():
                    return text.replace('"', "").strip()
        return ""

    def first(self, name: str, default: float = 0.0) -> float:
        """The first number of a parameter of the measurement."""
        words = self.parameter(name).split()
        return _number(words[0], default) if words else default


def _number(text: str, default: float) -> float:
    try:
        value = float(int(text, 16)) if text[:2].lower() == "0x" else float(text)
    except ValueError:
        return default
    return value if abs(value) < 1e15 else default


def is_measurement(start: bytes) -> bool:
    """Whether bytes begin as a measurement does: header length, number of buffers, a name."""
    if len(start) < 64:
        return False
    length, count = struct.unpack_from("<II", start)
    named = _NAME.match(start, 8) is not None
    return named and 64 <= length <= _LARGEST_HEADER and 1 <= count <= _LARGEST_BUFFERS


def read_protocol(content: NDArray[np.uint8], start: int, end: int) -> tuple[Protocol, int]:
    """Read the buffers of a measurement; also the byte where its data begin.

    Raises
    ------
    FormatError
        Buffers that reach beyond their bounds, or no protocol among them.
    """
    place = f"byte {start}"
    if not is_measurement(content[start : min(start + 64, end)].tobytes()):
        raise FormatError(None, place, "is no header of a measurement")
    length, count = struct.unpack("<II", content[start : start + 8].tobytes())
    if start + length > end:
        raise FormatError(None, place, f"a header of {length} bytes, {end - start} are left")
    header = content[start : start + length].tobytes()
    buffers, at = {}, 8
    for number in range(count):
        name = _NAME.match(header, at)
        size_at = name.end() if name else length
        if name is None or size_at + 4 > length:
            raise FormatError(None, place, f"buffer {number} of {count} has no name")
        (size,) = struct.unpack_from("<I", header, size_at)
        if size_at + 4 + size > length:
            raise FormatError(None, place, f"buffer {number} of {count} is cut off")
        text = header[size_at + 4 : size_at + 4 + size].decode("latin-1").rstrip("\0")
        buffers[name[1].decode("latin-1")] = text
        at = size_at + 4 + size
    protocol = Protocol(buffers)
    if not protocol.values:
        raise FormatError(None, place, f"no protocol in its buffers ({', '.join(buffers)})")
    return protocol, start + length


def make_header(
    protocol: Protocol, head: NDArray[np.void], center: NDArray[np.int64]
) -> xsd.ismrmrdHeader:
    """ISMRMRD's header of a measurement.

    Parameters
    ----------
    protocol
        What was asked for.
    head, center
        Headers of the imaging readouts, and the line and partition through the middle of k-space
        that each names: what was done.
    """
    position = protocol.parameter("tPatientPosition") or protocol.parameter("PatientPosition")
    inverts = protocol.number("sPrepPulses.ucInversion") in (1, 2)  # with or without a slice
    contrasts = max(int(protocol.number("lContrasts", 1)), 1)
    frequency = protocol.first("lFrequency") or protocol.number(
        "sTXSPEC.asNucleusInfo[0].lFrequency"
    )
    return header_parts.header(
        "SIEMENS",
        int(head["active_channels"].max()),
        _encoding(protocol, head, center),
        frequency=frequency,
        system={
            "systemModel": protocol.parameter("ManufacturersModelName") or None,
            "systemFieldStrength_T": protocol.first("flMagneticFieldStrength")
            or protocol.number("sProtConsistencyInfo.flNominalB0")
            or None,
            "institutionName": protocol.parameter("InstitutionName") or None,
        },
        subjectInformation=_subject(protocol),
        measurementInformation=header_parts.measurement(
            position,
            protocol.values.get("tProtocolName", ""),
            protocol.values.get("tSequenceFileName", ""),
        ),
        sequenceParameters=xsd.sequenceParametersType(
            TR=[t / 1e3 for t in protocol.numbers("alTR")[:1]],
            TE=[t / 1e3 for t in protocol.numbers("alTE")[:contrasts]],
            TI=[t / 1e3 for t in protocol.numbers("alTI")[:1] if inverts],
            flipAngle_deg=protocol.numbers("adFlipAngleDegree")[:1],
        ),
    )


def _subject(protocol: Protocol) -> xsd.subjectInformationType:
    return xsd.subjectInformationType(
        patientName=protocol.parameter("tPatientName") or None,
        patientID=protocol.parameter("PatientID") or None,
        patientWeight_kg=protocol.first("flUsedPatientWeight") or None,
    )


def _encoding(
    protocol: Protocol, head: NDArray[np.void], center: NDArray[np.int64]
) -> xsd.encodingType:
    base = max(int(protocol.number("sKSpace.lBaseResolution", 1)), 1)
    columns = int(protocol.first("iNoOfFourierColumns"))
    columns = max(columns, int(head["number_of_samples"].max()))
    oversampling = protocol.first("flReadoutOSFactor") or columns / base
    is_3d = (
        protocol.number("sKSpace.lPartitions") > 1 and protocol.number("sKSpace.ucDimension") > 2
    )
    steps = head["idx"]
    lines = _size(steps["kspace_encode_step_1"], center[:, 0], int(protocol.first("iPEFTLength")))
    slabs = 1
    if is_3d or int(steps["kspace_encode_step_2"].max()) > 0:
        slabs = _size(
            steps["kspace_encode_step_2"], center[:, 1], int(protocol.first("i3DFTLength"))
        )
    view = [
        protocol.number(f"sSliceArray.asSlice[0].{name}")
        for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")
    ]
    extra = [
        _number(protocol.values.get(f"sKSpace.{name}", protocol.parameter(name)), 0.0)
        for name in ("dPhaseOversamplingForDialog", "dSliceOversamplingForDialog")
    ]
    kind = _TRAJECTORIES.get(int(protocol.number("sKSpace.ucTrajectory", 1)), "other")
    etl = int(protocol.number("sFastImaging.lEPIFactor", 1))
    if kind == "cartesian" and etl > 1:
        kind = "epi"
    view = [v if 0 <= v < 1e4 else 0.0 for v in view]
    factors = (oversampling, 1 + extra[0], 1 + extra[1])
    return header_parts.encoding(
        (columns, lines, slabs),
        [v * f if 0 < f < 16 else v for v, f in zip(view, factors, strict=True)],
        (base, lines, slabs),
        view,
        trajectory=kind,
        centers=(int(center[:, 0].max()), int(center[:, 1].max())),
        trajectoryDescription=_gradient(protocol) if kind == "epi" else None,
        parallelImaging=_parallel(protocol),
        echoTrainLength=max(etl, int(protocol.number("sFastImaging.lTurboFactor", 1))),
    )


def _size(steps: NDArray[np.uint16], center: NDArray[np.int64], asked: int) -> int:
    """Lines of k-space: as many as asked for, and as all steps around the middle need."""
    if not center.any():  # never filled in
        return max(asked, int(steps.max()) + 1, 1)
    reach = max(int(center.max()), int((steps - center).max()) + 1)
    return max(asked, 2 * reach, 1) if reach > asked // 2 + 1 else max(asked, 1)


def _gradient(protocol: Protocol) -> xsd.trajectoryDescriptionType | None:
    """Shape of the readout gradient where samples lie on its ramps, times in us."""
    shape = int(protocol.first("alRegridMode", 1))
    if shape not in (2, 4):  # trapezoid, sine
        return None
    times = {
        "rampUpTime": "alRegridRampupTime",
        "flatTopTime": "alRegridFlattopTime",
        "rampDownTime": "alRegridRampdownTime",
        "acqDelayTime": "alRegridDelaySamplesTime",
    }
    found: dict[str, Any] = {name: int(protocol.first(key)) for name, key in times.items()}
    found["sineRamps"] = int(shape == 4)
    return xsd.trajectoryDescriptionType(
        identifier="ConventionalEPI",
        userParameterLong=[xsd.userParameterLongType(name=k, value=v) for k, v in found.items()],
    )


def _parallel(protocol: Protocol) -> xsd.parallelImagingType:
    mode = _CALIBRATION.get(int(protocol.number("sPat.ucRefScanMode", 1)), "other")
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=max(int(protocol.number("sPat.lAccelFactPE", 1)), 1),
            kspace_encoding_step_2=max(int(protocol.number("sPat.lAccelFact3D", 1)), 1),
        ),
        calibrationMode=xsd.calibrationModeType(mode),
    )
