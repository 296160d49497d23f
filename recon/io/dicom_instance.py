"""What every DICOM object with 16-bit pixels is made of."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

_UNKNOWN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "PositionReferenceIndicator", "Laterality",
)  # fmt: skip


def new_series(storage: UID, modality: str, now: datetime.datetime) -> Dataset:
    """What all objects of a series share: its UIDs, the time, and that it is of nobody."""
    d = Dataset()
    d.SOPClassUID, d.Modality = storage, modality
    d.StudyInstanceUID, d.SeriesInstanceUID = generate_uid(), generate_uid()
    d.FrameOfReferenceUID = generate_uid()
    d.StudyDate = d.SeriesDate = d.ContentDate = now.strftime("%Y%m%d")
    d.StudyTime = d.SeriesTime = d.ContentTime = now.strftime("%H%M%S")
    # Required, but unknown here: a raw file's patient is none of our business.
    for name in _UNKNOWN:
        setattr(d, name, "")
    d.SeriesNumber = 1
    d.Manufacturer = d.ManufacturerModelName = "Spinray"
    return d


def new_instance(series: Dataset, pixels: NDArray[np.uint16], number: int) -> FileDataset:
    """An object of a series with pixels ``(row, column)`` and a UID of its own, to be written."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = series.SOPClassUID
    meta.MediaStorageSOPInstanceUID = generate_uid()
    own: dict[BaseTag, Any] = {element.tag: element for element in series}
    d = FileDataset("", own, file_meta=meta, preamble=b"\0" * 128)
    d.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    d.InstanceNumber = number
    d.Rows, d.Columns = pixels.shape
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 0
    d.PixelData = pixels.tobytes()
    return d
