"""Where the slices lie: voxel size and affine from the positions and directions of readouts.

ISMRMRD gives positions in mm and directions in the patient's frame of DICOM (LPS: left,
posterior, superior); affines are RAS as in NIfTI. The position is that of voxel N // 2, the
origin of the Fourier transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

from .encoding import spacing_of

Array = NDArray[np.float64]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of a scan in order of their position.

    Parameters
    ----------
    rank
        ``(slice,)``: where each slice of the file, in order of its number, stands in the stack.
    positions
        ``(slice, 3)`` in mm (LPS), in the order of the stack.
    directions
        ``(3, 3)``: unit vectors along x, y and z (read, phase, slice) as rows, or None where the
        file does not say.
    parallel
        Whether the slices are parallel and evenly spaced.
    """

    rank: NDArray[np.int64]
    positions: Array
    directions: Array | None
    parallel: bool

    def step(self) -> Array | None:
        """Vector from one slice to the next in mm (LPS); None for one slice or no order."""
        if len(self.positions) < 2 or self.directions is None or not self.parallel:
            return None
        return np.asarray(self.positions[-1] - self.positions[0]) / (len(self.positions) - 1)

    def spacing(self, layout: xsd.encodingType, matrix: tuple[int, ...]) -> tuple[float, ...]:
        """Voxel size in mm, ``(z, y, x)`` of volumes and stacks, ``(y, x)`` of a single slice."""
        size = spacing_of(layout)
        in_plane = size["y"], size["x"]
        if len(matrix) == 3:
            return (size["z"], *in_plane)
        if len(self.positions) < 2:
            return in_plane
        step = self.step()
        return (size["z"] if step is None else float(np.linalg.norm(step)), *in_plane)

    def affine(
        self, layout: xsd.encodingType, matrix: tuple[int, ...], sign: int = 1
    ) -> Array | None:
        """``(4, 4)`` from voxel (x, y, z) to RAS mm; None where the file has no directions.

        `sign` is that of `image_sign`: -1 where voxels grow against the directions.
        """
        if self.directions is None:
            return None
        size = spacing_of(layout)
        columns = sign * self.directions.T * [size["x"], size["y"], size["z"]]
        step = self.step()
        if len(matrix) == 2:  # a slice's number is no Fourier transform's
            columns[:, 2] = sign * columns[:, 2] if step is None else step
        middle = [n // 2 for n in reversed(matrix)] + [0] * (3 - len(matrix))
        affine = np.eye(4)
        affine[:3, :3] = LPS_TO_RAS @ columns
        affine[:3, 3] = LPS_TO_RAS @ (self.positions[0] - columns @ middle)
        return affine

    def facts(self) -> dict[str, Any]:
        """What spacing and affine cannot say: positions of slices that form no even stack."""
        if self.parallel:
            return {}
        return {"slice_positions_mm": tuple(map(tuple, self.positions.tolist()))}


def image_sign(header: xsd.ismrmrdHeader) -> int:
    """1 if voxels of an inverse Fourier transform grow along the read-outs' directions, else -1.

    Siemens measures exp(+2 pi i k r) along the directions that it states: its own images are made
    by forward transforms. The shift of EPI readouts off the centre shows the sign, too.
    """
    system = header.acquisitionSystemInformation
    vendor = str((system and system.systemVendor) or "")
    return -1 if vendor.lower().startswith("siemens") else 1


def stack_of(head: NDArray[np.void]) -> Stack:
    """Find the stack in the headers of readouts: one position and direction a slice."""
    _, first = np.unique(head["idx"]["slice"], return_index=True)
    positions = head["position"][first].astype(np.float64)
    frames = np.stack([head[f"{name}_dir"][first] for name in ("read", "phase", "slice")], axis=1)
    frames = frames.astype(np.float64)
    count = len(first)
    rank = np.arange(count)
    lengths = np.linalg.norm(frames, axis=-1)
    if not (np.isfinite(positions).all() and np.isfinite(frames).all() and lengths.min() > 0.5):
        return Stack(rank, np.zeros((count, 3)), None, parallel=True)
    frames /= lengths[..., None]
    parallel = bool(np.abs(frames - frames[0]).max() < 1e-3)
    if parallel and count > 1:
        along = positions @ frames[0, 2]
        order = np.argsort(along, kind="stable")
        rank = np.argsort(order, kind="stable")
        positions = positions[order]
        steps = np.diff(along[order])
        parallel = bool(steps.min() > 0 and np.ptp(steps) <= 0.02 * steps.mean())
    return Stack(rank, positions, frames[0], parallel)
