"""The XML header of ISMRMRD: what the scanner was told to do."""

from __future__ import annotations

import logging
import warnings
from typing import Any
from xml.etree import ElementTree

from ismrmrd import xsd
from xsdata.exceptions import ConverterWarning, ParserError
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from .errors import FormatError
from .xml_values import parse_xml

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
logging.getLogger("xsdata").addHandler(logging.NullHandler())  # its asides are not for users
_TAG = f"{{{NAMESPACE}}}"

# Element of the header -> name of the fact in `MRScan.header`.
_FACTS = {
    "sequenceParameters.TR": "repetition_time_ms",
    "sequenceParameters.TE": "echo_time_ms",
    "sequenceParameters.TI": "inversion_time_ms",
    "sequenceParameters.flipAngle_deg": "flip_angle_deg",
    "sequenceParameters.sequence_type": "sequence_type",
    "measurementInformation.protocolName": "protocol",
    "measurementInformation.sequenceName": "sequence",
    "measurementInformation.patientPosition": "patient_position",
    "acquisitionSystemInformation.systemFieldStrength_T": "field_strength_t",
    "acquisitionSystemInformation.systemVendor": "vendor",
    "acquisitionSystemInformation.systemModel": "system",
    "experimentalConditions.H1resonanceFrequency_Hz": "larmor_frequency_hz",
}


def parse_header(xml: str | bytes) -> xsd.ismrmrdHeader:
    """Read a header; what files in the wild leave out or misspell is mended first.

    Raises
    ------
    FormatError
        No well-formed XML, entities, another document, no encoding.
    """
    raw = xml.encode() if isinstance(xml, str) else xml
    root = parse_xml(raw.rstrip(b"\0"), "XML header")
    if root.tag not in (f"{_TAG}ismrmrdHeader", "ismrmrdHeader"):
        raise FormatError(None, "XML header", f"is a {root.tag}, expected an ismrmrdHeader")
    _mend(root)
    config = ParserConfig(fail_on_unknown_properties=False, fail_on_converter_warnings=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConverterWarning)
            text = ElementTree.tostring(root)
            header = XmlParser(config=config).from_bytes(text, xsd.ismrmrdHeader)
    except (ParserError, TypeError, ValueError) as error:
        raise FormatError(None, "XML header", f"not as ismrmrd.xsd says: {error}") from error
    if not header.encoding:
        raise FormatError(None, "XML header", "has no encoding")
    for number, encoding in enumerate(header.encoding):
        _check_encoding(encoding, f"XML header, encoding {number}")
    return header


def _mend(root: ElementTree.Element) -> None:
    """Add the namespace and the elements that some writers leave out; lower-case trajectories."""
    for element in root.iter():
        if not element.tag.startswith("{"):
            element.tag = _TAG + element.tag
    if root.find(f"{_TAG}experimentalConditions") is None:
        conditions = ElementTree.SubElement(root, f"{_TAG}experimentalConditions")
        ElementTree.SubElement(conditions, f"{_TAG}H1resonanceFrequency_Hz").text = "0"
    for encoding in root.iter(f"{_TAG}encoding"):
        encoded = encoding.find(f"{_TAG}encodedSpace")
        if encoding.find(f"{_TAG}reconSpace") is None and encoded is not None:
            recon = ElementTree.SubElement(encoding, f"{_TAG}reconSpace")
            recon.extend(encoded)
        if encoding.find(f"{_TAG}encodingLimits") is None:
            ElementTree.SubElement(encoding, f"{_TAG}encodingLimits")
        trajectory = encoding.find(f"{_TAG}trajectory")
        if trajectory is not None:
            trajectory.text = (trajectory.text or "").strip().lower()


def _check_encoding(encoding: Any, place: str) -> None:
    for name in ("encodedSpace", "reconSpace"):
        space = getattr(encoding, name)
        matrix = [getattr(space.matrixSize, axis) for axis in "xyz"]
        view = [getattr(space.fieldOfView_mm, axis) for axis in "xyz"]
        if not all(isinstance(n, int) and 1 <= n <= 65535 for n in matrix):
            raise FormatError(None, place, f"{name} has matrix {matrix}, expected 1 to 65535")
        if not all(isinstance(f, float) and 0 <= f < 1e5 for f in view):
            raise FormatError(None, place, f"{name} has field of view {view}, expected mm")


def facts(header: xsd.ismrmrdHeader) -> dict[str, Any]:
    """Protocol facts by plain names (times in ms, angles in degrees); nothing unknown."""
    found = {}
    for path, name in _FACTS.items():
        value: Any = header
        for part in path.split("."):
            value = getattr(value, part, None)
        value = getattr(value, "value", value)
        if isinstance(value, list):
            value = value[0] if len(value) == 1 else tuple(value)
        if value not in (None, (), "", 0):
            found[name] = value
    return found
