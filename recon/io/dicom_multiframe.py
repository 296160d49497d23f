"""Many slices in one DICOM object, put together by highdicom."""

from __future__ import annotations

import warnings
from typing import Any

from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from ..extras import extra_library


def combined(slices: list[FileDataset]) -> Any:
    """Legacy Converted Enhanced MR or CT object of the slices of a series, in order of place.

    Raises
    ------
    ImportError
        highdicom is not installed.
    """
    legacy = extra_library("highdicom.legacy", "dicom", "highdicom")
    kind = getattr(legacy, f"LegacyConvertedEnhanced{slices[0].Modality}Image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attributes that are empty here, as the patient's name
        made = kind(
            slices,
            series_instance_uid=generate_uid(),
            series_number=int(slices[0].SeriesNumber),
            sop_instance_uid=generate_uid(),
            instance_number=1,
            skip_private_attributes=True,
        )
    made.SeriesDescription = slices[0].SeriesDescription
    made.Laterality = ""
    # The slices are no objects of their own: nothing may refer to them.
    del made.ReferencedSeriesSequence
    frames = made.PerFrameFunctionalGroupsSequence
    for place in (*made.SharedFunctionalGroupsSequence, *frames):
        if "ConversionSourceAttributesSequence" in place:
            del place.ConversionSourceAttributesSequence
    for place in frames:  # required, though a single frame leaves nothing to put there
        if "UnassignedPerFrameConvertedAttributesSequence" not in place:
            place.UnassignedPerFrameConvertedAttributesSequence = Sequence([Dataset()])
    return made
