"""Mayo Clinic's low-dose CT images, from TCIA's LDCT-and-Projection-data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from torch import Tensor

from ..recon.ct import from_hounsfield
from ..recon.io import FormatError, load_image
from ..recon.io.errors import format_errors
from .examples import CTExample
from .slices import Evidence, SliceDataset
from .sources import SOURCES, advice, require_folder


class MayoImages(SliceDataset[CTExample]):
    """Mayo's low-dose images with the full-dose ones as target, slice by slice.

    The scanner's own filtered back projections, in attenuation: pairs of DICOM series of one
    patient whose descriptions say full and low dose, matched by table position. The projections
    of the collection (DICOM-CT-PD) are not used here.

    Parameters
    ----------
    folder
        With a folder a patient, as TCIA's retriever makes it.
    patients
        Names of the patients' folders to keep, such as one side of `split_subjects`.

    Raises
    ------
    FileNotFoundError
        No such folder: says where the data come from.
    ValueError
        No patient with both doses in it.

    References
    ----------
    T. Moen et al., Med Phys 48, 902 (2021).
    """

    name, modality = "Mayo LDCT images", "CT"

    def __init__(self, folder: str | PathLike[str], patients: Sequence[str] | None = None) -> None:
        source = SOURCES["mayo"]
        root = require_folder(folder, source)
        folders = [path for path in root.iterdir() if path.is_dir()]
        if patients is not None:
            folders = [path for path in folders if path.name in set(patients)]
        self._pairs: dict[Path, list[tuple[Path, Path]]] = {}
        super().__init__(folders, needed=f"patients with both doses in {root}. {advice(source)}")

    def _open(self, path: Path) -> int:
        series: dict[str, dict[float, Path]] = defaultdict(dict)
        for file in sorted(path.rglob("*.dcm")):
            dose, position = _dose_and_position(file)
            if dose:
                series[dose][position] = file
        full, low = series["full"], series["low"]
        both = sorted(full.keys() & low.keys())
        if not both:
            raise FormatError(
                path, "", f"holds {len(full)} full-dose and {len(low)} low-dose slices, none paired"
            )
        self._pairs[path] = [(low[z], full[z]) for z in both]
        return len(both)

    def __getitem__(self, index: int) -> CTExample:
        path, number = self.slices[index]
        image, target = (_attenuation(file) for file in self._pairs[path][number])
        return CTExample(None, image, target, float(target.max()), path.name, number)

    def subjects(self, path: Path) -> set[str]:
        """The patient's folder."""
        return {path.name}

    def evidence(self, path: Path) -> Evidence:
        """The full-dose slice in the middle."""
        pairs = self._pairs[path]
        return Evidence(None, None, _attenuation(pairs[len(pairs) // 2][1]))


def _dose_and_position(path: Path) -> tuple[str, float]:
    """Return "full", "low" or "" by the series' description, and the table position in mm."""
    import pydicom

    tags = ["SeriesDescription", "ImagePositionPatient", "Modality"]
    with format_errors(path):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
        text = str(header.get("SeriesDescription", "")).lower()
        if "image" not in text or "ImagePositionPatient" not in header:
            return "", 0.0  # projections, localisers
        dose = "full" if "full dose" in text else "low" if "low dose" in text else ""
        return dose, round(float(header.ImagePositionPatient[2]), 2)


def _attenuation(path: Path) -> Tensor:
    """A DICOM slice in 1/mm."""
    return from_hounsfield(load_image(path).data.float()).clamp_min(0)
