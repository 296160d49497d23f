"""How the patient lay in the scanner: DICOM's codes, and what they mean for the CT frame.

The CT frame is the scanner's, seen from the foot end of the table: x to the right, y down, z into
the gantry. Head first and supine these are the patient's left, back and head, which is DICOM's
frame (LPS).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .orientation import LPS_TO_RAS

Array = NDArray[np.float64]

UNKNOWN = "HFS"  # what is assumed where a file does not say
# The patient's left (rows of the matrix: left, back, head) along the scanner's x, y and z.
_FRAMES = {
    "HFS": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "HFP": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "HFDR": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "HFDL": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "FFS": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "FFP": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "FFDR": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
    "FFDL": ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
}
POSITIONS = tuple(_FRAMES)


def patient_frame(position: str, offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Array:
    """Affine ``(4, 4)`` from the CT frame (x, y, z in mm) to the patient's, RAS+.

    Parameters
    ----------
    position
        HFS, FFP, ... Others count as head first, supine.
    offset
        The geometry's origin in the scanner's frame, (x, y, z) in mm.
    """
    turn = LPS_TO_RAS @ np.array(_FRAMES.get(position, _FRAMES[UNKNOWN]), np.float64)
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = turn, turn @ offset
    return frame


def position_of(frame: Array) -> tuple[str, Array]:
    """Position and offset that make a frame: the inverse of `patient_frame`.

    Raises
    ------
    ValueError
        A frame of no position of a patient on a table.
    """
    for position in POSITIONS:
        turn = patient_frame(position)[:3, :3]
        if np.allclose(frame[:3, :3], turn, atol=1e-6):
            return position, np.asarray(turn.T @ frame[:3, 3])
    raise ValueError(f"no patient position has the CT frame {frame[:3, :3].tolist()}")
