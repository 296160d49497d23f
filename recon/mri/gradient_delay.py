"""Radial trajectories as the gradients played them: late, and differently on each axis."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import Fourier

_SEARCH = 3.0  # samples on either side of the middle where two spokes may cross,
_FINENESS = 8  # in steps of 1/8 sample
_PAIRS = 64


def radial_delays(kspace: Tensor, trajectory: Tensor, readout_length: int) -> Tensor:
    """Shift of the spokes of a 2D radial scan, from where they cross.

    Gradient delays shift the spoke of direction n by ``S n`` with a symmetric matrix S. Spokes at
    about right angles cross near the middle of k-space, where both measured the same; how far
    from their middles says S.

    Parameters
    ----------
    kspace
        Complex ``(coil, sample)``, the better the more coils.
    trajectory
        ``(sample, 2)`` as planned, in cycles per pixel, (y, x): full spokes through the middle.
    readout_length
        Samples a spoke.

    Returns
    -------
    Tensor
        S, ``(2, 2)`` in cycles per pixel, ordered (y, x); for `shift_spokes`.

    Raises
    ------
    ValueError
        Samples that are no full spokes, or spokes of about one direction.

    References
    ----------
    S. Rosenzweig et al., Magn Reson Med 81, 1898 (2019).
    """
    places, directions, step = _spokes(trajectory.cpu(), readout_length)
    if kspace.ndim != 2 or kspace.shape[-1] != trajectory.shape[0]:
        raise ValueError(
            f"kspace must be (coil, sample) with {trajectory.shape[0]} samples, "
            f"got {tuple(kspace.shape)}"
        )
    samples = kspace.cpu().reshape(len(kspace), -1, readout_length).movedim(0, 1)
    samples = samples / samples.abs().max().clamp_min(1e-30)
    pairs = _crossing(directions)
    used = sorted({spoke for pair in pairs for spoke in pair})
    near, distances = _near_middle(samples[used], places[used], step)
    fine = dict(zip(used, near, strict=True))
    rows, sides = [], []
    for i, j in pairs:
        difference = (fine[i][:, :, None] - fine[j][:, None, :]).abs().square().sum(0)
        a, b = divmod(int(difference.argmin()), difference.shape[1])
        # a n_i + S n_i = b n_j + S n_j
        n, m = directions[i], directions[j]
        gap = n - m
        zero = torch.zeros_like(gap[0])
        rows.append(torch.stack([torch.stack([gap[0], gap[1], zero]),
                                 torch.stack([zero, gap[0], gap[1]])]))  # fmt: skip
        sides.append(distances[b] * m - distances[a] * n)
    system, right = torch.stack(rows), torch.stack(sides)
    kept = torch.ones(len(system), dtype=torch.bool)
    for _ in range(3):  # without the pairs that noise let cross elsewhere
        found = torch.linalg.lstsq(system[kept].flatten(0, 1), right[kept].flatten()[:, None])
        yy, yx, xx = found.solution[:, 0]
        errors = (system @ found.solution[:, 0] - right).norm(dim=1)
        kept = errors <= 3 * errors.median().clamp_min(step / _FINENESS)
    return torch.stack([torch.stack([yy, yx]), torch.stack([yx, xx])]).to(trajectory)


def shift_spokes(trajectory: Tensor, readout_length: int, shift: Tensor) -> Tensor:
    """The trajectory as it was played: every spoke of direction n moved by ``shift @ n``.

    Parameters
    ----------
    trajectory
        ``(sample, 2)`` as planned, in cycles per pixel.
    readout_length
        Samples a spoke.
    shift
        ``(2, 2)`` from `radial_delays`.

    Returns
    -------
    Tensor
        ``(sample, 2)``, kept within [-0.5, 0.5).
    """
    _, directions, _ = _spokes(trajectory, readout_length)
    moved = trajectory.double().reshape(-1, readout_length, 2)
    moved = moved + (directions @ shift.double().mT)[:, None]
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)).item()
    return moved.reshape(-1, 2).clamp(-0.5, below).to(trajectory)


def _spokes(trajectory: Tensor, readout_length: int) -> tuple[Tensor, Tensor, float]:
    """Places along each spoke ``(spoke, sample)``, directions ``(spoke, 2)``, sample distance."""
    flat = trajectory.ndim == 2 and trajectory.shape[1] == 2 and readout_length > 1
    if not flat or trajectory.shape[0] % readout_length:
        raise ValueError(
            f"trajectory must be (sample, 2) in readouts of {readout_length}, "
            f"got {tuple(trajectory.shape)}"
        )
    k = trajectory.double().reshape(-1, readout_length, 2)
    ends = k[:, -1] - k[:, 0]
    directions = ends / ends.norm(dim=1, keepdim=True).clamp_min(1e-12)
    places = (k * directions[:, None]).sum(-1)
    step = float(ends.norm(dim=1).mean()) / (readout_length - 1)
    aside = (k - places[..., None] * directions[:, None]).norm(dim=-1).max()
    path = k.diff(dim=1).norm(dim=-1).sum(1)
    bent = bool((path > 1.01 * ends.norm(dim=1)).any())
    if bent or float(aside) > 0.5 * step or float(places.amin(1).max()) > -4 * step:
        raise ValueError("the samples are no full, straight spokes through the middle of k-space")
    return places, directions, step


def _near_middle(samples: Tensor, places: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Spokes ``(spoke, coil, place)`` at fine steps around their middles, and these places."""
    count = int(_SEARCH * _FINENESS)
    distances = torch.arange(-count, count + 1, dtype=torch.float64) * (step / _FINENESS)
    n = samples.shape[-1]
    profile = Fourier((n,)).adjoint(samples.to(torch.complex128))
    pixel = (torch.arange(n, dtype=torch.float64) - n // 2) / n
    # Where in samples each distance lies on each spoke; the readout is band-limited.
    at = (distances - places[:, n // 2 : n // 2 + 1]) / step
    angle = -2 * torch.pi * at[..., None] * pixel
    kernel = torch.polar(torch.full_like(angle, n**-0.5), angle)
    return torch.einsum("scx,sdx->scd", profile, kernel), distances


def _crossing(directions: Tensor) -> list[tuple[int, int]]:
    """Pairs of spokes at about right angles, spread over all directions."""
    cosine = (directions @ directions.mT).abs()
    best = cosine.argmin(1)
    spokes = torch.linspace(0, len(directions) - 1, min(_PAIRS, len(directions))).long().tolist()
    pairs = [(i, int(best[i])) for i in spokes if float(cosine[i, best[i]]) < 0.5]
    if len(pairs) < 2:
        raise ValueError("no two pairs of spokes cross at a wide angle: delays cannot be told")
    return pairs
