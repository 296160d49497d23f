"""ISMRMRD (MRD version 1) raw data in HDF5: https://ismrmrd.readthedocs.io."""

from __future__ import annotations

import dataclasses
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..acquisitions import ACQUISITION_HEADER, Acquisitions
from ..errors import FormatError
from ..hdf5 import dataset, find, has, looks_like, open_hdf5, read_text
from ..hdf5_lists import field_offsets, list_places, stored_elements
from ..protocol import parse_header
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..stored import StoredReadouts, mapped

NAME = "ISMRMRD HDF5"


def matches(path: Path) -> bool:
    """Whether some group of an HDF5 file has readouts and an XML header."""
    return looks_like(path, lambda file: _group(file) is not None)


def open_file(
    path: Path, encoding: int | None = None, sequence: str | PathLike[str] | None = None
) -> RawFile:
    """Look at the headers of all readouts; their samples are read where they lie.

    Parameters
    ----------
    path
        The file.
    encoding
        Which encoding space. Default: the first that has readouts.
    sequence
        The Pulseq .seq that was played, for places in k-space and labels.
    """
    with open_hdf5(path) as file:
        acquisitions = _acquisitions(file, mapped(path))
        node = find(file, f"{_group(file)}/waveforms")
        waveforms = int(node.size) if isinstance(node, h5py.Dataset) else 0
    raw = readout_file(acquisitions, encoding, sequence)
    found = {"waveforms": waveforms} if waveforms else {}
    return dataclasses.replace(raw, facts={**raw.facts, **found})


def _acquisitions(file: h5py.File, content: NDArray[np.uint8]) -> Acquisitions:
    """The readouts of the first group that has some."""
    name = _group(file)
    if name is None:
        raise FormatError(None, "", "has no group with readouts (data) and a header (xml)")
    group = find(file, name)
    xml = read_text(group, "xml")
    node = dataset(group, "data")
    place = f"{name}/data"
    fields = node.dtype.names or ()
    if node.ndim != 1 or not node.size or not {"head", "traj", "data"} <= set(fields):
        raise FormatError(
            None, place, f"is {node.shape} of {node.dtype}, expected readouts (head, traj, data)"
        )
    for part in ("traj", "data"):
        if h5py.check_vlen_dtype(node.dtype[part]) != np.float32:
            raise FormatError(None, place, f"{part} is {node.dtype[part]}, expected float32 lists")
    at_head, at_traj, at_data = field_offsets(node, ("head", "traj", "data"))
    elements = stored_elements(node, content)
    width = node.dtype["head"].itemsize
    stored = np.ascontiguousarray(elements[:, at_head : at_head + width])
    head = _head(stored.view(node.dtype["head"])[:, 0], place)
    samples = head["number_of_samples"].astype(np.int64)
    coils = head["active_channels"].astype(np.int64)
    axes = head["trajectory_dimensions"].astype(np.int64)
    first, sizes = list_places(elements, at_data, content, 4, place)
    _require_sizes(sizes, 2 * samples * coils, place, "k-space")
    first_of_k, sizes_of_k = list_places(elements, at_traj, content, 4, place)
    # Some writers declare a trajectory and store none: as good as none.
    has_places = sizes_of_k > 0
    _require_sizes(sizes_of_k, np.where(has_places, samples * axes, 0), place, "trajectory")
    return Acquisitions(
        head=head,
        data=StoredReadouts(content, first, coils, samples),
        trajectory=StoredReadouts(
            content, first_of_k, np.where(has_places, samples, 0), np.where(has_places, axes, 0),
            np.dtype("<f4"),
        ),
        header=parse_header(xml),
        xml=xml,
        source=NAME,
    )  # fmt: skip


def _group(file: h5py.File) -> str | None:
    """Name of the first group with readouts; most files call it dataset."""
    names = sorted(file, key=lambda name: (name != "dataset", name))
    return next((name for name in names if has(file, f"{name}/data", f"{name}/xml")), None)


def _head(stored: NDArray[np.void], place: str) -> NDArray[np.void]:
    """Headers in the standard's layout: files differ in padding and byte order."""
    if stored.dtype == ACQUISITION_HEADER:
        return stored
    head = np.zeros(len(stored), ACQUISITION_HEADER)
    missing = set(ACQUISITION_HEADER.names or ()) - set(stored.dtype.names or ())
    counters = ACQUISITION_HEADER["idx"].names or ()
    if not missing:
        missing = set(counters) - set(stored["idx"].dtype.names or ())
    if missing:
        raise FormatError(None, place, f"headers lack {', '.join(sorted(missing))}")
    for name in ACQUISITION_HEADER.names or ():
        if name != "idx":
            head[name] = stored[name]
    for name in counters:
        head["idx"][name] = stored["idx"][name]
    return head


def _require_sizes(sizes: NDArray[Any], expected: NDArray[np.int64], place: str, what: str) -> None:
    wrong = np.flatnonzero(sizes != expected)
    if len(wrong):
        i = int(wrong[0])
        raise FormatError(
            None, f"{place}[{i}]", f"holds {sizes[i]} numbers of {what}, its "
            f"header says {expected[i]}",
        )  # fmt: skip
