"""Pulseq sequences (.seq): where in k-space each sample lies, and what each readout is for.

https://pulseq.github.io; read by `pypulseq`. `with_sequence` gives raw data of such a sequence
their places: lines that run along x over whole numbers of phase-encoding steps become Cartesian
(regridded along x where they lie on gradient ramps), anything else a trajectory.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import torch
from ismrmrd import xsd
from numpy.typing import NDArray

from ..extras import extra_library
from ..mri import regrid_readouts
from .acquisitions import Acquisitions, some_readouts
from .errors import FormatError
from .flags import flag_bits
from .header_parts import encoding
from .sniffing import start_of
from .stored import LazyReadouts

_LARGEST_FILE = 256 << 20  # bytes
_ON_LINE = 0.05  # cells of k-space by which a line may miss its row
_COUNTERS = {"SLC": "slice", "REP": "repetition", "ECO": "contrast", "SET": "set", "PHS": "phase",
             "AVG": "average", "SEG": "segment"}  # fmt: skip
_FLAGS = {
    "NAV": ismrmrd.ACQ_IS_PHASECORR_DATA,
    "NOISE": ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    "REF": ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
}


@dataclass(frozen=True, eq=False)
class PulseqSequence:
    """What a sequence says of the samples it acquires.

    Parameters
    ----------
    name
        Its name, empty where it has none.
    places
        ``(sample, 3)`` in 1/m along x, y, z, all readouts one after the other.
    times
        ``(sample,)`` in s.
    excitation
        ``(sample,)``: how many excitations came before.
    slice_offset
        ``(excitation,)`` in m along the slice gradient; empty where it is not known.
    labels
        Values at each readout, ``(readout,)``, by Pulseq's names (LIN, SLC, REP, NAV, ...).
    field_of_view
        In m along x, y, z; zero where it is not said.
    duration
        In s.
    """

    name: str
    places: NDArray[np.float64]
    times: NDArray[np.float64]
    excitation: NDArray[np.int64]
    slice_offset: NDArray[np.float64]
    labels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    field_of_view: tuple[float, float, float] = (0.0, 0.0, 0.0)
    duration: float = 0.0


def is_sequence(path: Path) -> bool:
    """Whether a file begins as Pulseq's do."""
    start = start_of(path, 2048)
    return b"\0" not in start and b"[VERSION]" in start and b"major" in start


def read_sequence(path: Path) -> PulseqSequence:
    """Read a sequence and follow its gradients.

    Raises
    ------
    FileNotFoundError
        Nothing at this path.
    FormatError
        No sequence, a broken one, one without readouts.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not is_sequence(path):
        raise FormatError(path, "", "is no Pulseq sequence")
    if path.stat().st_size > _LARGEST_FILE:
        raise FormatError(path, "", f"has more than {_LARGEST_FILE >> 20} MB")
    text = path.read_text("latin-1")
    if "[SHAPES]" in text and "[" not in text.split("[SHAPES]")[1] and text[-2:] != "\n\n":
        raise FormatError(path, "SHAPES", "ends within a shape: truncated")  # pypulseq hangs on it
    pypulseq = extra_library("pypulseq", "vendors")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(pypulseq, path)
    except FormatError:
        raise
    except Exception as error:  # the library's parser raises whatever comes
        raise FormatError(path, "Pulseq", f"{type(error).__name__}: {error}") from error


def _read(pypulseq: Any, path: Path) -> PulseqSequence:
    sequence = pypulseq.Sequence()
    sequence.read(str(path))
    _require_bounds(sequence, path)
    places, _, excited, _, times = sequence.calculate_kspace()
    labels = sequence.evaluate_labels(evolution="adc")
    offsets = _slice_offsets(sequence)
    places, times = np.asarray(places, np.float64).T, np.asarray(times, np.float64)
    if not len(places):
        raise FormatError(path, "", "acquires no samples")
    if not np.isfinite(places).all():
        raise FormatError(path, "", "its trajectory is not finite")
    view = np.zeros(3)
    said = np.ravel(np.asarray(sequence.definitions.get("FOV", ()), np.float64))[:3]
    view[: len(said)] = said
    excited = np.asarray(excited, np.float64)
    return PulseqSequence(
        name=str(sequence.definitions.get("Name", "")),
        places=places,
        times=times,
        excitation=np.searchsorted(excited, times).astype(np.int64) - 1,
        slice_offset=offsets if len(offsets) == len(excited) else np.zeros(0),
        labels={name: np.asarray(value, np.int64) for name, value in labels.items()},
        field_of_view=(float(view[0]), float(view[1]), float(view[2])),
        duration=float(sequence.duration()[0]),
    )


def _require_bounds(sequence: Any, path: Path) -> None:
    """Refuse numbers of samples and lengths that no scanner would play, before they are filled in.

    Raises
    ------
    FormatError
        Readouts of more than 65535 samples, shapes of millions, blocks of hours.
    """
    readouts = [float(np.ravel(data)[0]) for data in sequence.adc_library.data.values()]
    shapes = [float(np.ravel(data)[0]) for data in sequence.shape_library.data.values()]
    blocks = [float(duration) for duration in sequence.block_durations.values()]
    events = sum(1 for event in sequence.block_events.values() if event[5])
    for place, values, largest in (
        ("ADC", readouts, 65535),
        ("SHAPES", [sum(shapes)], 1e7),
        ("BLOCKS", [sum(blocks)], 1e5),
        ("BLOCKS", [events * max(readouts, default=0)], 1e8),
    ):
        if not all(0 <= value <= largest for value in values):
            raise FormatError(path, place, f"goes to {max(values):g}, at most {largest:g} is sane")


def _slice_offsets(sequence: Any) -> NDArray[np.float64]:
    """Where each excitation selects its slice, in m: its frequency over its gradient."""
    offsets = []
    for number, events in sequence.block_events.items():
        if not events[1]:
            continue
        block = sequence.get_block(number)
        if getattr(block.rf, "use", "undefined") not in ("excitation", "undefined", "u", "e"):
            continue
        amplitude = getattr(getattr(block, "gz", None), "amplitude", 0.0)
        offsets.append(float(block.rf.freq_offset) / amplitude if amplitude else 0.0)
    return np.array(offsets, np.float64)


def with_sequence(
    acquisitions: Acquisitions, path: Path, image_shape: tuple[int, ...] | None = None
) -> Acquisitions:
    """Readouts of a Pulseq sequence with the places and counters that it gives them.

    Where the sequence has no labels, a place measured again in one excitation is another contrast,
    in another excitation another repetition, at another offset of the pulse another slice.

    Parameters
    ----------
    acquisitions
        Readouts as the scanner counted them; noise that was measured apart stays as it is.
    path
        The .seq that was played.
    image_shape
        ``([z,] y, x)``. Default: what the trajectory's reach resolves.

    Raises
    ------
    FormatError
        A sequence of another number of samples.
    """
    sequence = read_sequence(path)
    apart = acquisitions.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    played = acquisitions.select(~apart)
    counts = played.head["number_of_samples"].astype(np.int64)
    if int(counts.sum()) != len(sequence.places):
        raise FormatError(
            path, "", f"acquires {len(sequence.places)} samples, the raw data hold "
            f"{int(counts.sum())} in {len(counts)} readouts: another sequence?",
        )  # fmt: skip
    starts = np.cumsum(counts) - counts
    layout = _layout(sequence, played, image_shape)
    cells = sequence.places * layout.view
    head = played.head.copy()
    head["sample_time_us"] = 1e6 * _dwell(sequence.times, starts, counts)
    head["discard_pre"] = head["discard_post"] = 0
    lines = _lines(cells, starts, counts)
    excitation = sequence.excitation[starts]
    # Pulseq's x and y run against the readout and phase directions that Siemens states.
    head["read_dir"], head["phase_dir"] = -head["read_dir"], -head["phase_dir"]
    _place_slices(head, sequence, excitation)
    if lines is None:
        points = np.clip(cells[:, : layout.ndim] / layout.matrix[: layout.ndim], -0.5, 0.5)
        trajectory = [
            points[first : first + count].astype(np.float32)
            for first, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        keys = [np.round(k * 1e4).astype(np.int32).tobytes() for k in trajectory]
        head["trajectory_dimensions"] = layout.ndim
        changed = dataclasses.replace(played, trajectory=trajectory)
        kind, oversampling = "other", 1
    else:
        rows = lines.rows + layout.matrix[1:] // 2
        rows = np.clip(rows, 0, layout.matrix[1:] - 1)
        head["idx"]["kspace_encode_step_1"], head["idx"]["kspace_encode_step_2"] = rows.T
        head["flags"] &= ~flag_bits(ismrmrd.ACQ_IS_REVERSE)
        head["flags"][lines.backward] |= flag_bits(ismrmrd.ACQ_IS_REVERSE)
        oversampling = max(int(counts.min()) // int(layout.matrix[0]), 1)
        size = oversampling * int(layout.matrix[0])
        data = _Regridded.of(played.data, cells[:, 0] * oversampling, starts, counts, size, lines)
        head["number_of_samples"], head["center_sample"] = size, size // 2
        keys = [row.tobytes() for row in rows]
        changed = dataclasses.replace(played, data=data)
        kind = "epi" if lines.backward.any() else "cartesian"
    _count(head, sequence.labels, keys, excitation)
    header = copy.deepcopy(played.header)
    header.encoding = [layout.encoding(kind, oversampling, played.header.encoding[0])]
    changed = dataclasses.replace(changed, head=head, header=header, xml=header.toXML())
    return _after(acquisitions.select(apart), changed)


@dataclass(frozen=True)
class _Layout:
    """The grid that the image needs: ``(x, y, z)``."""

    matrix: NDArray[np.int64]
    view: NDArray[np.float64]  # m

    @property
    def ndim(self) -> int:
        return 3 if self.matrix[2] > 1 else 2

    def encoding(self, kind: str, oversampling: int, old: Any) -> xsd.encodingType:
        matrix, view = self.matrix.tolist(), (1e3 * self.view).tolist()
        return encoding(
            (oversampling * matrix[0], *matrix[1:]),
            (oversampling * view[0], *view[1:]),
            matrix,
            view,
            trajectory=kind,
            parallelImaging=old.parallelImaging,
        )


def _layout(
    sequence: PulseqSequence, played: Acquisitions, image_shape: tuple[int, ...] | None
) -> _Layout:
    protocol = played.header.encoding[0].reconSpace.fieldOfView_mm
    asked = (protocol.x, protocol.y, protocol.z)
    view = np.array(
        [own or mm / 1e3 for own, mm in zip(sequence.field_of_view, asked, strict=True)]
    )
    reach = np.abs(sequence.places).max(axis=0) * view
    if not (view[:2] > 0).all() or (reach > 1 << 15).any():
        raise FormatError(
            None, "Pulseq", f"field of view {view.tolist()} m and k-space of {reach.tolist()} "
            "cells make no image",
        )  # fmt: skip
    # Samples on half cells, and lines from -N/2 on, both mean N = 2 reach.
    matrix = 2 * np.ceil(reach - 0.01).astype(np.int64)
    matrix = np.maximum(np.where(reach < 0.3, 1, matrix), 1)
    if image_shape is not None:
        matrix = np.array([*reversed(image_shape), *[1] * (3 - len(image_shape))], np.int64)
    return _Layout(matrix, np.where(view > 0, view, 1e-3))


@dataclass(frozen=True)
class _Lines:
    """Readouts that are lines along x: rows ``(readout, 2)`` (y, z), and which run backward."""

    rows: NDArray[np.int64]
    backward: NDArray[np.bool_]


def _lines(
    cells: NDArray[np.float64], starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> _Lines | None:
    """The lines, if all readouts are straight, along x, and on whole phase-encoding steps."""
    if len(set(counts.tolist())) != 1:
        return None
    lines = cells.reshape(len(starts), int(counts[0]), 3)
    rows = np.round(lines[:, 0, 1:])
    steps = np.diff(lines[:, :, 0], axis=1)
    if np.abs(lines[:, :, 1:] - rows[:, None]).max() > _ON_LINE or not steps.size:
        return None
    if not ((steps > 0).all(axis=1) | (steps < 0).all(axis=1)).all():
        return None
    return _Lines(rows.astype(np.int64), steps[:, 0] < 0)


@dataclass(frozen=True, eq=False)
class _Regridded(LazyReadouts):
    """Readouts moved to an even grid when they are asked for; backward ones stay backward."""

    source: Sequence[NDArray[Any]]
    matrices: tuple[NDArray[np.complex64], ...]  # (cell, sample)
    which: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        source: Sequence[NDArray[Any]],
        x: NDArray[np.float64],
        starts: NDArray[np.int64],
        counts: NDArray[np.int64],
        size: int,
        lines: _Lines,
    ) -> _Regridded:
        positions = x.reshape(len(starts), int(counts[0]))
        _, first, which = np.unique(
            np.round(positions, 3), axis=0, return_index=True, return_inverse=True
        )
        matrices = []
        for i in first.tolist():
            unit = torch.eye(int(counts[0]), dtype=torch.complex64)
            matrix = regrid_readouts(unit, torch.from_numpy(positions[i]), size).numpy().T
            matrices.append(matrix[::-1] if lines.backward[i] else matrix)
        return cls(source, tuple(matrices), which.reshape(-1))

    def __len__(self) -> int:
        return len(self.which)

    def one(self, index: int) -> NDArray[Any]:
        """A readout on its grid."""
        line = self.source[index] @ self.matrices[self.which[index]].T
        return np.asarray(line, np.complex64)

    def select(self, places: NDArray[np.int64]) -> _Regridded:
        """Some of the readouts."""
        chosen = some_readouts(self.source, places)
        return _Regridded(chosen, self.matrices, self.which[places])


def _dwell(
    times: NDArray[np.float64], starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    following = np.minimum(starts + 1, len(times) - 1)
    return np.where(counts > 1, times[following] - times[starts], 0.0)


def _place_slices(
    head: NDArray[np.void], sequence: PulseqSequence, excitation: NDArray[np.int64]
) -> None:
    """Move the positions of readouts to where their pulse selected a slice, and number slices."""
    if not len(sequence.slice_offset):
        return
    offset = np.round(1e3 * sequence.slice_offset[np.maximum(excitation, 0)], 3)  # mm
    head["position"] += offset[:, None] * head["slice_dir"]
    head["idx"]["slice"] = np.unique(offset, return_inverse=True)[1].reshape(-1)


def _count(
    head: NDArray[np.void],
    labels: Mapping[str, NDArray[np.int64]],
    keys: list[bytes],
    excitation: NDArray[np.int64],
) -> None:
    """Fill in the counters: from labels, or from what was measured before."""
    known = {name: value for name, value in labels.items() if len(value) == len(head)}
    for name, counter in _COUNTERS.items():
        if name in known:
            head["idx"][counter] = known[name]
        elif counter != "slice":
            head["idx"][counter] = 0
    for name, flag in _FLAGS.items():
        if name in known:
            head["flags"][known[name] != 0] |= flag_bits(flag)
    if known:
        return
    echoes: dict[tuple[bytes, int, int], int] = {}
    visits: dict[tuple[bytes, int], list[int]] = {}
    for i, key in enumerate(keys):
        number, shot = int(head["idx"]["slice"][i]), int(excitation[i])
        seen = visits.setdefault((key, number), [])
        if not seen or seen[-1] != shot:
            seen.append(shot)
        head["idx"]["repetition"][i] = len(seen) - 1
        head["idx"]["contrast"][i] = echoes.get((key, number, shot), 0)
        echoes[key, number, shot] = int(head["idx"]["contrast"][i]) + 1


def _after(first: Acquisitions, others: Acquisitions) -> Acquisitions:
    if not len(first):
        return others
    return dataclasses.replace(
        others,
        head=np.concatenate([first.head, others.head]),
        data=_Joined(first.data, others.data),
        trajectory=[*first.trajectory, *others.trajectory],
        number=np.concatenate([first.number, others.number]),
    )


@dataclass(frozen=True, eq=False)
class _Joined(LazyReadouts):
    """Readouts of one source, then those of another."""

    first: Sequence[NDArray[Any]]
    others: Sequence[NDArray[Any]]

    def __len__(self) -> int:
        return len(self.first) + len(self.others)

    def one(self, index: int) -> NDArray[Any]:
        """A readout of either."""
        count = len(self.first)
        return self.first[index] if index < count else self.others[index - count]

    def select(self, places: NDArray[np.int64]) -> _Joined:
        """Some of the readouts, in rising order."""
        is_first = places < len(self.first)
        return _Joined(
            some_readouts(self.first, places[is_first]),
            some_readouts(self.others, places[~is_first] - len(self.first)),
        )
