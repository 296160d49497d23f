"""What a CT scan tells of its photons: by its readings, or by the noise of line integrals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..ct import detector_gain, electronic_noise, statistical_weights
from ..ct.corrections import reference_reading
from ..ct.noise import apparent_photons
from ..ct.photon_transfer import has_frames
from ..scan import CTScan


@dataclass(frozen=True)
class Photons:
    """Photons of each ray, shaped as the line integrals, and how they are known.

    `blank` is what came without object, broadcasting to the rays, `electronic_noise` the readout's
    standard deviation in photons.
    """

    counts: Tensor
    blank: Tensor
    electronic_noise: float
    source: str

    @property
    def weights(self) -> Tensor:
        """Inverse variances of the line integrals."""
        return statistical_weights(self.counts, electronic_noise=self.electronic_noise)


def photons_of(scan: CTScan, without_object: float | None = None) -> Photons:
    """Photons of a scan: as stated, by the scanner, its readings' frames, or the noise it shows.

    Parameters
    ----------
    without_object
        Mean photons a ray without object, if they are known.

    Raises
    ------
    ValueError
        A number that is not positive.
    """
    if without_object is not None:
        if not without_object > 0:
            raise ValueError(f"photons must be above 0 a ray, got {without_object}")
        return _by_integrals(scan, without_object, "as stated")
    if scan.photons is not None:
        return _by_integrals(scan, scan.photons, "the scanner's photon statistics")
    ndim = len(scan.geometry.shape) - 1
    if scan.counts is not None and scan.blank is not None and has_frames(scan.blank, ndim):
        try:
            gain = detector_gain(scan.blank, scan.dark, detector_ndim=ndim)
        except ValueError:  # frames that are copies of one
            pass
        else:
            return _by_readings(scan, gain, ndim)
    return _by_integrals(scan, apparent_photons(scan.sinogram), "noise of the line integrals")


def _by_readings(scan: CTScan, gain: float, ndim: int) -> Photons:
    assert scan.counts is not None
    counts = scan.counts.to(scan.sinogram.dtype)
    dark = reference_reading("dark", 0.0 if scan.dark is None else scan.dark, counts, ndim)
    level = (reference_reading("blank", scan.blank, counts, ndim) - dark) / gain
    alive = level > 0  # line integrals of dead pixels are their neighbours'
    noise = 0.0
    if has_frames(scan.dark, ndim):
        noise = electronic_noise(torch.as_tensor(scan.dark), detector_ndim=ndim) / gain
    photons = torch.where(alive, (counts - dark) / gain, 0.0)
    blank = torch.where(alive, level, 1.0)
    return Photons(photons, blank, noise, "frames of the blank scan")


def _by_integrals(scan: CTScan, without_object: float | Tensor, source: str) -> Photons:
    blank = torch.as_tensor(without_object).to(scan.sinogram)
    return Photons(blank * torch.exp(-scan.sinogram), blank, 0.0, source)
