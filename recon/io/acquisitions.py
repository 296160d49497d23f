"""Readouts as a scanner sends them, and their sorting into a scan.

Every source of readouts (ISMRMRD files and streams, vendors' raw files) makes `Acquisitions`;
`assemble` turns them into an `MRScan`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from ..arrays import as_tensor
from ..scan import MRScan
from . import acquisition_grid, acquisition_samples
from .epi import even_readouts, ghost_free
from .errors import FormatError
from .flags import NOT_IMAGING, flagged
from .mrd_messages import ACQUISITION_HEADER as ACQUISITION_HEADER
from .multiband import multiband_shifts
from .orientation import Stack, image_sign, stack_of
from .protocol import facts
from .raw_file import Part

ON_GRID = ("cartesian", "epi")
SEPARATE = ("separate", "external")  # calibrations that are scans of their own
BATCH_AXES = ("repetition", "set", "phase", "contrast", "slice")  # counters, in their order


@dataclass(frozen=True, eq=False)
class Acquisitions:
    """Readouts with their headers.

    Parameters
    ----------
    head
        ``(readout,)`` of `ACQUISITION_HEADER`, the fields of ISMRMRD's AcquisitionHeader.
    data
        One complex array ``(coil, sample)`` a readout.
    trajectory
        One real array ``(sample, dimension)`` a readout, ordered x, y, z; empty where none.
    header
        The protocol.
    xml
        The protocol as text, for those who write it again.
    source
        Name of the format that they came in.
    number
        Where each readout stood in its source, for messages. Default: 0, 1, 2, ...
    """

    head: NDArray[np.void]
    data: Sequence[NDArray[np.complexfloating[Any]]]
    trajectory: Sequence[NDArray[np.floating[Any]]]
    header: xsd.ismrmrdHeader
    xml: str = ""
    source: str = ""
    number: NDArray[np.integer[Any]] = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if self.number is None:
            object.__setattr__(self, "number", np.arange(len(self.head)))
        sizes = {len(self.head), len(self.data), len(self.trajectory), len(self.number)}
        if len(sizes) != 1:
            raise ValueError(f"head, data, trajectory and number have lengths {sorted(sizes)}")

    @classmethod
    def of(
        cls,
        head: NDArray[np.void],
        data: Sequence[NDArray[np.complexfloating[Any]]],
        header: xsd.ismrmrdHeader,
        source: str,
        trajectory: Sequence[NDArray[np.floating[Any]]] | None = None,
    ) -> Acquisitions:
        """Readouts of a format with a protocol of its own; without a trajectory, of lines."""
        if trajectory is None:
            trajectory = [np.zeros((0, 0), np.float32)] * len(head)
        return cls(head, data, trajectory, header, header.toXML(), source)

    def __len__(self) -> int:
        return len(self.head)

    def flagged(self, *flags: int) -> NDArray[np.bool_]:
        """Which readouts carry any of these flags (ISMRMRD's numbers, from 1)."""
        return flagged(self.head, *flags)

    def select(self, chosen: NDArray[np.bool_]) -> Acquisitions:
        """Only the chosen readouts, in their order."""
        if chosen.all():
            return self
        places = np.flatnonzero(chosen)
        return dataclasses.replace(
            self,
            head=self.head[places],
            data=some_readouts(self.data, places),
            trajectory=some_readouts(self.trajectory, places),
            number=self.number[places],
        )

    def imaging(self, encoding: int | None = None) -> tuple[Acquisitions, int]:
        """The imaging readouts of an encoding space (the first that has some), and its number.

        Raises
        ------
        FormatError
            No imaging readouts, an encoding that the header does not have.
        ValueError
            An encoding that has no readouts.
        """
        imaging = self.select(~self.flagged(*NOT_IMAGING))
        if not len(imaging):
            raise FormatError(None, "readouts", f"none of {len(self)} is an imaging readout")
        known = np.unique(imaging.head["encoding_space_ref"])
        chosen = int(known[0]) if encoding is None else encoding
        if chosen not in known:
            raise ValueError(f"encoding {encoding} has no readouts, there are {known.tolist()}")
        if chosen >= len(self.header.encoding):
            raise FormatError(
                None, "readouts", f"are of encoding {chosen}, the header has "
                f"{len(self.header.encoding)} encodings",
            )  # fmt: skip
        return imaging.select(imaging.head["encoding_space_ref"] == chosen), chosen

    def axes(self, encoding: int | None = None) -> dict[str, int]:
        """Batch axes that `assemble` will make, by name and size."""
        imaging, _ = self.imaging(encoding)
        names, shape, _ = _batch(imaging.head["idx"], stack_of(imaging.head))
        return dict(zip(names, shape, strict=True))

    def part(self, part: Part, encoding: int | None = None) -> Acquisitions:
        """Only the readouts that some items of the batch need.

        Noise belongs to every item; navigators and separate calibration lines belong to their
        slice, as scanners measure them once.
        """
        imaging, chosen_encoding = self.imaging(encoding)
        shared = self.flagged(*NOT_IMAGING)
        if calibration_mode(self.header.encoding[chosen_encoding]) in SEPARATE:
            shared |= self.flagged(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        noise = self.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        keep = np.ones(len(self), bool)
        for name, items in part.items():
            values = np.unique(imaging.head["idx"][name])
            if name == "slice":
                values = values[np.argsort(stack_of(imaging.head).rank, kind="stable")]
            chosen = np.isin(self.head["idx"][name], np.atleast_1d(values[items]))
            keep &= chosen | (noise if name == "slice" else shared)
        return self.select(keep)


def some_readouts(
    parts: Sequence[NDArray[Any]], places: NDArray[np.int64]
) -> Sequence[NDArray[Any]]:
    """Those at some places; what lies in a file stays there."""
    select = getattr(parts, "select", None)  # of readouts that stay in their file
    if select is not None:
        chosen: Sequence[NDArray[Any]] = select(places)
        return chosen
    return [parts[i] for i in places.tolist()]


def assemble(acquisitions: Acquisitions, encoding: int | None = None) -> MRScan:
    """Sort readouts into a scan.

    Averages and repeated lines are averaged; repetitions, sets, phases, contrasts and slices
    become batch axes (in this order, where there is more than one), slices ordered by position.
    Noise readouts become `MRScan.noise`. Readouts on gradient ramps are regridded, and phase
    correction lines remove the ghost of alternating directions; without them,
    ``header["reversed_lines"]`` says which lines ran backward. Navigators and dummy readouts are
    left out. Calibration lines of a separate scan become a scan of their own in
    ``header["calibration"]``; other calibration lines are part of the k-space. Where slices were
    excited together, ``header["multiband_shifts"]`` says how far each of a group is shifted, and
    the slices one by one are the calibration.

    Parameters
    ----------
    acquisitions
        All readouts of a measurement.
    encoding
        Which encoding space. Default: the first that has readouts.

    Raises
    ------
    FormatError
        No imaging readouts, readouts that do not fit the encoded matrix, NaN, a non-Cartesian
        scan without trajectory.
    ValueError
        An encoding that has no readouts.
    """
    imaging, chosen = acquisitions.imaging(encoding)
    layout = acquisitions.header.encoding[chosen]
    header = {**protocol_facts(acquisitions, layout), "xml": acquisitions.xml}
    imaging = _even(acquisitions, imaging, chosen)
    sign = image_sign(acquisitions.header)
    header["format"] = acquisitions.source
    header["encoding"] = chosen
    header["sample_time_us"] = float(imaging.head["sample_time_us"][0])
    is_imaging = ~acquisitions.flagged(*NOT_IMAGING)
    known = np.unique(acquisitions.head["encoding_space_ref"][is_imaging])
    if len(known) > 1:
        header["encodings"] = tuple(known.tolist())
    if header.get("calibration_mode") in SEPARATE:
        reference = imaging.flagged(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        reference &= ~imaging.flagged(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
        if reference.any() and not reference.all():
            header["calibration"] = _scan(imaging.select(reference), layout, None, {}, sign)
            imaging = imaging.select(~reference)
    if shifts := multiband_shifts(layout):
        header["multiband_shifts"] = shifts
        own = layout.parallelImaging.multiband.calibration_encoding
        if "calibration" not in header and own != chosen and own in known:
            singles, _ = acquisitions.imaging(own)
            header["calibration"] = _scan(
                _even(acquisitions, singles, own), acquisitions.header.encoding[own], None, {}, sign
            )
    noise = _noise(acquisitions)
    if noise is not None:
        times = acquisitions.head["sample_time_us"]
        is_noise = acquisitions.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        header["noise_sample_time_us"] = float(times[is_noise][0])
    return _scan(imaging, layout, noise, header, sign)


def _even(acquisitions: Acquisitions, imaging: Acquisitions, encoding: int) -> Acquisitions:
    """The imaging readouts of an encoding, even along the readout and without ghost."""
    layout = acquisitions.header.encoding[encoding]
    if trajectory_of(layout) not in ON_GRID:
        return imaging
    own = acquisitions.flagged(ismrmrd.ACQ_IS_PHASECORR_DATA)
    own &= acquisitions.head["encoding_space_ref"] == encoding
    sign = image_sign(acquisitions.header)
    navigators = even_readouts(acquisitions.select(own), layout, sign)
    return ghost_free(even_readouts(imaging, layout, sign), navigators)


def _scan(
    imaging: Acquisitions,
    layout: xsd.encodingType,
    noise: NDArray[Any] | None,
    header: dict[str, Any],
    sign: int,
) -> MRScan:
    coils = np.unique(imaging.head["active_channels"])
    if len(coils) > 1:
        raise FormatError(None, "readouts", f"have {coils.tolist()} coils, expected one number")
    stack = stack_of(imaging.head)
    names, shape, places = _batch(imaging.head["idx"], stack)
    trajectory = trajectory_of(layout)
    on_grid = trajectory in ON_GRID
    sort = acquisition_grid.sort_lines if on_grid else acquisition_samples.sort_samples
    fields = sort(imaging, layout, places, int(np.prod(shape)))
    for name in ("kspace", "mask", "trajectory"):
        if name in fields:
            fields[name] = _shaped_batch(fields[name], shape)
    matrix = fields["image_shape"]
    header = {**header, "trajectory": trajectory, **stack.facts()}
    if (averages := fields.pop("averages", 1)) > 1:
        header["averages"] = averages
    if backward := fields.pop("reversed_lines", ()):
        header["reversed_lines"] = backward
    return MRScan(
        **fields,
        noise=None if noise is None else as_tensor(noise),
        spacing=stack.spacing(layout, matrix),
        affine=stack.affine(layout, matrix, sign),
        batch_axes=names,
        header=header,
    )


def trajectory_of(layout: xsd.encodingType) -> str:
    """Name of an encoding's trajectory: cartesian, epi, radial, spiral, ..."""
    return str(getattr(layout.trajectory, "value", layout.trajectory))


def _batch(idx: NDArray[np.void], stack: Stack) -> tuple[tuple[str, ...], tuple[int, ...], Any]:
    """Name and size the batch axes, and find each readout's place in the flattened batch."""
    names, shape = [], []
    places = np.zeros(len(idx), np.int64)
    for name in BATCH_AXES:
        values, rank = np.unique(idx[name], return_inverse=True)
        if len(values) > 1:
            rank = stack.rank[rank] if name == "slice" else rank
            places = places * len(values) + rank
            names.append(name)
            shape.append(len(values))
    return tuple(names), tuple(shape), places


def _shaped_batch(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Unfold the first axis into the batch; a mask or trajectory alike for all loses it."""
    if array.dtype.kind in "bf" and len(array) > 1 and bool((array == array[:1]).all()):
        return np.asarray(array[0])
    return array.reshape(*shape, *array.shape[1:])


def _noise(acquisitions: Acquisitions) -> NDArray[Any] | None:
    readouts = acquisitions.select(acquisitions.flagged(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)).data
    if not readouts:
        return None
    if len({len(readout) for readout in readouts}) > 1:
        raise FormatError(None, "noise readouts", "have differing numbers of coils")
    return np.concatenate(list(readouts), axis=1)


def calibration_mode(layout: xsd.encodingType) -> str:
    """How parallel imaging is calibrated: embedded, separate, ...; empty where it is not said."""
    mode = layout.parallelImaging and layout.parallelImaging.calibrationMode
    return str(getattr(mode, "value", mode)) if mode is not None else ""


def protocol_facts(acquisitions: Acquisitions, layout: xsd.encodingType) -> dict[str, Any]:
    """What the header says of the measurement and of an encoding space."""
    found = facts(acquisitions.header)
    if layout.parallelImaging is not None:
        factor = layout.parallelImaging.accelerationFactor
        found["acceleration"] = (factor.kspace_encoding_step_1, factor.kspace_encoding_step_2)
        if mode := calibration_mode(layout):
            found["calibration_mode"] = mode
    if layout.echoTrainLength:
        found["echo_train_length"] = layout.echoTrainLength
    thickness = layout.reconSpace.fieldOfView_mm.z
    if thickness > 0 and layout.encodedSpace.matrixSize.z == 1:
        found["slice_thickness_mm"] = thickness
    return found
