"""Echo-planar imaging: samples on gradient ramps, and the ghost of alternating readouts."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from ..operators import Fourier

_NEGLIGIBLE = 0.05  # samples of shift that leave no ghost
_RANGE = 3.0  # samples between forward and reversed echoes that the search without navigators spans


def trapezoid_positions(
    samples: int,
    dwell: float,
    *,
    ramp_up: float,
    flat_top: float,
    ramp_down: float,
    delay: float = 0.0,
    size: int | None = None,
    sine_ramps: bool = False,
) -> Tensor:
    """Where in k-space the samples of a readout under a trapezoidal gradient lie.

    Parameters
    ----------
    samples
        Number of samples.
    dwell, ramp_up, flat_top, ramp_down
        Time from sample to sample, and of the parts of the gradient, all in one unit.
    delay
        From the start of the gradient to that of the first sample.
    size
        Cells of k-space that the readout covers. Default: `samples`.
    sine_ramps
        Whether the gradient rises and falls as quarters of a sine.

    Returns
    -------
    Tensor
        ``(sample,)`` in cells of the grid, float64; 0 is where half of the gradient has passed.

    Raises
    ------
    ValueError
        Samples outside the gradient.
    """
    total = ramp_up + flat_top + ramp_down
    if delay < 0 or delay + samples * dwell > total * (1 + 1e-6):
        raise ValueError(
            f"{samples} samples of {dwell} from {delay} do not fit a gradient of {total} "
            f"({ramp_up} up, {flat_top} flat, {ramp_down} down)"
        )

    def area(time: Tensor) -> Tensor:
        up = time.clamp(0, ramp_up)
        flat = (time - ramp_up).clamp(0, flat_top)
        down = (time - ramp_up - flat_top).clamp(0, ramp_down)
        if sine_ramps:
            turn = torch.pi / 2
            rise = ramp_up / turn * (1 - torch.cos(turn * up / (ramp_up or 1)))
            fall = ramp_down / turn * torch.sin(turn * down / (ramp_down or 1))
        else:
            rise = up**2 / (2 * (ramp_up or 1))
            fall = down - down**2 / (2 * (ramp_down or 1))
        return rise + flat + fall

    edges = delay + dwell * torch.arange(samples + 1, dtype=torch.float64)
    covered = area(edges[-1]) - area(edges[0])
    middle = area(edges.new_tensor(total)) / 2
    places: Tensor = area(edges[:-1] + dwell / 2) - middle
    return places * ((samples if size is None else size) / covered)


def regrid_readouts(readouts: Tensor, positions: Tensor, size: int) -> Tensor:
    """Readouts at uneven positions onto an even grid: least squares over the field of view.

    Parameters
    ----------
    readouts
        Complex ``(*batch, sample)``.
    positions
        ``(sample,)`` in cells of the grid, 0 at its index ``size // 2``.
    size
        Number of cells, which is also that of pixels.

    Returns
    -------
    Tensor
        ``(*batch, size)``.

    Raises
    ------
    ValueError
        Another number of positions.
    """
    if positions.shape != readouts.shape[-1:]:
        raise ValueError(
            f"readouts have {readouts.shape[-1]} samples, positions shape {tuple(positions.shape)}"
        )
    pixel = (torch.arange(size, dtype=torch.float64) - size // 2) / size
    angle = -2 * torch.pi * positions.double().cpu()[:, None] * pixel
    encoding = torch.polar(torch.full_like(angle, size**-0.5), angle)
    # Cells beyond the first and last sample are not determined: keep them from growing.
    inverse = torch.linalg.pinv(encoding, rtol=1e-2)
    matrix = Fourier((size,))(inverse.mT).mT
    return readouts @ matrix.mT.to(readouts)


def navigator_phase(navigators: Tensor, reverse: Tensor) -> Tensor:
    """Phase between reversed and forward readouts along x, from lines without phase encoding.

    The straight line that fits the navigators' images best: its slope is the delay between the
    echoes, its height their phase.

    Parameters
    ----------
    navigators
        Complex ``(*batch, coil, line, kx)``, reversed lines turned around.
    reverse
        Bool ``(line,)``, true for reversed ones.

    Returns
    -------
    Tensor
        ``(*batch, x)`` in radians, for `correct_ghost`.

    Raises
    ------
    ValueError
        Lines of only one direction.

    References
    ----------
    O. Heid, Method for the phase correction of nuclear magnetic resonance signals, US 6043651
    (2000).
    """
    _check_lines("navigators", navigators, reverse)
    profiles = Fourier(navigators.shape[-1:]).adjoint(navigators)
    # The mean over lines before and after stands for the time of the line between.
    forward, backward = profiles[..., ~reverse, :].mean(-2), profiles[..., reverse, :].mean(-2)
    product = (backward * forward.conj()).sum(-2)
    tiny = torch.finfo(product.real.dtype).tiny
    product = product / product.abs().amax(-1, keepdim=True).clamp_min(tiny)
    x = torch.arange(product.shape[-1], device=product.device).to(product.real)
    x = x - product.shape[-1] // 2
    step = product[..., 1:] * product[..., :-1].conj()
    slope = step.sum(-1, keepdim=True).angle()
    height = (product * torch.polar(torch.ones_like(slope * x), -slope * x)).sum(-1, True).angle()
    # Refined by least squares on what is left, which is small and does not wrap.
    line = slope * x + height
    weight = product.abs() ** 2
    rest = (product * torch.polar(torch.ones_like(line), -line)).angle()
    total = weight.sum(-1, keepdim=True).clamp_min(tiny)  # navigators may hold no signal
    mean_x, mean_rest = ((weight * v).sum(-1, True) / total for v in (x, rest))
    spread = (weight * (x - mean_x) ** 2).sum(-1, True).clamp_min(tiny)
    slant = (weight * (x - mean_x) * rest).sum(-1, True) / spread
    return line + mean_rest + slant * (x - mean_x)


def entropy_phase(kspace: Tensor, reverse: Tensor) -> Tensor:
    """Phase between reversed and forward readouts along x, from the image alone.

    The straight line that makes the root-sum-of-squares image least spread (of least entropy): a
    ghost spreads it. A height of a half turn would swap image and ghost, so it is taken to lie
    within a quarter turn of zero.

    Parameters
    ----------
    kspace
        Complex ``(coil, ky, kx)``, reversed lines turned around.
    reverse
        Bool ``(ky,)``, true for reversed ones.

    Returns
    -------
    Tensor
        ``(x,)`` in radians, for `correct_ghost`.

    Raises
    ------
    ValueError
        Lines of only one direction.

    References
    ----------
    S. Clare, Iterative Nyquist ghost correction for single and multi-shot EPI using an entropy
    measure, Proc ISMRM (2003).
    """
    _check_lines("kspace", kspace, reverse)
    fourier = Fourier(kspace.shape[-2:])
    # Image = forward e^(i phase / 2) + backward e^(-i phase / 2): two transforms serve all trials.
    forward = fourier.adjoint(kspace * ~reverse[:, None])
    backward = fourier.adjoint(kspace * reverse[:, None])
    size = (forward + backward).abs().max().clamp_min(torch.finfo(kspace.real.dtype).tiny)
    forward, backward = forward / size, backward / size
    n = kspace.shape[-1]
    x = (torch.arange(n, device=kspace.device) - n // 2).to(kspace.real)

    def phase_of(parameters: NDArray[np.float64]) -> Tensor:
        delay, height = (float(v) for v in parameters)
        return 2 * torch.pi * delay / n * x + height

    def entropy(parameters: NDArray[np.float64]) -> float:
        turn = torch.polar(torch.ones_like(x), phase_of(parameters) / 2)
        power = (forward * turn + backward * turn.conj()).abs().square().sum(0)
        share = power.sqrt() / power.sum().sqrt().clamp_min(torch.finfo(power.dtype).tiny)
        return float(-(torch.special.xlogy(share, share)).sum())

    trials = [
        np.array([delay, height])
        for delay in np.arange(-_RANGE, _RANGE + 0.1, 0.5)
        for height in np.linspace(-np.pi / 2, np.pi / 2, 6, endpoint=False)
    ]
    best = min(trials, key=entropy)
    simplex = best + np.array([[0, 0], [0.25, 0], [0, 0.3]])
    found = minimize(
        entropy, best, method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 1e-4, "fatol": 0},
    )  # fmt: skip
    return phase_of(found.x)


def correct_ghost(kspace: Tensor, reverse: Tensor, phase: Tensor) -> Tensor:
    """Remove the phase between reversed and forward readouts, half of it from each.

    Samples at the ends of the readout that only one direction reached are set to zero in both:
    left alone, they would be a ghost of all sharp edges.

    Parameters
    ----------
    kspace
        Complex ``(*batch, coil, ky, kx)``, reversed lines turned around.
    reverse
        Bool ``(ky,)``, true for reversed ones.
    phase
        ``(x,)`` or ``(*batch, x)`` in radians.

    Returns
    -------
    Tensor
        K-space as `kspace`.

    Raises
    ------
    ValueError
        Another number of lines or pixels.
    """
    if reverse.shape != kspace.shape[-2:-1] or phase.shape[-1] != kspace.shape[-1]:
        raise ValueError(
            f"reverse {tuple(reverse.shape)} and phase {tuple(phase.shape)} do not fit kspace "
            f"{tuple(kspace.shape)}"
        )
    line = Fourier(kspace.shape[-1:])
    half = torch.where(reverse[:, None], -0.5, 0.5).to(phase) * phase[..., None, None, :]
    turned = torch.polar(torch.ones_like(half), half).to(kspace.dtype)
    corrected = line(line.adjoint(kspace) * turned)
    if lost := _unshared(phase):
        corrected[..., :lost] = 0
        corrected[..., -lost:] = 0
    return corrected


def _unshared(phase: Tensor) -> int:
    """Samples at either end that only one direction reached: its slope is twice their shift."""
    slope = (phase[..., -1] - phase[..., 0]).abs().max() / max(phase.shape[-1] - 1, 1)
    shift = float(slope) * phase.shape[-1] / (4 * math.pi)
    return min(math.ceil(shift - _NEGLIGIBLE), phase.shape[-1] // 2)


def _check_lines(name: str, lines: Tensor, reverse: Tensor) -> None:
    if lines.ndim < 3 or not lines.is_complex() or reverse.shape != lines.shape[-2:-1]:
        raise ValueError(
            f"{name} must be complex (*batch, coil, line, kx) with one reverse a line, got "
            f"{lines.dtype} {tuple(lines.shape)} and {tuple(reverse.shape)}"
        )
    if bool(reverse.all()) or not bool(reverse.any()):
        raise ValueError(f"{name} all run in one direction: there is no ghost to correct")
