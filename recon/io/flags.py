"""ISMRMRD's flags of readouts, numbered from 1, as bits of their headers."""

from __future__ import annotations

import ismrmrd
import numpy as np
from numpy.typing import NDArray

# Readouts that say something about the scanner or the patient, but are no image.
NOT_IMAGING = (
    ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
)


def flag_bits(*flags: int) -> np.uint64:
    """Bits of a header's `flags`."""
    return np.uint64(sum(1 << (flag - 1) for flag in flags))


def flagged(head: NDArray[np.void], *flags: int) -> NDArray[np.bool_]:
    """Which of the headers carry any of these flags."""
    return np.asarray((head["flags"] & flag_bits(*flags)) != 0)
