"""First-order scatter: a kernel that the primary beam is spread by, estimated and taken off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from ...kernels.ct.geometry import CircularBeam, ConeBeam
from .corrections import bridged

_ROUNDS = 60  # at most
_SETTLED = 1e-5  # change of a line integral in the last round


@dataclass(frozen=True)
class ScatterKernel:
    """Scatter of a pencil beam: ``amplitude * p * exp(-p)`` times a Gaussian on the detector.

    Parameters
    ----------
    amplitude
        Scattered over primary intensity for a line integral of one, without unit.
    width
        Standard deviation of the Gaussian in mm on the detector.

    Raises
    ------
    ValueError
        Values that are negative or not finite.
    """

    amplitude: float
    width: float

    def __post_init__(self) -> None:
        for name in ("amplitude", "width"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} of a scatter kernel must be 0 or more, got {value}")

    def scatter(self, primary: Tensor, geometry: CircularBeam) -> Tensor:
        """Scatter that a primary beam makes, both over the blank reading.

        Parameters
        ----------
        primary
            Transmission ``exp(-p)`` without scatter, ``(*batch, view, [row,] column)``.
        geometry
            Whose spacings measure the kernel's width.
        """
        source = self.amplitude * primary * -torch.log(primary.clamp(1e-12, 1.0))
        spread = _blurred(source, self.width / geometry.column_spacing, -1)
        if isinstance(geometry, ConeBeam):
            spread = _blurred(spread, self.width / geometry.row_spacing, -2)
        return spread


def correct_scatter(sinogram: Tensor, geometry: CircularBeam, kernel: ScatterKernel) -> Tensor:
    """Line integrals without first-order scatter.

    The scatter is that of the primary beam, which is what is left without it: both are estimated
    in turn until they settle. The primary is scaled by measured over expected readings, so that it
    stays above zero and the rounds converge where scatter exceeds it several times.

    Parameters
    ----------
    sinogram
        Line integrals with scatter, ``(*batch, view, [row,] column)``.
    geometry
        Fan or cone beam (parallel beams too).
    kernel
        From a calibration; see `fit_scatter_kernel`.

    Returns
    -------
    Tensor
        Shaped as the sinogram.

    References
    ----------
    B. Ohnesorge, T. Flohr, K. Klingenbeck-Regn, Eur Radiol 9, 563 (1999); M. Sun, J. M. Star-Lack,
    Phys Med Biol 55, 6695 (2010).
    """
    measured = torch.exp(-sinogram)
    primary = measured
    for _ in range(_ROUNDS):
        factor = measured / (primary + kernel.scatter(primary, geometry))
        primary = primary * factor
        if float((factor - 1).abs().max()) < _SETTLED:
            break
    return -torch.log(primary)


def fit_scatter_kernel(scatter: Tensor, sinogram: Tensor, geometry: CircularBeam) -> ScatterKernel:
    """Kernel that explains scatter measured behind a beam stop, or simulated.

    Parameters
    ----------
    scatter
        Scatter over the blank reading ``(view, [row,] column)``, NaN where it was not measured.
    sinogram
        Line integrals of the same scan, with that scatter in them.
    geometry
        Of the scan.

    Raises
    ------
    ValueError
        Shapes that differ, no scatter, a fit that explains less than half of its variation.
    """
    if scatter.shape != sinogram.shape:
        raise ValueError(
            f"scatter {tuple(scatter.shape)} and sinogram {tuple(sinogram.shape)} must agree"
        )
    known = torch.isfinite(scatter)
    if not bool((scatter[known] > 0).any()):
        raise ValueError("no scatter was measured: nothing above zero")
    seen = known.any(dim=-1, keepdim=True)
    filled = bridged(torch.where(known, scatter, 0.0), ~known & seen)
    filled = torch.where(seen, filled, scatter[known].mean())  # rows without any beam stop
    primary = (torch.exp(-sinogram) - filled).clamp_min(1e-6)
    target = scatter[known].double().cpu().numpy()

    def residual(log: np.ndarray[tuple[int], np.dtype[np.float64]]) -> object:
        kernel = ScatterKernel(*np.exp(log))
        return kernel.scatter(primary, geometry)[known].double().cpu().numpy() - target

    reach = geometry.columns * geometry.column_spacing
    start = np.log([0.1, reach / 8])
    found = least_squares(residual, start, bounds=(start - 6, [3.0, np.log(2 * reach)]))
    if 2 * found.cost > 0.5 * np.sum((target - target.mean()) ** 2) + 1e-12 * np.sum(target**2):
        raise ValueError("a Gaussian kernel explains less than half of the measured scatter")
    return ScatterKernel(*np.exp(found.x).tolist())


def _blurred(values: Tensor, sigma: float, axis: int) -> Tensor:
    """Gaussian blur along an axis, in cells; nothing comes from beyond the detector."""
    if sigma < 1e-3:
        return values
    rows = values.movedim(axis, -1)
    length = 2 * rows.shape[-1]
    distance = torch.arange(length, device=values.device, dtype=values.dtype)
    distance = torch.minimum(distance, length - distance)
    weight = torch.exp(-0.5 * (distance / sigma) ** 2)
    # Truncated by the detector's size, but not renormalised: scatter may miss the detector.
    weight = weight / (sigma * (2 * np.pi) ** 0.5) if sigma > 0.5 else weight / weight.sum()
    spectrum = torch.fft.rfft(rows, length) * torch.fft.rfft(weight)
    blurred: Tensor = torch.fft.irfft(spectrum, length)[..., : rows.shape[-1]]
    return blurred.movedim(-1, axis)
