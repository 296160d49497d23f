"""What is known of the noise of MR data: by a noise scan, or by the outermost samples."""

from __future__ import annotations

import math

from torch import Tensor

from ..mri import outer_noise, part_noise
from ..scan import MRScan


def is_measured(scan: MRScan) -> bool:
    """Whether a noise scan came with it; it may have been used, for whitening, already."""
    return scan.noise is not None or bool(scan.header.get("whitened"))


def whitened_deviation(scan: MRScan) -> float:
    """Standard deviation of the noise of whitened complex samples.

    It is not 1 where the noise scan had another bandwidth (``header["sample_time_us"]``,
    ``header["noise_sample_time_us"]``), nor where averages were taken (``header["averages"]``).
    """
    header = scan.header
    times = [float(header.get(name, 0)) for name in ("sample_time_us", "noise_sample_time_us")]
    wider = math.sqrt(times[1] / times[0]) if min(times) > 0 else 1.0
    return wider / math.sqrt(int(header.get("averages", 1)))


def noise_of(volume: MRScan) -> Tensor:
    """Standard deviation of each coil's complex noise, broadcast to the k-space of one volume.

    Where a noise scan was measured, the volume must have been whitened by it.
    """
    ones = volume.kspace.real.new_ones((volume.coils,) + (1,) * (volume.kspace.ndim - 1))
    if is_measured(volume):
        return ones * whitened_deviation(volume)
    return outer_noise(volume.kspace, volume.trajectory).reshape(ones.shape)


def real_noise(volume: MRScan) -> float:
    """Standard deviation of the noise of real parts, one for all coils, of one volume."""
    return part_noise(noise_of(volume))
