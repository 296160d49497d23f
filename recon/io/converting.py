"""`convert`: a raw file or an image in another format."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from ...kernels.warn import warn
from ..image import Image
from ..scan import MRScan
from .dicom_file import some_dicom_file
from .errors import FormatError
from .images import load_image
from .raw_file import RawFile
from .reading import is_scan, open_raw, split_options
from .writing import check_writable, save

_ISMRMRD = (".h5", ".hdf5", ".mrd")


def convert(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    anonymize: bool = False,
    multiframe: bool = False,
    **options: Any,
) -> Path:
    """Write a raw file or an image in the format of another suffix.

    Readouts (twix, Bruker, Philips, GE, ISMRMRD, MRD 2) go to ISMRMRD as they are, a few at a time:
    noise, navigators, phase correction and all headers stay; waveforms (ECG, breathing) do not,
    which is warned of. Other targets hold the sorted scan.

    Parameters
    ----------
    source
        Anything that `load` or `load_image` reads.
    target
        Raw data: ``.h5``, ``.mrd`` (ISMRMRD; Data Exchange for CT), ``.cfl`` (BART), ``.dcm``
        (DICOM-CT-PD). Images: as `save`.
    anonymize
        Leave out names, dates, institutions, devices, free text and unique identifiers.
    multiframe
        Images to DICOM: one file of all slices.
    options
        As for `load`: slices or repetitions to keep, and what a format leaves open.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileNotFoundError, FormatError, TypeError, ValueError
        As `load`, `load_image` and `save`.
    """
    source, target = Path(source), Path(target)
    if multiframe and not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    if is_image(source):
        return _convert_image(source, target, anonymize, multiframe, options)
    if multiframe:
        raise ValueError(f"{source}: holds raw data; multiframe is for images")
    given, part = split_options(source, options)
    raw = open_raw(source, **given)
    if raw.readouts is not None and target.name.lower().endswith(_ISMRMRD):
        return _convert_readouts(raw, target, anonymize, part)
    scan = raw.read(**part)
    if anonymize:
        from .anonymize import anonymous_scan

        scan = anonymous_scan(scan)
    return save(scan, target)


def is_image(source: Path) -> bool:
    """Whether a file is no scan, or a folder holds a series of DICOM slices."""
    if source.is_dir():
        return not is_scan(source) and some_dicom_file(source) is not None
    return source.is_file() and not is_scan(source)


def _convert_readouts(raw: RawFile, target: Path, anonymize: bool, part: dict[str, Any]) -> Path:
    from .ismrmrd_writer import write_readouts

    check_writable(target, MRScan)
    assert raw.readouts is not None
    if waveforms := raw.facts.get("waveforms"):
        warn(f"{target}: the source's {waveforms} waveforms are left out")
    readouts = raw.readouts.part(raw.checked(part)) if part else raw.readouts
    if anonymize:
        from .anonymize import anonymous_readouts

        readouts = anonymous_readouts(readouts)
    write_readouts(readouts, target)
    return target


def _convert_image(
    source: Path, target: Path, anonymize: bool, multiframe: bool, options: dict[str, Any]
) -> Path:
    if options:
        raise TypeError(f"{source}: an image has no {', '.join(options)} to choose")
    try:
        image = load_image(source)
    except FormatError as error:
        raise FormatError(
            source, "", f"is neither raw data nor an image: {error.message}"
        ) from None
    if anonymize:
        kept = ("modality", "units", "water", "method", "patient_position")
        metadata = {name: image.metadata[name] for name in kept if name in image.metadata}
        image = Image(image.data, image.spacing, image.affine, metadata)
    return save(image, target, **({"multiframe": True} if multiframe else {}))
