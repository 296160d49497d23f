"""Simultaneous multislice in ISMRMRD's header: how far the slices of a group are shifted.

The header gives the distances dZ in mm from slice to slice of a group, and deltaKz in 1/mm: by how
much kz grows from one line to the next. A slice at height z above its group's first is thus
shifted along y by ``deltaKz z`` fields of view.
"""

from __future__ import annotations

import numpy as np
from ismrmrd import xsd

from ..scan import MRScan
from .errors import FormatError


def multiband_shifts(layout: xsd.encodingType) -> tuple[float, ...]:
    """Shift of each slice of a group in fields of view, in [0, 1); empty without multiband.

    Raises
    ------
    FormatError
        Distances that do not fit the number of slices.
    """
    parallel = layout.parallelImaging
    if parallel is None or parallel.multiband is None or parallel.multiband.multiband_factor < 2:
        return ()
    multiband = parallel.multiband
    steps = multiband.multiband_factor - 1
    gaps = [gap for spacing in multiband.spacing for gap in spacing.dZ]
    if len(gaps) not in (1, steps):
        raise FormatError(
            None, "XML header, multiband", f"has {len(gaps)} distances dZ, expected 1 or {steps} "
            f"for {multiband.multiband_factor} slices",
        )  # fmt: skip
    heights = np.cumsum([0.0, *(gaps * steps if len(gaps) == 1 else gaps)])
    return tuple((heights * multiband.deltaKz % 1).round(9).tolist())


def multiband_element(scan: MRScan) -> xsd.multibandType:
    """Return the element that `multiband_shifts` reads again.

    Raises
    ------
    ValueError
        Shifts that do not grow evenly from 0: the format has no place for others.
    """
    shifts = np.array([float(s) for s in scan.header["multiband_shifts"]])
    step = float(shifts[1] - shifts[0])
    odd = (shifts - step * np.arange(len(shifts)) + 0.5) % 1 - 0.5
    if np.abs(odd).max() > 1e-6:
        raise ValueError(
            f"ISMRMRD holds shifts that grow evenly from 0, multiband_shifts are {shifts.tolist()}"
        )
    groups = scan.batch_shape[-1] if scan.batch_axes[-1:] == ("slice",) else 1
    spacing = scan.header["calibration"].spacing
    distance = groups * (spacing[0] if len(spacing) == 3 else 1.0)
    return xsd.multibandType(
        spacing=[xsd.multibandSpacingType(dZ=[distance] * (len(shifts) - 1))],
        deltaKz=step / distance,
        multiband_factor=len(shifts),
        calibration=xsd.multibandCalibrationType.SEPARABLE2_D,
        calibration_encoding=0,
    )
