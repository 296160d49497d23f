"""CT scans as DICOM-CT-PD, a file a view."""

from __future__ import annotations

import datetime
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import RawDataStorage, generate_uid

from ...kernels.ct.geometry import ConeBeam, HelicalBeam
from ..ct.hounsfield import WATER
from ..scan import CTScan
from . import ct_pd_tags as tags
from .atomic import atomic
from .ct_pd_geometry import central_element, pitch_factor
from .dicom_instance import new_instance, new_series
from .patient_position import UNKNOWN, position_of


def write(scan: CTScan, path: Path) -> Path:
    """Write line integrals to ``name_00001.dcm``, ``name_00002.dcm``, ...; the first file.

    Line integrals take 16 bits: their steps are the range over 65535.

    Raises
    ------
    ValueError
        Another geometry than a cone or helical beam, a batch, a patient's frame that is turned
        or shifted aside.
    """
    geometry = scan.geometry
    if not isinstance(geometry, ConeBeam) or scan.batch_shape:
        raise ValueError(
            "DICOM-CT-PD holds one scan of a cone or helical beam, got a batch of "
            f"{scan.batch_shape} of {geometry}"
        )
    if max(geometry.rows, geometry.columns) > 65535:
        raise ValueError(f"DICOM counts to 65535 rows and columns, got {geometry}")
    position, height = _position(scan)
    series = _series(scan, geometry, position)
    stored, slope, start = _scaled(scan.sinogram.detach().cpu().numpy())
    series.RescaleSlope, series.RescaleIntercept, series.RescaleType = slope, start, "US"
    digits = max(5, len(str(len(geometry))))
    names = [f"{path.stem}_{view + 1:0{digits}}{path.suffix}" for view in range(len(geometry))]
    files = [path.with_name(name) for name in names]
    heights = geometry.source_z + height
    photons = None
    if scan.photons is not None:
        shape = (*scan.sinogram.shape[:-2], 1, geometry.columns)
        if scan.photons.ndim > 1 and scan.photons.shape[-2] != 1:
            raise ValueError("DICOM-CT-PD has one number of photons for all rows of a column")
        photons = scan.photons.expand(shape).detach().cpu().numpy()[:, 0]
    with ExitStack() as together:
        for view, file in enumerate(files):
            instance = new_instance(series, stored[view], view + 1)
            tags.put(
                instance,
                AngularPosition=float(np.mod(-geometry.angles[view], 2 * np.pi)),
                AxialPosition=float(heights[view]),
            )
            if photons is not None:
                tags.put(instance, PhotonStatistics=photons[view].tolist())
            instance.save_as(together.enter_context(atomic(file)), enforce_file_format=True)
    return files[0]


def _position(scan: CTScan) -> tuple[str, float]:
    """The patient's position, and the height of the geometry's origin."""
    if scan.affine is None:
        return UNKNOWN, 0.0
    position, offset = position_of(scan.affine)
    if np.abs(offset[:2]).max() > 1e-3:
        raise ValueError(f"DICOM-CT-PD turns about the isocentre, the scan about {offset[:2]} mm")
    return position, float(offset[2])


def _series(scan: CTScan, geometry: ConeBeam, position: str) -> Dataset:
    d = new_series(RawDataStorage, "CT", datetime.datetime.now())
    d.CreatorVersionUID = generate_uid()
    d.AcquisitionContextSequence = DicomSequence()
    d.SeriesDescription = "CT projections"
    d.PatientPosition = position
    if "kvp" in scan.header:
        d.KVP = float(scan.header["kvp"])
    if (factor := pitch_factor(geometry)) is not None:
        d.SpiralPitchFactor = factor
    column, row = central_element(geometry)
    turn = float(np.median(np.abs(np.diff(geometry.angles)))) if len(geometry) > 1 else 0.0
    tags.put(
        d,
        DetectorRows=geometry.rows,
        DetectorColumns=geometry.columns,
        TransverseSpacing=geometry.column_spacing,
        AxialSpacing=geometry.row_spacing,
        DetectorShape="CYLINDRICAL" if geometry.detector == "curved" else "FLAT",
        RadialDistance=geometry.source_to_isocenter,
        ConstantRadialDistance=geometry.source_to_detector,
        CentralElement=[column, row],
        AngularShift=0.0,
        AxialShift=0.0,
        RadialShift=0.0,
        FlyingFocalSpotMode="FFSNONE",
        SourceAngularSteps=min(round(2 * np.pi / turn), 65535) if turn else 1,
        NumberOfSpectra=1,
        SpectrumIndex=1,
        TypeOfProjectionData="HELICAL" if isinstance(geometry, HelicalBeam) else "AXIAL",
        TypeOfProjectionGeometry="FANBEAM",
        Log="YES",
        WaterAttenuation=f"{float(scan.header.get('water', WATER)):.8g}",
    )
    return d


def _scaled(lines: NDArray[np.floating]) -> tuple[NDArray[np.uint16], str, str]:
    """16-bit values with the rows' order of the format, and how to undo the scaling."""
    low, high = float(lines.min()), float(lines.max())
    # DICOM keeps numbers as 16 characters: scale by what will be read back.
    slope, start = f"{(high - low) / 65535 or 1.0:.9e}", f"{low:.8e}"
    stored = np.rint((lines[:, ::-1] - np.float64(start)) / np.float64(slope))
    return np.clip(stored, 0, 65535).astype(np.uint16), slope, start
