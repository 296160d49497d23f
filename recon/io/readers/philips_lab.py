"""Philips .raw/.lab/.sin: what the scanner measured, before its corrections.

The .lab holds a label of 64 bytes for every vector of the .raw, the .sin the protocol as text.
Vectors of 16 and 32 bit integers and floats are read; those that newer releases pack are not.
"""

from __future__ import annotations

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
from ..stored import ScaledReadouts, StoredReadouts, mapped

NAME = "Philips raw/lab/sin"
LABEL = np.dtype(
    [
        ("data_size", "<u4"), ("packed_size", "<u4"), ("destination", "<u2"), ("job", "<u2"),
        ("number", "<u2"), ("label_type", "<u2"), ("control", "u1"), ("monitoring", "u1"),
        ("phase", "u1"), ("sign", "u1"), ("gain", "u1"), ("raw_format", "u1"), ("spur", "<u2"),
        ("progress", "<u2"), ("mix", "<u2"), ("dynamic", "<u2"), ("cardiac", "<u2"),
        ("echo", "<u2"), ("location", "<u2"), ("row", "<u2"), ("extra", "<u2"),
        ("measurement", "<u2"), ("e1", "<u2"), ("e2", "<u2"), ("e3", "<u2"), ("rf_echo", "<u2"),
        ("gradient_echo", "<u2"), ("encoding_time", "<u2"), ("random_phase", "<u2"),
        ("rr", "<u2"), ("r_top", "<u2"), ("channels", "<u4"),
    ]
)  # fmt: skip
_STANDARD = 0x7F01
_DATA_START = 512
_NORMAL, _ECHO_PHASE, _NOISE, _NAVIGATORS = 0, 3, 16, (19, 30)
_PACKED = (4, 6)
_WORDS = {
    0: np.dtype([("real", "<i2"), ("imaginary", "<i2")]),
    2: np.dtype([("real", "<i4"), ("imaginary", "<i4")]),
    3: np.dtype("<c8"),
}
_LINE = re.compile(r"^[ \t]*\d+[ \t]+\d+[ \t]+\d+[ \t]*:[ \t]*(\w+)[ \t]*:(.*)$", re.MULTILINE)
_LARGEST_TEXT = 64 << 20
_COUNTERS = {"measurement": "average", "location": "slice", "echo": "contrast",
             "cardiac": "phase", "dynamic": "repetition", "mix": "set"}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether a file holds labels, or lies beside one that does as .raw or .sin."""
    labels = _beside(path, ".lab")
    start = b"" if labels is None else start_of(labels, 64 * LABEL.itemsize)
    if len(start) < LABEL.itemsize or _beside(path, ".raw") is None:
        return False
    found = np.frombuffer(start[: len(start) // LABEL.itemsize * LABEL.itemsize], LABEL)
    return bool((found["label_type"] >> 8 == _STANDARD >> 8).all())


def _beside(path: Path, suffix: str) -> Path | None:
    """The file of the same name with this suffix, in small or capital letters."""
    if path.suffix.lower() not in (".raw", ".lab", ".sin"):
        return None
    names = (path.with_suffix(suffix), path.with_suffix(suffix.upper()))
    return next((name for name in names if name.is_file()), None)


def open_file(path: Path) -> RawFile:
    """Look at the labels and the protocol; any of the three files is the path."""
    lab, raw, sin = (_beside(path, suffix) for suffix in (".lab", ".raw", ".sin"))
    if lab is None or raw is None:
        raise FormatError(path, "", "needs its .lab and .raw beside it")
    content = mapped(lab)
    if content.size % LABEL.itemsize:
        raise FormatError(lab, "", f"holds {content.size} bytes, labels have {LABEL.itemsize}")
    labels = np.asarray(content).view(LABEL)
    text = "" if sin is None else _text(sin)
    protocol = {name: values.split() for name, values in _LINE.findall(text)}
    packed = np.isin(labels["raw_format"], _PACKED)
    sizes = np.where(packed, labels["packed_size"], labels["data_size"]).astype(np.int64)
    first = _DATA_START + np.cumsum(sizes) - sizes
    kept = (labels["label_type"] == _STANDARD) & (labels["data_size"] > 0)
    kept &= np.isin(labels["control"], (_NORMAL, _ECHO_PHASE, _NOISE, *_NAVIGATORS))
    if not (kept & (labels["control"] == _NORMAL)).any():
        raise FormatError(lab, "", f"none of {len(labels)} labels is of k-space")
    labels, first = labels[kept], first[kept]
    formats = sorted(set(labels["raw_format"].tolist()))
    if len(formats) > 1 or formats[0] not in _WORDS:
        raise FormatError(
            raw, "", f"packs its vectors (raw format {formats}): export list/data, or convert it "
            "to ISMRMRD",
        )  # fmt: skip
    word = _WORDS[formats[0]]
    coils = _coils(lab, labels["channels"], protocol)
    samples = labels["data_size"].astype(np.int64) // (word.itemsize * coils)
    if (samples * word.itemsize * coils != labels["data_size"]).any() or samples.max() > 65535:
        raise FormatError(lab, "data size", f"does not fit {coils.max()} channels")
    turns = labels["random_phase"] * (2 / 65535) + labels["phase"] / 2
    data = ScaledReadouts(
        StoredReadouts(mapped(raw), first, coils, samples, word),
        np.exp(-1j * np.pi * turns).astype(np.complex64),
    )
    head = _heads(labels, coils, samples)
    header = _header(head, protocol)
    return readout_file(Acquisitions.of(head, data, header, NAME))


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST_TEXT:
        raise FormatError(path, "", f"has more than {_LARGEST_TEXT >> 20} MB")
    return path.read_text("latin-1")


def _coils(
    path: Path, active: NDArray[np.uint32], protocol: dict[str, list[str]]
) -> NDArray[np.int64]:
    """Channels of each vector: as many as the protocol says, or as bits are set."""
    for name in ("nr_measured_channels", "max_measured_coils"):
        words = protocol.get(name, [])
        if words and words[0].isdigit() and 0 < int(words[0][:6]) <= 1024:
            return np.full(len(active), int(words[0][:6]), np.int64)
    bits = np.unpackbits(active.astype("<u4").view(np.uint8).reshape(-1, 4), axis=1).sum(axis=1)
    if not bits.all():
        raise FormatError(path, "channels", "none is active in some labels")
    return np.asarray(bits, np.int64)


def _heads(
    labels: NDArray[np.void], coils: NDArray[np.int64], samples: NDArray[np.int64]
) -> NDArray[np.void]:
    head = np.zeros(len(labels), ACQUISITION_HEADER)
    head["version"] = 1
    head["scan_counter"] = np.arange(len(labels))
    head["number_of_samples"], head["center_sample"] = samples, samples // 2
    head["available_channels"] = head["active_channels"] = coils
    for theirs, ours in _COUNTERS.items():
        head["idx"][ours] = labels[theirs]
    head["idx"]["kspace_encode_step_1"], head["idx"]["kspace_encode_step_2"] = (
        labels["e1"],
        labels["e2"],
    )
    marks = (
        (labels["sign"] != 0, ismrmrd.ACQ_IS_REVERSE),
        (labels["control"] == _NOISE, ismrmrd.ACQ_IS_NOISE_MEASUREMENT),
        (labels["control"] == _ECHO_PHASE, ismrmrd.ACQ_IS_PHASECORR_DATA),
        (np.isin(labels["control"], _NAVIGATORS), ismrmrd.ACQ_IS_NAVIGATION_DATA),
    )
    for marked, flag in marks:
        head["flags"][marked] |= flag_bits(flag)
    return head


def _header(head: NDArray[np.void], protocol: dict[str, list[str]]) -> xsd.ismrmrdHeader:
    imaging = head[(head["flags"] & ~flag_bits(ismrmrd.ACQ_IS_REVERSE)) == 0]
    idx = imaging["idx"]
    lows = _numbers(protocol, "min_encoding_numbers", 0.0)
    factors = _numbers(protocol, "oversample_factors", 1.0)
    voxel = _numbers(protocol, "voxel_sizes", 0.0)
    matrix = [int(imaging["number_of_samples"].max())]
    centers = [matrix[0] // 2]
    for axis, name in ((1, "kspace_encode_step_1"), (2, "kspace_encode_step_2")):
        last = int(idx[name].max())
        center = min(int(-lows[axis]), 65535) if lows[axis] < 0 else (last + 1) // 2
        centers.append(center)
        matrix.append(max(2 * max(center, last - center + 1), 1) if last else 1)
    shape = [max(round(n / f), 1) if 1 < f < 64 else n
             for n, f in zip(matrix, factors, strict=True)]  # fmt: skip
    view = [v * n if 0 < v < 1000 else float(n) for v, n in zip(voxel, shape, strict=True)]
    encoded = [v * n / m for v, n, m in zip(view, matrix, shape, strict=True)]
    return header_parts.header(
        "Philips",
        int(head["active_channels"].max()),
        header_parts.encoding(matrix, encoded, shape, view, centers=centers[1:]),
    )


def _numbers(protocol: dict[str, list[str]], name: str, default: float) -> list[float]:
    """Three numbers of a line of the protocol."""
    found = []
    for word in protocol.get(name, [])[:3]:
        try:
            found.append(float(word))
        except ValueError:
            found.append(default)
    found = [v if abs(v) < 1e6 else default for v in found]
    return [*found, *[default] * (3 - len(found))]
