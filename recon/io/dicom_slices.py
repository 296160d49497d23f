"""Images from DICOM: a file, classic or multi-frame, or a folder with the slices of a series."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ..arrays import as_tensor
from ..image import Image
from .dicom_file import dicom_files, read_dicom
from .errors import FormatError, format_errors
from .orientation import LPS_TO_RAS
from .stored import DEFLATE_RATIO

Array = NDArray[np.float64]

_ALWAYS_ALLOWED = 1 << 24  # bytes of pixels, whatever the file's size
_EVEN = 0.02  # of the distance between slices, by which it may vary


@dataclass(frozen=True)
class _Frame:
    """A slice with its place: row and column directions and the first pixel's position (LPS)."""

    values: NDArray[np.float32]
    spacing: tuple[float, float]
    thickness: float
    directions: Array | None
    position: Array | None
    number: int
    series: str


def read(path: Path) -> Image:
    """Read a file; CT comes in Hounsfield units (``metadata["units"]``)."""
    dataset = read_dicom(path, pixels=True)
    with format_errors(path):
        frames = list(_frames(dataset, path))
        image = _single(frames[0]) if len(frames) == 1 else _stacked(frames)
    return Image(image.data, image.spacing, image.affine, _metadata(dataset))


def read_folder(folder: Path) -> Image:
    """Read the slices of the one series in a folder as a volume, batches of them where it has any.

    Raises
    ------
    FormatError
        No slices, several series, slices that are not parallel, even and whole.
    """
    files = dicom_files(folder)
    frames: list[_Frame] = []
    first: Dataset | None = None
    for file in files:
        dataset = read_dicom(file, pixels=True)
        if "PixelData" not in dataset:  # presentation states, reports
            continue
        with format_errors(file):
            frames.extend(_frames(dataset, file))
            if first is not None and frames[-1].values.shape != frames[0].values.shape:
                raise FormatError(
                    None, "Rows, Columns", f"are {frames[-1].values.shape}, of the first file "
                    f"{frames[0].values.shape}: another series?",
                )  # fmt: skip
        first = dataset if first is None else first
    if first is None:
        raise FormatError(folder, "", "holds no DICOM images")
    series = Counter(frame.series for frame in frames)
    if len(series) > 1:
        found = ", ".join(f"{name[-20:]} ({n} slices)" for name, n in series.items())
        raise FormatError(folder, "", f"holds {len(series)} series: {found[:300]}")
    with format_errors(folder):
        image = _single(frames[0]) if len(frames) == 1 else _stacked(frames)
    return Image(image.data, image.spacing, image.affine, _metadata(first))


def _metadata(dataset: Dataset) -> dict[str, Any]:
    metadata: dict[str, Any] = {"modality": str(dataset.get("Modality", ""))}
    if metadata["modality"] == "CT":
        metadata["units"] = "HU"
    if dataset.get("PatientPosition"):
        metadata["patient_position"] = str(dataset.PatientPosition)
    return metadata


def _frames(dataset: Dataset, path: Path) -> Iterator[_Frame]:
    """All frames of a dataset with their places."""
    pixels = _pixels(dataset, path)
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
    if groups and len(groups) != len(pixels):
        raise FormatError(
            None, "PerFrameFunctionalGroupsSequence", f"has {len(groups)} items for {len(pixels)} "
            "frames",
        )  # fmt: skip
    if len(pixels) > 1 and not groups:
        raise FormatError(None, "PixelData", f"holds {len(pixels)} frames without their places")
    series = str(dataset.get("SeriesInstanceUID", ""))
    for number, stored in enumerate(pixels):
        places = [*(groups[number : number + 1]), *shared]
        slope = float(_said(dataset, places, "PixelValueTransformation", "RescaleSlope", 1))
        start = float(_said(dataset, places, "PixelValueTransformation", "RescaleIntercept", 0))
        with np.errstate(all="ignore"):
            values = (stored.astype(np.float64) * slope + start).astype(np.float32)
        if not np.isfinite(values).all():
            raise FormatError(None, "RescaleSlope", f"is {slope:g}, intercept {start:g}")
        size = _numbers(_said(dataset, places, "PixelMeasures", "PixelSpacing", (1, 1)), 2)
        directions = _said(dataset, places, "PlaneOrientation", "ImageOrientationPatient", None)
        position = _said(dataset, places, "PlanePosition", "ImagePositionPatient", None)
        step = _said(dataset, places, "PixelMeasures", "SpacingBetweenSlices", None)
        step = step or _said(dataset, places, "PixelMeasures", "SliceThickness", None)
        yield _Frame(
            values,
            (float(size[0]), float(size[1])),
            float(step or 1),
            None if directions is None else _numbers(directions, 6).reshape(2, 3),
            None if position is None else _numbers(position, 3),
            int(dataset.get("InstanceNumber") or 0) * len(pixels) + number,
            series,
        )


def _said(
    dataset: Dataset, places: Sequence[Dataset], group: str, keyword: str, default: Any
) -> Any:
    """An attribute of a frame: of its own functional groups, the shared ones, or the file."""
    for place in places:
        for item in place.get(f"{group}Sequence") or ():
            if item.get(keyword) is not None:
                return item.get(keyword)
    found = dataset.get(keyword)
    return default if found is None else found


def _numbers(value: Any, count: int) -> Array:
    found = np.array([float(v) for v in value])
    if found.shape != (count,) or not np.isfinite(found).all():
        raise FormatError(None, "place of a slice", f"holds {found}, expected {count} numbers")
    return found


def _pixels(dataset: Dataset, path: Path) -> NDArray[Any]:
    """Stored values ``(frame, row, column)`` of a grey image that its file can hold."""
    names = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")
    rows, columns, bits, samples = (int(dataset.get(name) or 0) for name in names)
    count = int(dataset.get("NumberOfFrames") or 1)
    declared = rows * columns * bits // 8 * samples * count
    if samples != 1 or declared <= 0:
        raise FormatError(
            None, "PixelData", f"holds {count} frames of {rows} x {columns} pixels of {samples} "
            f"samples and {bits} bits, expected grey slices",
        )  # fmt: skip
    if declared > max(DEFLATE_RATIO * path.stat().st_size, _ALWAYS_ALLOWED):
        raise FormatError(None, "PixelData", f"declares {declared} bytes, more than the file holds")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.asarray(dataset.pixel_array)
    except (AttributeError, NotImplementedError) as error:
        raise FormatError(None, "PixelData", f"cannot be read: {error}") from error
    if pixels.shape[-2:] != (rows, columns) or pixels.dtype.kind not in "iuf":
        raise FormatError(None, "PixelData", f"has shape {pixels.shape}, expected grey slices")
    return pixels.reshape(-1, rows, columns)


def _single(frame: _Frame) -> Image:
    affine = None
    if frame.directions is not None and frame.position is not None:
        row, column = frame.directions
        affine = _affine(frame, np.cross(row, column) * frame.thickness, frame.position)
    return Image(as_tensor(frame.values), frame.spacing, affine)  # type: ignore[arg-type]


def _stacked(frames: list[_Frame]) -> Image:
    """Slices in order of their numbers where that runs along the stack, of their places else."""
    first = frames[0]
    places = [frame.position for frame in frames]
    if first.directions is None or any(place is None for place in places):
        raise FormatError(None, "ImagePositionPatient", "missing: slices without places")
    normal = np.cross(*first.directions)
    for frame in frames:
        if frame.directions is None or not np.allclose(
            (*frame.directions.ravel(), *frame.spacing),
            (*first.directions.ravel(), *first.spacing),
            atol=1e-4,
        ):
            raise FormatError(
                None, "ImageOrientationPatient", f"of slice {frame.number} is another one than of "
                f"slice {first.number}: they are no stack",
            )  # fmt: skip
    frames = sorted(frames, key=lambda frame: frame.number)
    along = np.round([float(normal @ frame.position) for frame in frames], 4)
    levels = np.unique(along)
    batch, rest = divmod(len(frames), len(levels))
    if rest or set(Counter(along.tolist()).values()) != {batch}:
        raise FormatError(
            None, "ImagePositionPatient", f"{len(frames)} slices at {len(levels)} places: some are "
            "missing, or there more than once",
        )  # fmt: skip
    steps = np.diff(levels)
    if len(steps) and float(np.ptp(steps)) > _EVEN * float(np.median(steps)):
        raise FormatError(
            None, "ImagePositionPatient", f"slices are {steps.min():.4g} to {steps.max():.4g} mm "
            "apart: expected even distances",
        )  # fmt: skip
    downward = len(levels) > 1 and _runs_down(along, len(levels))
    rank = {level: i for i, level in enumerate(levels[::-1] if downward else levels)}
    stack = np.empty((batch, len(levels), *first.values.shape), np.float32)
    seen: Counter[float] = Counter()
    ends: dict[int, Array] = {}
    for frame, level in zip(frames, along.tolist(), strict=True):
        stack[seen[level], rank[level]] = frame.values
        seen[level] += 1
        assert frame.position is not None
        ends.setdefault(rank[level], frame.position)
    step = normal * first.thickness
    if len(levels) > 1:
        step = (ends[len(levels) - 1] - ends[0]) / (len(levels) - 1)
    spacing = (float(np.linalg.norm(step)), *first.spacing)
    data = stack if batch > 1 else stack[0]
    return Image(as_tensor(data), spacing, _affine(first, step, ends[0]))


def _runs_down(along: Array, levels: int) -> bool:
    """Whether the first slices, by their numbers, run against the normal from end to end."""
    start = along[:levels]
    return bool(len(start) == levels and (np.diff(start) < 0).all())


def _affine(frame: _Frame, step: Array, position: Array) -> Array:
    assert frame.directions is not None
    row, column = frame.directions
    affine = np.eye(4)
    columns = (row * frame.spacing[1], column * frame.spacing[0], step)
    affine[:3, :3] = LPS_TO_RAS @ np.stack(columns, axis=1)
    affine[:3, 3] = LPS_TO_RAS @ position
    return affine
