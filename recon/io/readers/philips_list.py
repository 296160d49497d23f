"""Philips .list/.data: k-space exported after the scanner's basic corrections.

The .list is text, a line a vector with its attributes; the .data are complex float32 (little
endian). https://www.gyrotools.com describes the pair; columns go by the names in the file.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from .. import header_parts
from ..acquisitions import ACQUISITION_HEADER, Acquisitions
from ..errors import FormatError
from ..flags import flag_bits
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..sniffing import start_of
from ..stored import StoredReadouts, mapped

NAME = "Philips list/data"
_TITLE = re.compile(rb"^#.*DATA DESCRIPTION FILE", re.IGNORECASE | re.MULTILINE)
_VALUE = re.compile(rb"^\.[ \t]+\d+[ \t]+\d+[ \t]+\d+[ \t]+[A-Za-z]", re.MULTILINE)  # not of a PAR
_COLUMNS = re.compile(r"^#\s+typ\s+(mix\s.*)$", re.MULTILINE)
_VECTORS = ("STD", "REJ", "PHX", "FRX", "NOI", "NAV")
_LARGEST_FILE = 1 << 30
# Column of the list -> counter of ISMRMRD.
_COUNTERS = {"aver": "average", "loca": "slice", "echo": "contrast", "card": "phase",
             "dyn": "repetition", "mix": "set"}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether a file is a list of data vectors, or the data beside one."""
    listed = path.with_suffix(".list") if path.suffix.lower() == ".data" else path
    start = start_of(listed, 8192)
    return b"\0" not in start and bool(_TITLE.search(start) and _VALUE.search(start))


def open_file(path: Path, field_of_view: tuple[float, ...] | None = None) -> RawFile:
    """Look at the list of vectors.

    Parameters
    ----------
    path
        The .list or the .data.
    field_of_view
        In mm, ``(x, y[, z])``: the pair does not say it.
    """
    listed = path.with_suffix(".list") if path.suffix.lower() == ".data" else path
    data = listed.with_suffix(".data")
    if not data.is_file():
        data = listed.with_suffix(".DATA")
    if not data.is_file():
        raise FormatError(listed.with_suffix(".data"), "", "missing beside its list")
    if listed.stat().st_size > _LARGEST_FILE:
        raise FormatError(listed, "", f"has more than {_LARGEST_FILE >> 20} MB")
    text = listed.read_text("latin-1")
    general = _general(text)
    kinds, table = _table(listed, text)
    head, stored = _readouts(listed, data, kinds, table)
    _put_centers(head, general.get("kx_range", ""))
    header = _header(general, head, field_of_view)
    raw = readout_file(Acquisitions.of(head, stored, header, NAME))
    missing = () if field_of_view else ("field of view: voxels of 1 mm; field_of_view= gives it",)
    return dataclasses.replace(raw, missing=(*missing, *raw.missing))


def _general(text: str) -> dict[str, str]:
    """Values of lines such as ``# Scan name : T1w`` and ``. 0 0 0 kx_oversample_factor : 2``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name[:1] in ("#", "."):
            found[name.strip("#.0123456789 \t")] = value.strip()
    return found


def _table(path: Path, text: str) -> tuple[NDArray[np.str_], dict[str, NDArray[np.int64]]]:
    """Type of each vector, and its attributes by the column's name."""
    columns = _COLUMNS.search(text)
    if columns is None:
        raise FormatError(path, "", "has no line that names the columns of its vectors")
    names = columns[1].split()
    kinds: list[str] = []
    rows: list[list[int]] = []
    for line in text.splitlines():
        kind, *words = line.split() or [""]
        if kind not in _VECTORS or not line[0].isspace():
            continue
        if len(words) != len(names):
            raise FormatError(
                path, f"vector {len(rows)}", f"has {len(words)} attributes, expected {len(names)}"
            )
        kinds.append(kind)
        rows.append([int(word[:18]) for word in words])
    if not rows or "END OF DATA DESCRIPTION FILE" not in text.upper():
        raise FormatError(path, "", f"lists {len(rows)} vectors and no end: truncated")
    values = np.array(rows, np.int64)
    # Some columns are "n.a." several times: the last of them wins, none is used.
    table = {name: values[:, i] for i, name in enumerate(names)}
    for name, other in (("ky", "y"), ("kz", "z")):
        if name not in table:
            raise FormatError(
                path, "columns", f"no {name}: an export of images ({other}), not of k-space"
                if other in table else f"no {name} among {', '.join(names)}",
            )  # fmt: skip
    return np.array(kinds), table


def _readouts(
    listed: Path, data: Path, kinds: NDArray[np.str_], table: dict[str, NDArray[np.int64]]
) -> tuple[NDArray[np.void], StoredReadouts]:
    """Vectors of all channels joined to readouts."""
    wanted = np.isin(kinds, ["STD", "NOI", "PHX", "NAV"])
    kinds = kinds[wanted]
    table = {name: values[wanted] for name, values in table.items()}
    if not (kinds == "STD").any():
        raise FormatError(listed, "", "lists no vectors of k-space (STD)")
    samples = table["size"] // 8
    if (samples < 1).any() or (samples > 65535).any() or (table["offset"] < 0).any():
        raise FormatError(listed, "size", "is no size of a vector")
    # A readout's channels follow one another; its first is where the channel does not grow.
    starts = np.flatnonzero(np.r_[True, np.diff(table["chan"]) <= 0])
    counts = np.diff(np.r_[starts, len(kinds)])
    if len(starts) == 1 and len(kinds) > 1 and len(set(table["ky"].tolist())) > 1:
        raise FormatError(listed, "chan", "channels of a readout do not follow one another")
    step = np.diff(table["offset"])
    inner = np.ones(len(step), bool)
    inner[starts[1:] - 1] = False
    expected = table["size"][:-1]
    if (step[inner] != expected[inner]).any():
        raise FormatError(listed, "offset", "vectors of a readout do not follow one another")
    content = mapped(data)
    stored = StoredReadouts(content, table["offset"][starts], counts.astype(np.int64),
                            samples[starts])  # fmt: skip
    head = np.zeros(len(starts), ACQUISITION_HEADER)
    head["version"] = 1
    head["scan_counter"] = np.arange(len(starts))
    head["number_of_samples"] = samples[starts]
    head["center_sample"] = samples[starts] // 2
    head["available_channels"] = head["active_channels"] = counts
    for column, counter in _COUNTERS.items():
        if column in table:
            head["idx"][counter] = np.clip(table[column][starts], 0, 65535)
    for column, counter in (("ky", "kspace_encode_step_1"), ("kz", "kspace_encode_step_2")):
        steps = table[column][starts]
        is_line = kinds[starts] == "STD"
        if np.ptp(steps[is_line]) > 65535:
            raise FormatError(listed, column, f"reaches over {np.ptp(steps)} steps")
        lowest = int(steps[is_line].min())
        head["idx"][counter] = np.where(is_line, steps - min(lowest, 0), 0)
    flags = {
        "NOI": ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
        "PHX": ismrmrd.ACQ_IS_PHASECORR_DATA,
        "NAV": ismrmrd.ACQ_IS_NAVIGATION_DATA,
    }
    for kind, flag in flags.items():
        head["flags"][kinds[starts] == kind] |= flag_bits(flag)
    # How far rows reach below zero, for the header.
    lows = [int(table[name][kinds == "STD"].min()) for name in ("ky", "kz")]
    head["user_int"][:, :2] = [min(low, 0) for low in lows]
    return head, stored


def _put_centers(head: NDArray[np.void], reach: str) -> None:
    """Centres of echoes that the list says are partial, by the first and last number of samples."""
    words = reach.split()
    if len(words) == 2 and all(word.lstrip("-").isdigit() and len(word) < 7 for word in words):
        low, high = int(words[0]), int(words[1])
        whole = head["number_of_samples"] == high - low + 1
        if low < 0 < high:
            head["center_sample"][whole] = -low


def _header(
    general: dict[str, str], head: NDArray[np.void], field_of_view: tuple[float, ...] | None
) -> xsd.ismrmrdHeader:
    imaging = head[head["flags"] == 0]
    lows = [-int(v) for v in imaging["user_int"][0, :2]]
    steps = imaging["idx"]
    samples, center = (imaging[n].astype(int) for n in ("number_of_samples", "center_sample"))
    partial = center != samples // 2
    sizes = [int(np.where(partial, 2 * np.maximum(center, samples - center), samples).max())]
    for low, name in zip(lows, ("kspace_encode_step_1", "kspace_encode_step_2"), strict=True):
        above = int(steps[name].max()) - low + 1
        sizes.append(2 * max(low, above) if low else above)
    factors = [_number(general, f"k{axis}_oversample_factor", 1.0) for axis in "xyz"]
    matrix = [max(size, 1) for size in sizes]
    shape = [max(round(n / f), 1) if f > 1 else n for n, f in zip(matrix, factors, strict=True)]
    view = [*(field_of_view or ()), *map(float, shape)][:2] + [
        *(field_of_view or ())[2:],
        float(shape[2]),
    ][:1]
    encoded = [v * n / m for v, n, m in zip(view, matrix, shape, strict=True)]
    return header_parts.header(
        "Philips",
        int(head["active_channels"].max()),
        header_parts.encoding(
            matrix, encoded, shape, view,
            centers=[low or n // 2 for low, n in zip(lows, matrix[1:], strict=True)],
        ),
        measurementInformation=header_parts.measurement("", general.get("Scan name", "")),
    )  # fmt: skip


def _number(general: dict[str, str], name: str, default: float = 0.0) -> float:
    try:
        value = float(general.get(name, "").split()[0])
    except (IndexError, ValueError):
        return default
    return value if 0 < value < 65536 else default
