"""Bruker ParaVision 5, 6, 7 and 360: the folder of a scan (acqp, method, fid or rawdata.job0).

Cartesian methods (FLASH, RARE, MSME, ...), and those whose folder has a trajectory (``traj``: UTE,
spiral). The order of the data is ParaVision's: receivers, samples, phase steps of an echo train,
objects (echoes, then slices), further phase steps, repetitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from .. import header_parts
from ..acquisitions import ACQUISITION_HEADER, Acquisitions
from ..errors import FormatError
from ..jcamp import Parameters, is_parameter_file
from ..raw_file import RawFile
from ..readout_file import readout_file
from ..stored import ScaledReadouts, StoredReadouts, mapped

NAME = "Bruker ParaVision"
_DATA = ("rawdata.job0", "fid", "ser")
_BLOCK = 1024  # bytes to which readouts are padded in the standard format
_WORDS = {
    "GO_32BIT_SGN_INT": "i4", "GO_16BIT_SGN_INT": "i2", "GO_32BIT_FLOAT": "f4",
    "_32_BIT": "i4", "_16_BIT": "i2",
}  # fmt: skip
# ParaVision's subject -> ISMRMRD's patient position.
_POSITIONS = {
    "Head_Supine": "HFS", "Head_Prone": "HFP", "Head_Left": "HFDL", "Head_Right": "HFDR",
    "Foot_Supine": "FFS", "Foot_Prone": "FFP", "Foot_Left": "FFDL", "Foot_Right": "FFDR",
}  # fmt: skip
_LARGEST = 65535


def matches(path: Path) -> bool:
    """Whether a folder, or that of a file in it, holds a scan: parameters and data."""
    folder = _folder(path)
    return folder is not None and is_parameter_file(folder / "method")


def _folder(path: Path) -> Path | None:
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.name not in (*_DATA, "acqp", "method"):
        return None
    has_data = any((folder / name).is_file() for name in _DATA)
    return folder if has_data and (folder / "acqp").is_file() else None


def open_file(path: Path) -> RawFile:
    """Look at the parameters of a scan; its folder, or a file of the folder, is the path."""
    folder = _folder(path)
    if folder is None:
        raise FormatError(path, "", "is no ParaVision scan: acqp, method and fid are needed")
    acqp, method = Parameters(folder / "acqp"), Parameters(folder / "method")
    layout = _layout(folder, acqp, method)
    order = _order(acqp, method, layout)
    content = mapped(layout.path)
    first = layout.block * np.arange(len(order), dtype=np.int64)
    count = np.full(len(order), layout.samples, np.int64)
    if len(first) and int(first[-1]) + layout.coils * layout.samples * layout.word.itemsize > (
        content.size
    ):
        raise FormatError(
            layout.path, "", f"holds {content.size} bytes, its parameters ask for "
            f"{len(order)} readouts of {layout.block}",
        )  # fmt: skip
    stored = StoredReadouts(
        content, first, np.full(len(order), layout.coils, np.int64), count, layout.word
    )
    head, steps = _heads(acqp, method, layout, order)
    header = _header(acqp, method, layout)
    trajectory, places = _trajectory(folder, method, layout, order), None
    if trajectory is not None:
        head["trajectory_dimensions"] = trajectory.shape[-1]
        places = [trajectory[i] for i in order["step1"].tolist()]
    data = ScaledReadouts(stored, _shifts(acqp, layout, order, steps))
    return readout_file(Acquisitions.of(head, data, header, NAME, places))


@dataclass(frozen=True)
class _Layout:
    """How a scan's data lie in their file.

    `matrix` and `view` (mm) are those of k-space, ``(x, y, z)``; `recon` and `recon_view` those of
    the image.
    """

    path: Path
    word: np.dtype[Any]
    samples: int
    coils: int
    block: int  # bytes from readout to readout
    matrix: tuple[int, int, int]
    view: tuple[float, float, float]
    recon: tuple[int, int, int]
    recon_view: tuple[float, float, float]


def _layout(folder: Path, acqp: Parameters, method: Parameters) -> _Layout:
    path = next(folder / name for name in _DATA if (folder / name).is_file())
    sizes = acqp.numbers("ACQ_size")
    is_job = path.name.startswith("rawdata")
    words = acqp.text("GO_raw_data_format") or acqp.text("ACQ_word_size", "_32_BIT")
    if words not in _WORDS:
        raise FormatError(acqp.path, "GO_raw_data_format", f"is {words!r}, known: {list(_WORDS)}")
    byte_order = ">" if acqp.text("BYTORDA", "little") == "big" else "<"
    kind = byte_order + _WORDS[words]
    word = (
        np.dtype(byte_order + "c8")
        if kind.endswith("f4")
        else np.dtype([("real", kind), ("imaginary", kind)])
    )
    numbers = sizes[0] if len(sizes) else 0
    jobs = acqp.records("ACQ_jobs") if is_job else []
    if jobs and jobs[0][0].isdigit():
        numbers = int(jobs[0][0])
    samples = int(numbers) // 2
    coils = max(method.whole("PVM_EncNReceivers", acqp.whole("ACQ_ReceiverSelectN", 1)), 1)
    if not 0 < samples <= _LARGEST or coils > 1024:
        raise FormatError(acqp.path, "ACQ_size", f"{samples} samples of {coils} coils")
    block = samples * coils * word.itemsize
    if not is_job and acqp.text("GO_block_size", "continuous") == "Standard_KBlock_Format":
        block = -(-block // _BLOCK) * _BLOCK
    recon = _three(method.numbers("PVM_Matrix"), 1)
    extra = _three(method.numbers("PVM_AntiAlias"), 1)
    view = _three(method.numbers("PVM_Fov"), 0)
    if len(method.numbers("PVM_Matrix")) < 2:
        raise FormatError(method.path, "PVM_Matrix", "says no matrix in two or three dimensions")
    if view[2] <= 0:
        view[2] = method.number("PVM_SliceThick", acqp.number("ACQ_slice_thick", 1.0))
    matrix = np.round(recon * extra)
    if not ((matrix >= 1) & (matrix <= _LARGEST) & (view > 0) & (view < 1e5)).all():
        raise FormatError(
            method.path, "PVM_Matrix", f"matrix {matrix.tolist()} over {view.tolist()} mm"
        )
    return _Layout(
        path, word, samples, coils, block,
        matrix=_ints(matrix), view=_floats(view * extra), recon=_ints(recon),
        recon_view=_floats(view),
    )  # fmt: skip


def _three(values: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    return np.array([*values[:3], *[fill] * (3 - len(values[:3]))], np.float64)


def _ints(values: NDArray[np.float64]) -> tuple[int, int, int]:
    x, y, z = (int(v) for v in values)
    return x, y, z


def _floats(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _order(acqp: Parameters, method: Parameters, layout: _Layout) -> NDArray[np.void]:
    """Which step, object and repetition each readout of the file is."""
    sizes = acqp.numbers("ACQ_size").astype(int)
    first = int(sizes[1]) if len(sizes) > 1 else 1
    second = int(sizes[2]) if len(sizes) > 2 else 1
    train = max(acqp.whole("ACQ_phase_factor", acqp.whole("ACQ_rare_factor", 1)), 1)
    objects, repetitions = acqp.whole("NI", 1), acqp.whole("NR", 1)
    if layout.path.name.startswith("rawdata") and len(sizes) < 2:  # ParaVision 360 leaves them out
        first = max(len(method.numbers("PVM_EncSteps1")), 1)
        second = max(len(method.numbers("PVM_EncSteps2")), 1)
    total = first * second * objects * repetitions
    available = layout.path.stat().st_size // layout.block + 1
    if first % train or not 0 < total <= available:
        raise FormatError(
            acqp.path, "ACQ_size", f"asks for {first} x {second} steps of {objects} objects, "
            f"{repetitions} repetitions, {train} steps a train: {total} readouts, "
            f"{layout.path.name} holds {available - 1}",
        )  # fmt: skip
    order = acqp.numbers("ACQ_obj_order").astype(int)
    if sorted(order.tolist()) != list(range(objects)):
        order = np.arange(objects)
    shape = (repetitions, first * second // train, objects, train)
    repetition, shot, place, echo = np.indices(shape).reshape(4, -1)
    step = shot * train + echo
    found = np.zeros(total, [(name, "<i8") for name in ("step1", "step2", "object", "placed",
                                                        "repetition")])  # fmt: skip
    found["step1"], found["step2"] = step % first, step // first
    found["object"], found["placed"], found["repetition"] = order[place], place, repetition
    return found


def _heads(
    acqp: Parameters, method: Parameters, layout: _Layout, order: NDArray[np.void]
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Headers, and the phase-encoding steps around zero ``(readout, 2)``."""
    head = np.zeros(len(order), ACQUISITION_HEADER)
    head["version"] = 1
    head["scan_counter"] = np.arange(len(order))
    head["number_of_samples"] = layout.samples
    head["available_channels"] = head["active_channels"] = layout.coils
    partial = layout.matrix[0] - layout.samples
    head["center_sample"] = layout.samples // 2
    if 0 < partial < layout.matrix[0] // 2:  # the start of the echo is left out
        head["center_sample"] = layout.samples - (layout.matrix[0] - layout.matrix[0] // 2)
    rate = method.number("PVM_EffSWh", acqp.number("SW_h", 0.0))
    head["sample_time_us"] = 1e6 / rate if rate > 0 else 0
    steps = np.stack(
        [
            _steps(method, f"PVM_EncSteps{axis}", order[f"step{axis}"], layout.matrix[axis])
            for axis in (1, 2)
        ],
        axis=1,
    )
    rows = steps + np.array(layout.matrix[1:]) // 2
    if (rows < 0).any() or (rows > _LARGEST).any():
        raise FormatError(method.path, "PVM_EncSteps1", "reaches beyond the matrix")
    head["idx"]["kspace_encode_step_1"], head["idx"]["kspace_encode_step_2"] = rows.T
    echoes = max(method.whole("PVM_NEchoImages", acqp.whole("ACQ_n_echo_images", 1)), 1)
    head["idx"]["contrast"] = order["object"] % echoes
    head["idx"]["slice"] = order["object"] // echoes
    head["idx"]["repetition"] = order["repetition"]
    _orient(head, acqp, method, order)
    return head, steps


def _steps(
    method: Parameters, name: str, number: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    stored = method.numbers(name)
    if len(stored) > int(number.max()):
        return np.round(stored).astype(np.int64)[number]
    return np.asarray(number - size // 2, np.int64)


def _orient(
    head: NDArray[np.void], acqp: Parameters, method: Parameters, order: NDArray[np.void]
) -> None:
    """Directions and positions of the slices, in the patient's frame of ParaVision's images."""
    echoes, measured = _echoes(acqp), _measured(acqp, order)
    packages = method.numbers("PVM_SPackArrGradOrient")
    if len(packages) and len(packages) % 9 == 0:
        slices = np.maximum(method.numbers("PVM_SPackArrNSlices").astype(int), 0)
        package = np.repeat(np.arange(len(slices)), np.minimum(slices, 1 << 16))
        frames, which = packages.reshape(-1, 3, 3), order["object"] // echoes
        which = package[np.minimum(which, len(package) - 1)] if len(package) else 0 * which
    else:
        matrices = acqp.numbers("ACQ_grad_matrix")
        if not len(matrices) or len(matrices) % 9:
            return
        frames, which = matrices.reshape(-1, 3, 3), measured
    # Gradients count z to the feet, images (VisuCoreOrientation) to the head.
    frame = frames[np.minimum(which, len(frames) - 1)] * [1, 1, -1]
    names = ("ACQ_read_offset", "ACQ_phase1_offset", "ACQ_slice_offset")
    for axis, name in enumerate(("read_dir", "phase_dir", "slice_dir")):
        head[name] = frame[:, axis]
        head["position"] += _listed(acqp, names[axis], measured)[:, None] * frame[:, axis]


def _echoes(acqp: Parameters) -> int:
    """Objects that are of one slice."""
    return max(acqp.whole("NI", 1) // max(acqp.whole("NSLICES", 1), 1), 1)


def _measured(acqp: Parameters, order: NDArray[np.void]) -> NDArray[np.int64]:
    """Slices in the order of measurement, in which offsets stand."""
    return np.asarray(order["placed"] // _echoes(acqp))


def _listed(acqp: Parameters, name: str, number: NDArray[np.int64]) -> NDArray[np.float64]:
    values = acqp.numbers(name)
    return values[np.minimum(number, len(values) - 1)] if len(values) else np.zeros(len(number))


def _shifts(
    acqp: Parameters, layout: _Layout, order: NDArray[np.void], steps: NDArray[np.int64]
) -> NDArray[np.complex64]:
    """Factors that move the image along the phase directions, which ParaVision does afterwards."""
    turns, measured = np.zeros(len(steps)), _measured(acqp, order)
    for axis in (0, 1):
        offset = _listed(acqp, f"ACQ_phase{axis + 1}_offset", measured)
        turns += offset * steps[:, axis] / layout.view[axis + 1]
    return np.asarray(np.exp(2j * np.pi * turns), np.complex64)


def _trajectory(
    folder: Path, method: Parameters, layout: _Layout, order: NDArray[np.void]
) -> NDArray[np.float32] | None:
    """Places ``(step, sample, axis)`` in cycles per pixel of a scan that is not Cartesian."""
    path = folder / "traj"
    if not path.is_file():
        return None
    ndim = 3 if layout.matrix[2] > 1 else 2
    stored = np.asarray(mapped(path))
    count = int(order["step1"].max()) + 1
    expected = 8 * ndim * layout.samples * count
    if stored.size < expected:
        raise FormatError(path, "", f"holds {stored.size} bytes, expected {expected}")
    points = stored[:expected].view("<f8").reshape(count, layout.samples, ndim)
    return np.asarray(points, np.float32)


def _header(acqp: Parameters, method: Parameters, layout: _Layout) -> xsd.ismrmrdHeader:
    position = _POSITIONS.get(acqp.text("ACQ_patient_pos"), "HFS")
    frequency = acqp.number("BF1", 0.0)  # MHz
    kind = "other" if (layout.path.parent / "traj").is_file() else "cartesian"
    return header_parts.header(
        "Bruker",
        layout.coils,
        header_parts.encoding(
            layout.matrix, layout.view, layout.recon, layout.recon_view, trajectory=kind,
            echoTrainLength=acqp.whole("ACQ_rare_factor", 1) or None,
        ),
        frequency=1e6 * frequency,
        system={
            "systemModel": f"ParaVision {acqp.text('ACQ_sw_version')}".strip(),
            "systemFieldStrength_T": round(frequency / 42.577, 3) or None,
            "institutionName": acqp.text("ACQ_institution") or None,
        },
        measurementInformation=header_parts.measurement(
            position, acqp.text("ACQ_scan_name"), method.text("Method") or acqp.text("ACQ_method")
        ),
        sequenceParameters=xsd.sequenceParametersType(
            TR=acqp.numbers("ACQ_repetition_time").tolist()[:1],
            TE=acqp.numbers("ACQ_echo_time").tolist(),
            flipAngle_deg=acqp.numbers("ACQ_flip_angle").tolist()[:1],
        ),
    )  # fmt: skip
