"""Images to DICOM: classic MR and CT objects, one file a slice, or one multi-frame object."""

from __future__ import annotations

import datetime
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, MRImageStorage

from ..ct.hounsfield import WATER, to_hounsfield
from ..image import Image
from .atomic import atomic
from .dicom_instance import new_instance, new_series
from .orientation import LPS_TO_RAS

_PERCENTILES = (0.5, 99.5)
_CT_WINDOW = (-160.0, 240.0)  # HU: soft tissue


def write(
    image: Image,
    path: Path,
    window: tuple[float, float] | None = None,
    water: float | None = None,
    multiframe: bool = False,
) -> Path:
    """Write the magnitude; a stack goes to ``name_0001.dcm``, ``name_0002.dcm``, ...

    No private attribute is written, and nothing that names the patient.

    Parameters
    ----------
    image
        MR, or CT (``metadata["modality"]``) in attenuation per mm, written as Hounsfield units, or
        in these already (``metadata["units"]``).
    path
        The file; of a stack, each slice has its number put before the suffix.
    window
        Lowest and highest value shown. Default: percentiles (MR), soft tissue (CT).
    water
        Attenuation of water in 1/mm. Default: ``metadata["water"]``, or 0.0193 (70 keV).
    multiframe
        One file of all slices: a Legacy Converted Enhanced MR or CT object (needs highdicom).

    Returns
    -------
    Path
        The first file.

    Raises
    ------
    ValueError
        Slices whose axes are not at right angles, sizes beyond 65535, water below 0.
    """
    modality = "CT" if image.metadata.get("modality") == "CT" else "MR"
    values = np.nan_to_num(image.magnitude().astype(np.float64))
    comment = ""
    if modality == "CT" and image.metadata.get("units") != "HU":
        water = float(water or image.metadata.get("water", WATER))
        air = float(image.metadata.get("air", 0.0))
        values = to_hounsfield(torch.from_numpy(values), water, air).numpy()
        comment = f"Attenuation of water {water:g}/mm, of air {air:g}/mm"
    depth = image.spatial_shape[0] if len(image.spacing) == 3 else 1
    slices = values.reshape(-1, depth, *values.shape[-2:])
    if max(slices.shape) > 65535:
        raise ValueError(f"DICOM counts to 65535, got an image of {values.shape}")
    series = _series(image, modality, comment)
    stored = _scaled(slices, modality, series, window)
    if "pixel_size" in image.metadata:  # assumed: attenuation a mm is not known
        series.RescaleType = "US"
    total = slices.shape[0] * depth

    def instance(number: int) -> FileDataset:
        item, z = divmod(number, depth)
        return _instance(series, stored[item, z], image, number, item, z)

    if multiframe:
        from .dicom_multiframe import combined

        with atomic(path) as temporary:
            combined([instance(n) for n in range(total)]).save_as(temporary)
        return path
    digits = max(4, len(str(total)))
    files = [path] if total == 1 else [
        path.with_name(f"{path.stem}_{n + 1:0{digits}}{path.suffix}") for n in range(total)
    ]  # fmt: skip
    with ExitStack() as together:
        for number, file in enumerate(files):
            temporary = together.enter_context(atomic(file))
            instance(number).save_as(temporary, enforce_file_format=True)
    return files[0]


def _series(image: Image, modality: str, comment: str) -> Dataset:
    """What all files of the series share."""
    known = image.metadata
    now = datetime.datetime.now()
    d = new_series(CTImageStorage if modality == "CT" else MRImageStorage, modality, now)
    d.ImageType = ["DERIVED", "PRIMARY", "AXIAL" if modality == "CT" else "OTHER"]
    if "study_uid" in known:
        d.StudyInstanceUID = str(known["study_uid"])
    if "frame_of_reference_uid" in known:
        d.FrameOfReferenceUID = str(known["frame_of_reference_uid"])
    d.SoftwareVersions = version("spinray")
    d.ContributingEquipmentSequence = DicomSequence([_algorithm(image, now)])
    d.SeriesDescription = f"Spinray {known.get('method', '')}".strip()[:64]
    d.DerivationDescription = "; ".join(
        part for part in (f"Reconstructed by {known.get('method', 'Spinray')}", comment) if part
    )[:1024]
    d.PatientPosition = str(known.get("patient_position", ""))
    if modality == "CT":
        d.KVP = known.get("kvp")
        if "kernel" in known:  # by its name, and by what it does
            d.ConvolutionKernel = [
                str(known["kernel"])[:16].upper(), f"MTF50 {known['mtf50_per_mm']:.3g}/mm"[:16]
            ]  # fmt: skip
    else:
        d.ScanningSequence, d.SequenceVariant, d.ScanOptions = "RM", "NONE", ""
        d.MRAcquisitionType = {2: "2D", 3: "3D"}.get(known.get("ndim", 0), "")
        d.RepetitionTime = _number(known.get("repetition_time_ms"))
        d.EchoTime = _number(known.get("echo_time_ms"))
        d.EchoTrainLength = known.get("echo_train_length")
        if "field_strength_t" in known:
            d.MagneticFieldStrength = _number(known["field_strength_t"])
    return d


def _algorithm(image: Image, now: datetime.datetime) -> Dataset:
    """What made the image: program, version, method and the options that are numbers or words."""
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    d = Dataset()
    d.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    d.Manufacturer = d.ManufacturerModelName = "Spinray"
    d.SoftwareVersions = version("spinray")
    d.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    options = {
        name: value
        for name, value in dict(image.metadata.get("options") or {}).items()
        if isinstance(value, bool | int | float | str) and not _is_path(value)
    }
    words = [f"Reconstruction: {image.metadata.get('method', 'unknown')}"]
    words += [f"{name}={value}" for name, value in options.items()]
    d.ContributionDescription = ", ".join(words)[:1024]
    return d


def _is_path(value: object) -> bool:
    """Whether an option may name a file, and people by it."""
    return isinstance(value, str) and bool(set(value) & set("/\\."))


def _number(value: Any) -> float | None:
    return None if value is None else float(np.ravel(value)[0])


def _scaled(
    slices: NDArray[np.float64], modality: str, series: Dataset, window: tuple[float, float] | None
) -> NDArray[np.uint16]:
    """Scale values to 16 bits with one slope for the series; the window is in real values."""
    low, high = float(slices.min()), float(slices.max())
    if modality == "MR" and low >= 0:
        low = 0.0
    slope = (high - low) / 65535 or 1.0
    # DICOM keeps numbers as 16 characters: scale by what will be read back.
    series.RescaleSlope, series.RescaleIntercept = f"{slope:.9e}", f"{low:.8e}"
    slope, low = float(series.RescaleSlope), float(series.RescaleIntercept)
    series.RescaleType = "HU" if modality == "CT" else "US"
    series.VOILUTFunction = "LINEAR_EXACT"  # the only one that allows widths below 1
    if window is None:
        percentiles = np.percentile(slices, _PERCENTILES)
        window = _CT_WINDOW if modality == "CT" else (float(percentiles[0]), float(percentiles[1]))
    series.WindowCenter = f"{(window[0] + window[1]) / 2:.8e}"
    series.WindowWidth = f"{max(window[1] - window[0], slope):.8e}"
    return np.clip(np.rint((slices - low) / slope), 0, 65535).astype(np.uint16)


def _instance(
    series: Dataset, pixels: NDArray[np.uint16], image: Image, number: int, item: int, z: int
) -> FileDataset:
    d = new_instance(series, pixels, number + 1)
    d.AcquisitionNumber = item + 1
    columns = LPS_TO_RAS @ image.affine[:3, :3]
    sizes = np.linalg.norm(columns, axis=0)
    unit = columns / sizes
    if abs(float(unit[:, 0] @ unit[:, 1])) > 1e-4:
        raise ValueError(
            "DICOM slices need rows and columns at right angles; the affine is sheared"
        )
    position = LPS_TO_RAS @ image.affine[:3, 3] + columns[:, 2] * z
    d.ImageOrientationPatient = [f"{v:.10f}"[:16] for v in (*unit[:, 0], *unit[:, 1])]
    d.ImagePositionPatient = [f"{v:.9g}"[:16] for v in position]
    d.PixelSpacing = [f"{sizes[1]:.9g}", f"{sizes[0]:.9g}"]
    d.SliceThickness = f"{float(image.metadata.get('slice_thickness_mm', sizes[2])):.9g}"
    d.SpacingBetweenSlices = f"{sizes[2]:.9g}"
    return d
