"""What names the patient, taken out of headers: for `spinray convert --anonymize`.

Names, identities, dates, institutions, devices, free text and unique identifiers go. What the
physics needs stays: the protocol, positions, weight. Times are counted from the first readout.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from ismrmrd import xsd

from ..scan import CTScan, MRScan
from .acquisitions import Acquisitions
from .protocol import parse_header

_SUBJECT = ("patientWeight_kg", "patientHeight_m", "patientGender")  # all that is kept
_MEASUREMENT = ("patientPosition", "relativeTablePosition", "protocolName", "sequenceName")
_SYSTEM = ("systemVendor", "systemModel", "systemFieldStrength_T", "relativeReceiverNoiseBandwidth",
           "receiverChannels", "coilLabel")  # fmt: skip
# Facts of other formats that are text of the user's.
_FREE_TEXT = ("title", "sample", "name", "patient", "patient_id", "institution", "operator", "date")


def anonymous_header(header: xsd.ismrmrdHeader) -> xsd.ismrmrdHeader:
    """A copy of ISMRMRD's header without what names the patient."""
    kept = copy.deepcopy(header)
    kept.studyInformation = None
    kept.subjectInformation = _only(kept.subjectInformation, _SUBJECT)
    kept.measurementInformation = _only(kept.measurementInformation, _MEASUREMENT)
    kept.acquisitionSystemInformation = _only(kept.acquisitionSystemInformation, _SYSTEM)
    if kept.userParameters is not None:
        kept.userParameters.userParameterString = []
        kept.userParameters.userParameterBase64 = []
    return kept


def _only(part: Any, names: tuple[str, ...]) -> Any:
    """A part of the header with some of its elements; None stays None."""
    if part is None:
        return None
    return type(part)(**{name: getattr(part, name) for name in names if hasattr(part, name)})


def anonymous_readouts(acquisitions: Acquisitions) -> Acquisitions:
    """Readouts without what names the patient."""
    header = anonymous_header(acquisitions.header)
    head = acquisitions.head.copy()
    head["measurement_uid"] = 0
    head["acquisition_time_stamp"] -= np.min(head["acquisition_time_stamp"])
    return dataclasses.replace(acquisitions, head=head, header=header, xml=header.toXML())


def anonymous_scan(scan: MRScan | CTScan) -> MRScan | CTScan:
    """A scan without what names the patient."""
    return scan.replace(header=_anonymous_facts(scan.header))


def _anonymous_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in facts.items() if name.lower() not in _FREE_TEXT}
    if isinstance(kept.get("calibration"), MRScan):
        kept["calibration"] = anonymous_scan(kept["calibration"])
    if kept.get("xml"):
        kept["xml"] = anonymous_header(parse_header(kept["xml"])).toXML()
    return kept
