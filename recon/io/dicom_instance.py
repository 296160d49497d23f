"""What every DICOM object with 16-bit pixels is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


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
