"""A scan as it would have been at a lower dose."""

from __future__ import annotations

import torch

from ..ct import detector_gain, lower_dose
from ..ct import electronic_noise as noise_of
from ..ct.photon_transfer import has_frames
from ..scan import CTScan


def at_lower_dose(
    scan: CTScan,
    dose: float,
    *,
    photons: float | None = None,
    electronic_noise: float | None = None,
    seed: int = 0,
) -> CTScan:
    """The scan's line integrals at a share of its dose; see `spinray.ct.lower_dose`.

    Parameters
    ----------
    scan
        Of the full dose, with its noise.
    dose
        Share of the dose in (0, 1].
    photons
        A ray without object. Default: as the scanner says, or from eight or more frames of the
        scan's blank.
    electronic_noise
        In photons. Default: from the frames of its dark scan, or none.
    seed
        Of the noise.

    Raises
    ------
    ValueError
        Neither photons nor frames that tell them; as `lower_dose`.
    """
    ndim = len(scan.geometry.shape) - 1
    level: float | torch.Tensor
    if photons is not None:
        level, gain = photons, None
    elif scan.photons is not None:
        level, gain = scan.photons, None
    elif scan.blank is not None and has_frames(scan.blank, ndim):
        gain = detector_gain(scan.blank, scan.dark, detector_ndim=ndim)
        dark = 0.0 if scan.dark is None else scan.dark.double()
        if isinstance(dark, torch.Tensor) and dark.ndim > ndim:
            dark = dark.mean(dim=-ndim - 1, keepdim=True)
        beam = scan.blank.double().mean(dim=-ndim - 1, keepdim=True) - dark
        level = beam.clamp_min(1e-3 * float(beam.max())) / gain
    else:
        raise ValueError(
            "the dose of this scan is not known: give the photons a ray without object, or a blank "
            "scan of eight frames or more"
        )
    if electronic_noise is None:
        electronic_noise = 0.0
        if gain is not None and scan.dark is not None and has_frames(scan.dark, ndim):
            electronic_noise = noise_of(scan.dark, detector_ndim=ndim) / gain
    sinogram = lower_dose(scan.sinogram, level, dose, electronic_noise=electronic_noise, seed=seed)
    mean = dose * float(torch.as_tensor(level).mean())
    header = {**scan.header, "photons": mean, "dose": dose}
    left = None if scan.photons is None else dose * scan.photons
    return scan.replace(sinogram=sinogram, photons=left, header=header)
