"""Reconstructions against targets, volume by volume, with the data's crimes named beside.

fastMRI's protocol: a volume is one figure, target and image are cropped to squares of the
target's width, the volume's maximum is the peak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...datasets import Finding, MRExample, SliceDataset, image_findings
from ...datasets.fastmri import TARGETS, FastMRI
from ...datasets.image_folders import image_files, read_volume
from ...datasets.reports import subject_keys, volume_findings
from ...datasets.sources import require_folder
from ...kernels.warn import warn
from ..cluster import Crew, Outcome, Pending, crew
from ..io import FormatError
from ..io.errors import format_errors
from ..io.hdf5 import attribute, find, open_hdf5, read_array
from ..metrics import lodopab_metrics, masked_metrics, volume_metrics
from ..scan import CTScan, MRScan
from .dispatch import reconstruct
from .figures import Evaluation, VolumeFigures
from .learned import training_facts

Protocol = Literal["fastmri", "lodopab"]
RECONSTRUCTION = "reconstruction"  # dataset of fastMRI's submissions


OnVolume = Callable[[VolumeFigures], None]


def evaluate_folder(
    predictions: str | PathLike[str],
    targets: str | PathLike[str],
    *,
    protocol: Protocol = "fastmri",
    challenge: str | None = None,
    acquisition: str | None = None,
    on_volume: OnVolume | None = None,
    workers: Crew | None = None,
) -> Evaluation:
    """Evaluate a folder of reconstructions against a folder of targets.

    Parameters
    ----------
    predictions
        Files named as the targets, whatever their suffix: fastMRI's submissions (HDF5 with
        `reconstruction`), NIfTI, npy, npz or Spinray's HDF5.
    targets
        fastMRI volumes, or images of those formats.
    protocol
        "fastmri", or "lodopab" for images in 1/mm.
    challenge
        "multicoil" or "singlecoil". Default: whichever target the file has.
    acquisition
        Only fastMRI volumes with this one.
    on_volume
        Called with each volume's figures.
    workers
        Who does it, a volume at a time: of `spinray.recon.cluster.crew`. Default: this process.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        No target, or no reconstruction of any of them.
    """
    given = {_stem(path): path for path in image_files(require_folder(predictions))}
    wanted = image_files(require_folder(targets))
    if not wanted:
        raise ValueError(f"{targets}: empty, expected fastMRI volumes or images")
    if not given:
        raise ValueError(f"{predictions}: empty, expected reconstructions named as the targets")
    with crew() if workers is None else nullcontext(workers) as team:
        pending = [
            (path, team.submit(_compared, path, given.get(_stem(path)), str(predictions), protocol,
                               challenge, acquisition))
            for path in wanted
        ]  # fmt: skip
        result = _collected(pending, on_volume)
    if not result.volumes:
        first = f": {result.skipped[0][0]}: {result.skipped[0][1]}" if result.skipped else ""
        chosen = "" if acquisition is None else f" with acquisition {acquisition}"
        raise ValueError(f"{targets}: no volume{chosen} could be evaluated{first}")
    return result


def evaluate_method(
    dataset: SliceDataset[Any],
    method: str,
    *,
    options: Mapping[str, Any] | None = None,
    protocol: Protocol | None = None,
    on_volume: OnVolume | None = None,
    workers: Crew | None = None,
) -> Evaluation:
    """Reconstruct every volume of a dataset by a method and evaluate it.

    Parameters
    ----------
    dataset
        Best with ``fixed_masks=True``, so that methods are compared on the same samples.
    method, options
        As for `reconstruct`.
    protocol
        Default: "fastmri" for MR, "lodopab" for CT.
    on_volume, workers
        As for `evaluate_folder`.

    Raises
    ------
    ValueError
        No volume could be evaluated: names the first reason.
    """
    chosen = protocol or ("lodopab" if dataset.modality == "CT" else "fastmri")
    known = dict(options or {})
    trained = training_facts(method, known, dataset.modality).get("subjects", ())
    grouped = groupby(enumerate(dataset.slices), key=lambda entry: entry[1][0])
    with crew() if workers is None else nullcontext(workers) as team:
        # A piece of its own, so that it is sent once, and again to who takes a dead worker's place.
        shared = team.submit(_itself, dataset)
        pending = [
            (path, team.submit(_evaluated, shared, path, [index for index, _ in members], method,
                               known, chosen, trained))
            for path, members in grouped
        ]  # fmt: skip
        result = _collected(pending, on_volume)
    result.skipped[:0] = [(path.name, reason) for path, reason in dataset.skipped]
    if not result.volumes:
        name, reason = result.skipped[0]
        raise ValueError(f"{dataset.name}: no volume could be evaluated: {name}: {reason}")
    return result


Row = tuple[VolumeFigures, list[Finding]]


def _collected(pending: Sequence[tuple[Path, Pending]], on_volume: OnVolume | None) -> Evaluation:
    """The figures of all volumes, in order."""
    result = Evaluation()
    for path, piece in pending:
        outcome = piece.result()
        for text in outcome.warned:
            warn(f"{path}: {text}")
        if outcome.error is not None:
            result.skipped.append((path.name, _without(str(path), outcome.error)))
        elif outcome.value is not None:
            row, findings = outcome.value
            result.volumes.append(row)
            result.findings.extend(findings)
            if on_volume is not None:
                on_volume(row)
    return result


def _compared(
    path: Path, image_path: Path | None, predictions: str, protocol: Protocol,
    challenge: str | None, acquisition: str | None,
) -> Row | None:  # fmt: skip
    """A target and its reconstruction; None where another acquisition is wanted."""
    target, contrast = _read_target(path, challenge)
    if acquisition is not None and contrast != acquisition:
        return None
    if image_path is None:
        raise FormatError(path, "", f"no reconstruction of this name in {predictions}")
    image = _read_reconstruction(image_path)
    findings = _target_findings(path, target, protocol)
    return _row(path, contrast, len(target), figures_of(target, image, protocol), findings)


def _evaluated(
    shared: Outcome, path: Path, numbers: Sequence[int], method: str, options: dict[str, Any],
    protocol: Protocol, trained: Sequence[str],
) -> Row:  # fmt: skip
    """A volume of a data set, reconstructed."""
    dataset = shared.value
    examples = [dataset[number] for number in numbers]
    if any(example.target is None for example in examples):
        raise FormatError(path, "", "has no target: test data cannot be evaluated")
    contrast = getattr(examples[0], "acquisition", "")
    image = _reconstructed(dataset, examples, method, options)
    figures = figures_of(torch.stack([e.target for e in examples]), image, protocol)
    findings = volume_findings(dataset, path)
    findings += [
        Finding("same subject", path.name, "the network was trained on this subject")
        for key in subject_keys(dataset, [path])
        if key in trained
    ]
    return _row(path, contrast, len(numbers), figures, findings)


def _row(
    path: Path, contrast: str, slices: int, figures: Mapping[str, float],
    findings: list[Finding],
) -> Row:  # fmt: skip
    crimes = [finding.crime for finding in findings]
    return VolumeFigures(path.name, contrast, slices, figures, crimes), findings


def _itself(thing: Any) -> Any:
    return thing


def figures_of(target: Tensor, image: Tensor, protocol: Protocol) -> dict[str, float]:
    """All figures of a volume ``(slice, y, x)`` by a protocol."""
    if protocol == "lodopab":
        return lodopab_metrics(target, image)
    inside = masked_metrics(target, image)
    return {
        **volume_metrics(target, image),
        **{f"{name}_object": value for name, value in inside.items()},
    }


def _reconstructed(
    dataset: SliceDataset[Any], examples: Sequence[Any], method: str, options: dict[str, Any]
) -> Tensor:
    """A volume as one scan: magnitude on MR's k-space matrix, CT's attenuation, ``(slice, y, x)``.

    Methods see that the slices are neighbours, and make operators once.
    """
    first = examples[0]
    if isinstance(first, MRExample):
        if first.kspace.ndim > 3 and first.trajectory is None:
            raise ValueError("methods find the neighbours: open the dataset with adjacent=0")
        mask = None
        if first.mask is not None:
            masks = torch.stack([e.mask[0].expand(e.kspace.shape[-2:]) for e in examples])
            mask = masks[0] if bool((masks == masks[0]).all()) else masks
        scan: MRScan | CTScan = MRScan(
            torch.stack([example.kspace for example in examples]),
            mask=mask,
            trajectory=first.trajectory,
            image_shape=first.crop_size if first.trajectory is not None else (),
            batch_axes=("slice",),
            header={"num_low_frequencies": [example.calibration for example in examples]},
        )
        return reconstruct(scan, method, progress=False, **options).data.abs()
    if first.sinogram is None:
        raise ValueError(f"{dataset.name} has images, no projections to reconstruct from")
    scan = CTScan(
        torch.stack([example.sinogram for example in examples]),
        dataset.geometry,  # type: ignore[attr-defined]
        volume=dataset.volume,  # type: ignore[attr-defined]
    )
    return reconstruct(scan, method, progress=False, **options).data


def _read_target(path: Path, challenge: str | None) -> tuple[Tensor, str]:
    """Target ``(slice, y, x)`` and acquisition."""
    if path.suffix in (".h5", ".hdf5"):
        with open_hdf5(path) as file:
            names = [TARGETS[challenge]] if challenge else list(TARGETS.values())
            found = [name for name in names if find(file, name) is not None]
            if found:
                data = read_array(file, found[0]).astype(np.float32)
                return torch.from_numpy(data), str(attribute(file, "acquisition", ""))
            if find(file, "kspace") is not None:
                raise FormatError(path, "", f"holds no target, expected {' or '.join(names)}")
    return read_volume(path), ""


def _read_reconstruction(path: Path) -> Tensor:
    if path.suffix in (".h5", ".hdf5"):
        with open_hdf5(path) as file:
            if find(file, RECONSTRUCTION) is not None:
                return torch.from_numpy(read_array(file, RECONSTRUCTION).astype(np.float32))
    with format_errors(path):
        return read_volume(path)


def _target_findings(path: Path, target: Tensor, protocol: Protocol) -> list[Finding]:
    """Data crimes of a target's file: of its k-space where it has one, of its image else."""
    if path.suffix in (".h5", ".hdf5"):
        with open_hdf5(path) as file:
            raw = find(file, "kspace") is not None and find(file, "ismrmrd_header") is not None
            single = find(file, TARGETS["singlecoil"]) is not None
        if raw:
            data = FastMRI(
                path.parent, volumes=[path.name], challenge="singlecoil" if single else "multicoil"
            )
            return volume_findings(data, path)
    return image_findings(target[len(target) // 2], path.name, spectrum=protocol == "fastmri")


def _stem(path: Path) -> str:
    """Name without suffixes of images: a.nii.gz, a.h5 and a are the same volume."""
    name = path.name
    for suffix in (".nii.gz", path.suffix):
        if suffix and name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _without(path: str, error: Exception) -> str:
    """An error's text in one line, without the file's name before it."""
    return " ".join(str(error).split()).removeprefix(path).removeprefix(": ").removeprefix(", ")
