"""ISMRMRD's header for files of other formats, from sizes and lengths in plain tuples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ismrmrd import xsd


def encoding(
    matrix: Sequence[int],
    view: Sequence[float],
    recon: Sequence[int],
    recon_view: Sequence[float],
    *,
    trajectory: str = "cartesian",
    centers: Sequence[int] | None = None,
    **more: Any,
) -> xsd.encodingType:
    """An encoding space.

    Parameters
    ----------
    matrix, view
        Sizes of k-space and of its field of view in mm, ``(x, y, z)``.
    recon, recon_view
        The same of the image to reconstruct.
    trajectory
        ISMRMRD's name for it.
    centers
        Counters of line and partition through the middle of k-space. Default: half the sizes.
    more
        Other elements of the encoding.
    """
    middle = centers if centers is not None else (matrix[1] // 2, matrix[2] // 2)
    return xsd.encodingType(
        encodedSpace=_space(matrix, view),
        reconSpace=_space(recon, recon_view),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=_limit(matrix[1], middle[0]),
            kspace_encoding_step_2=_limit(matrix[2], middle[1]),
        ),
        trajectory=xsd.trajectoryType(trajectory),
        **more,
    )


def _space(matrix: Sequence[int], view: Sequence[float]) -> xsd.encodingSpaceType:
    sizes = {axis: int(n) for axis, n in zip("xyz", matrix, strict=True)}
    lengths = {axis: float(v) for axis, v in zip("xyz", view, strict=True)}
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(**sizes), fieldOfView_mm=xsd.fieldOfViewMm(**lengths)
    )


def _limit(size: int, center: int) -> xsd.limitType:
    return xsd.limitType(minimum=0, maximum=int(size) - 1, center=int(center))


def header(
    vendor: str, coils: int, layout: xsd.encodingType, *, frequency: float = 0.0, **more: Any
) -> xsd.ismrmrdHeader:
    """A header with one encoding.

    Parameters
    ----------
    vendor, coils
        Maker of the system, number of receive channels.
    layout
        Of `encoding`.
    frequency
        Of protons, in Hz; 0 where it is not known.
    more
        Other parts of the header. Of the system: as a dictionary.
    """
    system = {"systemVendor": vendor, "receiverChannels": coils, **more.pop("system", {})}
    return xsd.ismrmrdHeader(
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(**system),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=int(frequency)
        ),
        encoding=[layout],
        **more,
    )


def measurement(position: str, protocol: str, sequence: str = "") -> Any:
    """What was measured and how the patient lay (HFS, FFP, ...; head first supine if unknown)."""
    known = [member.value for member in xsd.patientPositionType]
    return xsd.measurementInformationType(
        patientPosition=xsd.patientPositionType(position if position in known else "HFS"),
        protocolName=protocol or None,
        sequenceName=sequence or None,
    )
