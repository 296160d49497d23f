"""MR scans as ISMRMRD HDF5: readouts with headers, and the protocol as XML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from ..mri import resize
from ..scan import MRScan
from .acquisitions import ACQUISITION_HEADER, BATCH_AXES, Acquisitions
from .atomic import HDF5_ROOM, atomic
from .mrd_messages import WAVEFORM_HEADER
from .multiband import multiband_element
from .orientation import LPS_TO_RAS, image_sign
from .protocol import parse_header

_LARGEST = 65535  # samples a readout: the header counts in 16 bits
_BLOCK = 256  # readouts written at a time

Readout = tuple[NDArray[np.void], NDArray[Any], NDArray[Any]]
Waveform = tuple[NDArray[np.void], NDArray[np.uint32]]


def write(scan: MRScan, path: Path) -> None:
    """Write the measured readouts, the noise and the protocol.

    A line of the mask with gaps becomes several readouts; samples that are only there to reach
    the middle of k-space are marked to be discarded. Numbers become complex64. A protocol that the
    scan brought along (``header["xml"]``) is kept, but for its encoding.

    Raises
    ------
    ValueError
        More batch axes than ISMRMRD has counters for; sizes beyond 65535.
    """
    counters = _batch_counters(scan)
    if max(*scan.matrix, scan.coils, *scan.batch_shape) > _LARGEST:
        raise ValueError(f"ISMRMRD counts to {_LARGEST}, got {scan}")
    header = _header(scan, counters)
    xml = header.toXML().encode("ascii", "xmlcharrefreplace")
    _write(path, xml, _numbered(_readouts(scan, counters, image_sign(header))), _size(scan))


def write_readouts(
    acquisitions: Acquisitions, path: Path, waveforms: Sequence[Waveform] = ()
) -> None:
    """Write readouts as they are, with their headers and the protocol, a few at a time.

    `waveforms` are headers and numbers ``(channel * sample,)``.
    """
    xml = acquisitions.xml.encode("ascii", "xmlcharrefreplace")
    samples = acquisitions.head["number_of_samples"].astype(np.int64)
    numbers = 2 * acquisitions.head["active_channels"] + acquisitions.head["trajectory_dimensions"]
    size = 4 * int((samples * numbers).sum()) + 512 * len(acquisitions) + HDF5_ROOM
    size += sum(data.nbytes + 512 for _, data in waveforms)
    _write(path, xml, zip(acquisitions.head, acquisitions.trajectory, acquisitions.data,
                          strict=True), size, waveforms)  # fmt: skip


def _write(
    path: Path,
    xml: bytes,
    readouts: Iterable[Readout],
    size: int,
    waveforms: Sequence[Waveform] = (),
) -> None:
    layout = h5py.vlen_dtype(np.float32)
    dtype = np.dtype([("head", ACQUISITION_HEADER), ("traj", layout), ("data", layout)])
    with atomic(path, size) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", shape=(1,), dtype=h5py.string_dtype("ascii"))
        group["xml"][0] = xml
        data = group.create_dataset("data", (0,), dtype, maxshape=(None,), chunks=(_BLOCK,))
        block: list[Readout] = []
        for readout in readouts:
            block.append(readout)
            if len(block) == _BLOCK:
                _append(data, block)
                block = []
        _append(data, block)
        if waveforms:
            kind = np.dtype([("head", WAVEFORM_HEADER), ("data", h5py.vlen_dtype(np.uint32))])
            rows = np.empty(len(waveforms), kind)
            for row, (head, numbers) in zip(rows, waveforms, strict=True):
                row["head"], row["data"] = head, numbers
            group.create_dataset("waveforms", data=rows, maxshape=(None,), chunks=(_BLOCK,))


def _numbered(readouts: Iterable[Readout]) -> Iterator[Readout]:
    for number, (head, k, samples) in enumerate(readouts):
        head["scan_counter"] = number
        yield head, k, samples


def _append(data: h5py.Dataset, block: list[Readout]) -> None:
    rows = np.empty(len(block), data.dtype)
    start = len(data)
    for i, (head, k, samples) in enumerate(block):
        rows[i]["head"] = head
        rows[i]["traj"] = np.ascontiguousarray(k, np.float32).reshape(-1)
        rows[i]["data"] = np.ascontiguousarray(samples, np.complex64).view(np.float32).reshape(-1)
    data.resize(start + len(block), axis=0)
    data[start:] = rows


def _readouts(scan: MRScan, counters: tuple[str, ...], sign: int) -> Iterator[Readout]:
    """Noise, lines of a separate calibration, then the scan, item by item of the batch."""
    if scan.noise is not None:
        noise = scan.noise.detach().cpu().numpy()
        for first in range(0, noise.shape[1], _LARGEST):
            samples = noise[:, first : first + _LARGEST]
            head = _head(samples, center=0, flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))
            head["sample_time_us"] = scan.header.get("noise_sample_time_us", 0)
            yield head, np.empty(0), samples
    calibration = scan.header.get("calibration")
    if isinstance(calibration, MRScan):
        calibration = _on_grid_of(scan, calibration)
        for head, k, samples in _readouts(calibration, _batch_counters(calibration), sign):
            head["flags"] |= 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
            yield head, k, samples
    for index in np.ndindex(*scan.batch_shape):
        item = list(_lines(scan, index) if scan.is_cartesian else _samples(scan, index))
        for position, flag in ((0, ismrmrd.ACQ_FIRST_IN_SLICE), (-1, ismrmrd.ACQ_LAST_IN_SLICE)):
            if item:
                item[position][0]["flags"] |= 1 << (flag - 1)
        for head, k, samples in item:
            for name, value in zip(counters, index, strict=True):
                head["idx"][name] = value
            _orient(head, scan, index[-1] if counters[-1:] == ("slice",) else 0, sign)
            head["sample_time_us"] = scan.header.get("sample_time_us", 0)
            yield head, k, samples


def _on_grid_of(scan: MRScan, calibration: MRScan) -> MRScan:
    """The calibration scan in the middle of the scan's matrix: a file has one for both."""
    if not scan.is_cartesian or not calibration.is_cartesian or calibration.matrix == scan.matrix:
        return calibration
    assert calibration.mask is not None
    mask = calibration.mask.expand(*calibration.mask.shape[: -scan.ndim], *calibration.matrix)
    affine = calibration.affine
    if affine is not None:  # the middle of the image stays
        old, new = (
            np.array([n // 2 for n in reversed(s.image_shape)]) for s in (calibration, scan)
        )
        columns = affine[:3, : scan.ndim]
        finer = columns * np.array(calibration.image_shape)[::-1] / np.array(scan.image_shape)[::-1]
        affine = affine.copy()
        affine[:3, 3] += columns @ old - finer @ new
        affine[:3, : scan.ndim] = finer
    return calibration.replace(
        kspace=resize(calibration.kspace, scan.matrix), mask=resize(mask, scan.matrix),
        image_shape=scan.image_shape, affine=affine,
    )  # fmt: skip


def _head(samples: NDArray[Any], center: int, flags: tuple[int, ...] = ()) -> NDArray[np.void]:
    head = np.zeros((), ACQUISITION_HEADER)
    head["version"] = 1
    head["flags"] = sum(1 << (flag - 1) for flag in flags)
    coils, head["number_of_samples"] = samples.shape
    head["available_channels"] = head["active_channels"] = coils
    head["center_sample"] = center
    return head


def _lines(scan: MRScan, index: tuple[int, ...]) -> Iterator[Readout]:
    """Runs of measured samples of an item's lines, each stretched to reach the middle."""
    depth, height, width = (1,) * (3 - scan.ndim) + scan.matrix
    kspace = scan.kspace[index].detach().cpu().numpy().reshape(-1, depth, height, width)
    assert scan.mask is not None
    full = scan.mask.expand(*scan.batch_shape, *scan.matrix)
    mask = full[index].cpu().numpy().reshape(depth, height, width)
    middle = width // 2
    for z, y in np.argwhere(mask.any(axis=-1)):
        for low, high in _runs(mask[z, y]):
            first = min(low, max(middle - 1, 0))
            head = _head(kspace[:, z, y, first:high], center=middle - first)
            head["discard_pre"] = low - first
            head["idx"]["kspace_encode_step_1"], head["idx"]["kspace_encode_step_2"] = y, z
            yield head, np.empty(0), kspace[:, z, y, first:high]


def _runs(measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First and last + 1 of each stretch of true values, ``(stretch, 2)``."""
    edges = np.flatnonzero(np.diff(measured.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2)


def _samples(scan: MRScan, index: tuple[int, ...]) -> Iterator[Readout]:
    """Readouts of an item with their trajectory in cycles per pixel, x first."""
    kspace = scan.kspace[index].detach().cpu().numpy()
    assert scan.trajectory is not None
    shared = scan.trajectory.ndim == 2
    points = (scan.trajectory if shared else scan.trajectory[index]).detach().cpu().numpy()
    length = min(scan.readout_length or kspace.shape[1], _LARGEST)
    for number, first in enumerate(range(0, kspace.shape[1], length)):
        samples = kspace[:, first : first + length]
        k = points[first : first + length, ::-1]
        head = _head(samples, center=int(np.argmin((k**2).sum(axis=1))))
        head["trajectory_dimensions"] = k.shape[1]
        head["idx"]["kspace_encode_step_1"] = number & 0xFFFF
        yield head, k, samples


def _orient(head: NDArray[np.void], scan: MRScan, number: int, sign: int) -> None:
    """Position of the middle voxel and directions, in the patient's LPS frame."""
    if scan.affine is None:
        return
    columns = LPS_TO_RAS @ scan.affine[:3, :3]
    origin = LPS_TO_RAS @ scan.affine[:3, 3]
    middle = [*(n // 2 for n in reversed(scan.image_shape)), number][:3]
    head["position"] = origin + columns @ middle
    signs = (sign, sign, sign if scan.ndim == 3 else 1)
    for column, name, way in zip(
        columns.T, ("read_dir", "phase_dir", "slice_dir"), signs, strict=True
    ):
        head[name] = way * column / np.linalg.norm(column)


def _batch_counters(scan: MRScan) -> tuple[str, ...]:
    """ISMRMRD's counter of each batch axis: the one of its name, or else a free one."""
    names = scan.batch_axes or ("",) * len(scan.batch_shape)
    free = iter([name for name in BATCH_AXES[:-1] if name not in names])
    counters = [name if name in BATCH_AXES else next(free, "") for name in names]
    if "" in counters or len(set(counters)) < len(counters):
        raise ValueError(f"ISMRMRD has no counters for the batch axes {names}")
    return tuple(counters)


def _header(scan: MRScan, counters: tuple[str, ...]) -> xsd.ismrmrdHeader:
    known = scan.header
    layout = _encoding(scan, counters)
    if known.get("xml"):
        header = parse_header(known["xml"])
        old = header.encoding[min(known.get("encoding", 0), len(header.encoding) - 1)]
        layout.parallelImaging, layout.echoTrainLength = old.parallelImaging, old.echoTrainLength
        header.encoding = [layout]
        return header
    times = {
        element: np.atleast_1d(known[name]).astype(float).tolist()
        for element, name in (
            ("TR", "repetition_time_ms"), ("TE", "echo_time_ms"), ("TI", "inversion_time_ms"),
            ("flipAngle_deg", "flip_angle_deg"),
        ) if name in known
    }  # fmt: skip
    return xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=int(known.get("larmor_frequency_hz", 0))
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            receiverChannels=scan.coils,
            systemFieldStrength_T=known.get("field_strength_t"),
        ),
        encoding=[layout],
        sequenceParameters=xsd.sequenceParametersType(**times) if times else None,
    )


def _encoding(scan: MRScan, counters: tuple[str, ...]) -> xsd.encodingType:
    thickness = scan.header.get(
        "slice_thickness_mm", scan.spacing[0] if len(scan.spacing) == 3 else 1.0
    )
    spacing = (*((thickness,) * (3 - scan.ndim)), *scan.spacing[-scan.ndim :])
    limits = {
        name: xsd.limitType(minimum=0, maximum=size - 1, center=0)
        for name, size in zip(counters, scan.batch_shape, strict=True)
    }
    if scan.is_cartesian:
        axes = zip(("kspace_encoding_step_1", "kspace_encoding_step_2"), scan.matrix[-2::-1],
                   strict=False)  # fmt: skip
        limits |= {
            name: xsd.limitType(minimum=0, maximum=size - 1, center=size // 2)
            for name, size in axes
        }
    kind = next((k for k in ("cartesian", "radial", "spiral") if k in scan.trajectory_kind.lower()
                 and "non-cartesian" not in scan.trajectory_kind.lower()), "other")  # fmt: skip
    return xsd.encodingType(
        encodedSpace=_space(scan.matrix, spacing),
        reconSpace=_space(scan.image_shape, spacing),
        encodingLimits=xsd.encodingLimitsType(**limits),
        trajectory=xsd.trajectoryType(kind),
        parallelImaging=_parallel_imaging(scan),
    )


def _parallel_imaging(scan: MRScan) -> xsd.parallelImagingType | None:
    """What readers need to tell calibration lines, and slices that were excited together."""
    if "calibration" not in scan.header:
        return None
    first, second = scan.header.get("acceleration", (1, 1))
    multiband = multiband_element(scan) if "multiband_shifts" in scan.header else None
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=first, kspace_encoding_step_2=second
        ),
        calibrationMode=xsd.calibrationModeType.SEPARATE,
        multiband=multiband,
    )


def _space(shape: tuple[int, ...], spacing: tuple[float, ...]) -> xsd.encodingSpaceType:
    sizes = (1,) * (3 - len(shape)) + shape
    names = ("z", "y", "x")
    view = {name: n * d for name, n, d in zip(names, sizes, spacing, strict=True)}
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(**dict(zip(names, sizes, strict=True))),
        fieldOfView_mm=xsd.fieldOfViewMm(**view),
    )


def _size(scan: MRScan) -> int:
    """Bytes of the file, about: each readout brings a header and a place in two heaps."""
    readouts = int(scan.kspace[..., 0].numel())
    return scan.memory + HDF5_ROOM + 512 * readouts
