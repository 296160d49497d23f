"""What a data set holds, and the data crimes found in it or between two of its parts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recon.io import FormatError
from .crimes import Finding, image_findings, kspace_findings, twin_findings
from .slices import SliceDataset


@dataclass(frozen=True)
class DatasetReport:
    """Counts and findings of a data set.

    Parameters
    ----------
    name
        Of the data set.
    volumes, slices, subjects
        How many.
    skipped
        Files that could not be read, and why.
    checked
        Volumes that were looked at for crimes.
    findings
        Crimes, with the volumes they are in.
    """

    name: str
    volumes: int
    slices: int
    subjects: int
    skipped: Sequence[tuple[Path, str]]
    checked: int
    findings: Sequence[Finding]

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.volumes} volumes of {self.subjects} subjects, "
            f"{self.slices} slices",
            *(f"left out: {path.name}: {reason}" for path, reason in self.skipped),
            crimes_in_words(self.findings, self.checked),
        ]
        return "\n".join(lines)


def report(dataset: SliceDataset[Any], *, limit: int = 50) -> DatasetReport:
    """Look at a data set, at one slice of each of at most `limit` volumes spread over it.

    Interpolation is looked for in k-space, and in MR images of which k-space is simulated; CT
    images are band-limited by their kernels.
    """
    findings, skipped = [], list(dataset.skipped)
    chosen = _spread(dataset.volumes, limit)
    for path in chosen:
        try:
            findings += volume_findings(dataset, path)
        except (FormatError, OSError) as error:
            skipped.append((path, str(error)))
    subjects = set[str]().union(*(dataset.subjects(path) for path in dataset.volumes))
    return DatasetReport(
        dataset.name,
        len(dataset.volumes),
        len(dataset),
        len(subjects),
        skipped,
        len(chosen),
        findings,
    )


def volume_findings(dataset: SliceDataset[Any], path: Path) -> list[Finding]:
    """Data crimes of one volume."""
    evidence = dataset.evidence(path)
    findings = []
    if dataset.simulated:
        detail = "figures on it do not stand for data of a scanner"
        findings.append(Finding(f"{dataset.simulated} simulated from images", path.name, detail))
    if evidence.kspace is not None:
        findings += kspace_findings(evidence.kspace, evidence.mask, path.name)
    if evidence.image is not None:
        spectrum = evidence.kspace is None and dataset.modality == "MR"
        findings += image_findings(evidence.image, path.name, spectrum=spectrum)
    return list({(f.crime, f.where): f for f in findings}.values())


def split_findings(
    first: SliceDataset[Any], second: SliceDataset[Any], *, limit: int = 200
) -> list[Finding]:
    """Find subjects and images that stand on both sides of a split.

    Subjects are compared in all volumes, images in at most `limit` volumes of each side.
    """
    findings = []
    sides = [
        {name: path.name for path in side.volumes for name in side.subjects(path)}
        for side in (first, second)
    ]
    for name in sorted(sides[0].keys() & sides[1].keys()):
        files = " and ".join(dict.fromkeys(side[name] for side in sides))
        findings.append(Finding("same subject", name, f"on both sides of the split, in {files}"))
    pictures = [
        {str(path): side.images(path) for path in _spread(side.volumes, limit)}
        for side in (first, second)
    ]
    return findings + twin_findings(*pictures)


def subject_keys(dataset: SliceDataset[Any], volumes: Sequence[Path] | None = None) -> list[str]:
    """Whom volumes (default: all) show, in digests: to be compared, not to be read.

    A subject known by its file is known by the file's name and size, on any machine.
    """
    chosen = dataset.volumes if volumes is None else volumes
    names = set[str]().union(*(dataset.subjects(path) for path in chosen))
    keys = set()
    for name in names:
        path = Path(name)
        known = f"{path.name} {path.stat().st_size}" if path.is_file() else name
        keys.add(hashlib.sha256(known.encode()).hexdigest()[:16])
    return sorted(keys)


def crimes_in_words(findings: Sequence[Finding], checked: int) -> str:
    """One line a kind of crime: how many volumes, and the first of them."""
    if not findings:
        return f"data crimes: none found in {checked} volumes looked at"
    counts = Counter(finding.crime for finding in findings)
    firsts = {finding.crime: finding for finding in reversed(findings)}
    return "\n".join(
        f"data crime: {crime}: {count} found, the first in {firsts[crime].where}: "
        f"{firsts[crime].detail}"
        for crime, count in counts.items()
    )


def _spread(paths: list[Path], limit: int) -> list[Path]:
    """At most `limit` of the paths, evenly spread."""
    if limit < 1:
        raise ValueError(f"limit must be 1 or more volumes, got {limit}")
    count = min(limit, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]
