"""What HDF5 files of tomography have in common."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from ..ct.corrections import dead_pixels
from ..scan import CTScan
from .beam_geometry import TO_MM
from .errors import FormatError
from .hdf5 import attribute, dataset, read_array


def angles_in(file: h5py.File, name: str) -> NDArray[np.float64]:
    """Angles in radians, whatever their unit in the file (degrees if it does not say)."""
    angles = read_array(file, name).ravel().astype(np.float64)
    units = str(attribute(dataset(file, name), "units", "degrees")).lower()
    return angles if units.startswith("rad") else np.deg2rad(angles)


def length_in(file: h5py.File, name: str) -> float:
    """A length in mm, whatever its unit in the file (metres if it does not say).

    Raises
    ------
    FormatError
        No length of a pixel.
    """
    values = np.ravel(read_array(file, name))
    units = str(attribute(dataset(file, name), "units", "m")).lower()
    scale = TO_MM.get(units.rstrip("s"), TO_MM.get(units))
    if scale is None or not len(values) or not 0 < float(values[0]) * scale < 1e3:
        raise FormatError(None, name, f"is {values[:1]} {units!r}, expected a length")
    return float(values[0]) * scale


def with_dead_pixels(scan: CTScan) -> CTScan:
    """Note in the header how many pixels were interpolated, if any."""
    if scan.counts is None or scan.blank is None:
        return scan
    ndim = len(scan.geometry.shape) - 1
    dead = dead_pixels(scan.counts, scan.blank, scan.dark, detector_ndim=ndim)
    return scan.replace(header={**scan.header, "dead_pixels": dead}) if dead else scan
