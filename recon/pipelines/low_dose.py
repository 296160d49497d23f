"""A scan as it would have been at a lower dose."""

from __future__ import annotations

import torch

from ..ct import lower_dose
from ..scan import CTScan
from .scan_noise import beam_of


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
    beam = beam_of(scan)
    level: float | torch.Tensor
    if photons is not None:
        level, noise = photons, 0.0
    elif scan.photons is not None:
        level, noise = scan.photons, float(scan.header.get("electronic_noise", 0.0))
    elif beam is not None:
        level = beam.photons.clamp_min(1e-3 * float(beam.photons.max()))
        noise = beam.electronic_noise
    else:
        raise ValueError(
            "the dose of this scan is not known: give the photons a ray without object, or a blank "
            "scan of eight frames or more"
        )
    if electronic_noise is not None:
        noise = electronic_noise
    sinogram = lower_dose(scan.sinogram, level, dose, electronic_noise=noise, seed=seed)
    left = dose * torch.as_tensor(level)
    header = {**scan.header, "photons": float(left.mean()), "dose": dose}
    header["electronic_noise"] = noise
    return scan.replace(sinogram=sinogram, photons=left.to(sinogram), header=header)
