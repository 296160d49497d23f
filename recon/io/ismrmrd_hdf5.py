"""ISMRMRD (MRD version 1) raw data in HDF5: https://ismrmrd.readthedocs.io."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..scan import MRScan
from .acquisitions import ACQUISITION_HEADER, Acquisitions, assemble
from .errors import FormatError
from .hdf5 import dataset, find, has, looks_like, open_hdf5, read_text
from .hdf5_lists import require_sound_lists
from .protocol import parse_header

NAME = "ISMRMRD HDF5"


def matches(path: Path) -> bool:
    """Whether some group of an HDF5 file has readouts and an XML header."""
    return looks_like(path, lambda file: _group(file) is not None)


def read(path: Path, encoding: int | None = None) -> MRScan:
    """Read the readouts and sort them; see `assemble`."""
    with open_hdf5(path) as file:
        acquisitions = read_acquisitions(file)
    return assemble(acquisitions, encoding)


def read_acquisitions(file: h5py.File) -> Acquisitions:
    """Read all readouts of the first group that has some."""
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
    require_sound_lists(node, [node.dtype.fields[part][1] for part in ("traj", "data")])
    rows = node[()]
    head = _head(rows["head"], place)
    samples = head["number_of_samples"].astype(np.int64)
    coils = head["active_channels"].astype(np.int64)
    axes = head["trajectory_dimensions"].astype(np.int64)
    _require_sizes(rows["data"], 2 * samples * coils, place, "k-space")
    # Some writers declare a trajectory and store none: as good as none.
    sizes = np.fromiter(map(len, rows["traj"]), np.int64, len(rows))
    _require_sizes(rows["traj"], np.where(sizes == 0, 0, samples * axes), place, "trajectory")
    shapes = zip(rows["data"], coils.tolist(), samples.tolist(), strict=True)
    return Acquisitions(
        head=head,
        data=[values.view(np.complex64).reshape(c, n) for values, c, n in shapes],
        trajectory=[
            values.reshape(n, -1) if len(values) else values
            for values, n in zip(rows["traj"], samples.tolist(), strict=True)
        ],
        header=parse_header(xml),
        xml=xml,
        source=NAME,
    )


def _group(file: h5py.File) -> str | None:
    """Name of the first group with readouts; most files call it dataset."""
    names = sorted(file, key=lambda name: (name != "dataset", name))
    return next((name for name in names if has(file, f"{name}/data", f"{name}/xml")), None)


def _head(stored: NDArray[np.void], place: str) -> NDArray[np.void]:
    """Headers in the standard's layout: files differ in padding and byte order."""
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


def _require_sizes(rows: NDArray[Any], expected: NDArray[np.int64], place: str, what: str) -> None:
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    wrong = np.flatnonzero(sizes != expected)
    if len(wrong):
        i = int(wrong[0])
        raise FormatError(
            None, f"{place}[{i}]", f"holds {sizes[i]} numbers of {what}, its "
            f"header says {expected[i]}",
        )  # fmt: skip
