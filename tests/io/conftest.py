"""ISMRMRD files made with the ismrmrd package, an independent writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <measurementInformation><patientPosition>HFS</patientPosition>
  <protocolName>brain</protocolName></measurementInformation>
 <acquisitionSystemInformation><systemVendor>ACME</systemVendor>
  <systemFieldStrength_T>3</systemFieldStrength_T></acquisitionSystemInformation>
 <experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>
 </experimentalConditions>
 {encodings}
 <sequenceParameters><TR>500</TR><TE>4.5</TE></sequenceParameters>
</ismrmrdHeader>"""
ENCODING = """<encoding>
 <encodedSpace><matrixSize><x>{m[0]}</x><y>{m[1]}</y><z>{m[2]}</z></matrixSize>
  <fieldOfView_mm><x>{f[0]}</x><y>{f[1]}</y><z>{f[2]}</z></fieldOfView_mm></encodedSpace>
 <reconSpace><matrixSize><x>{rm[0]}</x><y>{rm[1]}</y><z>{rm[2]}</z></matrixSize>
  <fieldOfView_mm><x>{rf[0]}</x><y>{rf[1]}</y><z>{rf[2]}</z></fieldOfView_mm></reconSpace>
 <encodingLimits>{limits}</encodingLimits>
 <trajectory>{trajectory}</trajectory>{more}
</encoding>"""


def encoding_xml(
    matrix: tuple[int, ...] = (8, 6, 1),
    fov: tuple[float, ...] = (80.0, 60.0, 5.0),
    recon_matrix: tuple[int, ...] | None = None,
    recon_fov: tuple[float, ...] | None = None,
    trajectory: str = "cartesian",
    centers: dict[str, tuple[int, int]] | None = None,
    more: str = "",
) -> str:
    """One encoding; `centers` are (maximum, center) of the limits by name. All are x, y, z."""
    if centers is None:
        centers = {"kspace_encoding_step_1": (matrix[1] - 1, matrix[1] // 2)}
        if matrix[2] > 1:
            centers["kspace_encoding_step_2"] = (matrix[2] - 1, matrix[2] // 2)
    limits = "".join(
        f"<{name}><minimum>0</minimum><maximum>{top}</maximum><center>{center}</center></{name}>"
        for name, (top, center) in centers.items()
    )
    return ENCODING.format(
        m=matrix, f=fov, rm=recon_matrix or matrix, rf=recon_fov or fov, limits=limits,
        trajectory=trajectory, more=more,
    )  # fmt: skip


def readout(
    data: np.ndarray, trajectory: np.ndarray | None = None, flags: Iterable[int] = (), **head: Any
) -> ismrmrd.Acquisition:
    """A readout ``(coil, sample)``; counters and header fields by name."""
    data = np.ascontiguousarray(data, np.complex64)
    k = None if trajectory is None else np.ascontiguousarray(trajectory, np.float32)
    acquisition = ismrmrd.Acquisition.from_array(data, k)
    acquisition.center_sample = head.pop("center_sample", data.shape[1] // 2)
    for flag in flags:
        acquisition.set_flag(flag)
    for name, value in head.items():
        if hasattr(acquisition.idx, name):
            setattr(acquisition.idx, name, value)
        elif np.ndim(value):
            getattr(acquisition, name)[:] = value
        else:
            setattr(acquisition, name, value)
    return acquisition


Make = Callable[..., Path]


@pytest.fixture
def make_ismrmrd(tmp_path: Path) -> Make:
    """Write readouts and encodings to a file, in the given order."""

    def make(
        readouts: Iterable[ismrmrd.Acquisition], *encodings: str, name: str = "scan.dat"
    ) -> Path:
        path = tmp_path / name
        dataset = ismrmrd.Dataset(str(path), mode="w")
        dataset.write_xml_header(HEADER.format(encodings="".join(encodings or (encoding_xml(),))))
        for acquisition in readouts:
            dataset.append_acquisition(acquisition)
        dataset.close()
        return path

    make.readout, make.encoding = readout, encoding_xml  # type: ignore[attr-defined]
    return make
