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

_FRAMES = "frames of the blank scan"


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
        source = str(scan.header.get("photons_by", "the scanner's photon statistics"))
        noise = float(scan.header.get("electronic_noise", 0.0))
        return _by_integrals(scan, scan.photons, source, noise)
    if (beam := beam_of(scan)) is not None:
        return _by_readings(scan, beam)
    return _by_integrals(scan, apparent_photons(scan.sinogram), "noise of the line integrals")


@dataclass(frozen=True)
class Beam:
    """What the frames of a blank scan tell.

    `photons` without object, above zero but at dead pixels, broadcasting to the rays; counts a
    photon; the readout's standard deviation in photons.
    """

    photons: Tensor
    gain: float
    electronic_noise: float


def beam_of(scan: CTScan) -> Beam | None:
    """The beam of a scan whose readings have frames that tell the gain, or None."""
    ndim = len(scan.geometry.shape) - 1
    if scan.counts is None or scan.blank is None or not has_frames(scan.blank, ndim):
        return None
    try:
        gain = detector_gain(scan.blank, scan.dark, detector_ndim=ndim)
    except ValueError:  # frames that are copies of one
        return None
    level = reference_reading("blank", scan.blank, scan.sinogram, ndim) - _dark(scan, ndim)
    noise = 0.0
    if scan.dark is not None and has_frames(scan.dark, ndim):
        noise = electronic_noise(scan.dark, detector_ndim=ndim) / gain
    return Beam(level.clamp_min(0) / gain, gain, noise)


def with_photons(scan: CTScan, beam: Beam | None) -> CTScan:
    """A scan whose readings are gone, corrected line integrals being left, with its beam.

    The photons of a ray are then those that its line integral lets through.
    """
    if beam is None or scan.counts is not None or scan.photons is not None:
        return scan
    header = {**scan.header, "photons_by": _FRAMES, "electronic_noise": beam.electronic_noise}
    return scan.replace(photons=beam.photons, header=header)


def _by_readings(scan: CTScan, beam: Beam) -> Photons:
    ndim = len(scan.geometry.shape) - 1
    assert scan.counts is not None
    photons = (scan.counts.to(scan.sinogram.dtype) - _dark(scan, ndim)) / beam.gain
    alive = beam.photons > 0  # line integrals of dead pixels are their neighbours'
    return Photons(
        torch.where(alive, photons, 0.0),
        torch.where(alive, beam.photons, 1.0),
        beam.electronic_noise,
        _FRAMES,
    )


def _dark(scan: CTScan, ndim: int) -> Tensor:
    dark = 0.0 if scan.dark is None else scan.dark
    return reference_reading("dark", dark, scan.sinogram, ndim)


def _by_integrals(
    scan: CTScan, without_object: float | Tensor, source: str, noise: float = 0.0
) -> Photons:
    blank = torch.as_tensor(without_object).to(scan.sinogram)
    photons = blank * torch.exp(-scan.sinogram)
    return Photons(photons, torch.where(blank > 0, blank, 1.0), noise, source)
