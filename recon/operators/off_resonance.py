"""Off-resonance by time segments: a few plain transforms instead of one per voxel frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .base import version_of

MOST_SEGMENTS = 256
MOST_GAIN = 4.0  # of the weights: they multiply the transform's own error


class TimeSegments(nn.Module):
    """``exp(-2 pi i f t) = sum_s weights[s, t] exp(-2 pi i f t_s)`` for all voxels and samples.

    The weights are the least squares fit of the phase factors and of their derivatives over the
    histogram of the field map; segments are added until the fit's root mean square error is below
    the tolerance, for values as for derivatives (those in units of half the readout). `refresh`
    fits again when the field map has changed.

    Parameters
    ----------
    field_map : ([z,] y, x), Hz
    readout_time : (sample,), s
    tolerance : root mean square error of the phase factors and their derivatives
    """

    weights: Tensor
    times: Tensor
    field_map: Tensor
    readout_time: Tensor
    _version: int

    def __init__(self, field_map: Tensor, readout_time: Tensor, tolerance: float) -> None:
        super().__init__()
        if field_map.is_complex() or readout_time.is_complex():
            raise TypeError("field_map (Hz) and readout_time (s) must be real")
        if isinstance(field_map, nn.Parameter):
            self.register_parameter("field_map", field_map)
        else:
            self.register_buffer("field_map", field_map)
        self.register_buffer("readout_time", readout_time.detach().double())
        self.tolerance, self.error = tolerance, math.inf
        self._fit()

    def refresh(self) -> None:
        """Choose segments and weights again if the field map changed since."""
        if version_of(self.field_map) != self._version:
            self._fit()

    def _fit(self) -> None:
        field_map, time = self.field_map.detach().double(), self.readout_time
        if not bool(torch.isfinite(field_map).all() and torch.isfinite(time).all()):
            raise ValueError("field_map and readout_time must be finite")
        frequency, share = _histogram(field_map)
        span = float((frequency.max() - frequency.min()) * (time.max() - time.min()))
        most = f"the field map times the readout spans {span:.3g} turns"
        count = max(2, math.ceil(span))
        if count > MOST_SEGMENTS:
            raise ValueError(f"{most}: is field_map in Hz and readout_time in seconds?")
        while True:
            nodes = _nodes(time, count)
            weights, error, gain = _weights(frequency, share, time, nodes, self.tolerance)
            if (error <= self.tolerance and gain <= MOST_GAIN) or count >= MOST_SEGMENTS:
                break
            count = min(count + max(1, count // 16), MOST_SEGMENTS)
        if error > self.tolerance or gain > MOST_GAIN:
            raise ValueError(
                f"{MOST_SEGMENTS} time segments leave an error of {error:.1e}, expected "
                f"{self.tolerance:.1e}: {most}"
            )
        self.error, self._version = error, version_of(self.field_map)
        self.register_buffer("weights", weights)  # (segment, sample) complex128
        self.register_buffer("times", nodes)

    def turn(self, images: Tensor, sign: int) -> Tensor:
        """Multiply images ``(..., 1 or segment, *image_shape)`` by each segment's phase."""
        times = self.times.reshape(-1, *[1] * self.field_map.ndim)
        phase = 2 * math.pi * sign * times * self.field_map.double()
        return images * torch.polar(torch.ones_like(phase), phase).to(images.dtype)

    def extra_repr(self) -> str:
        """Segments and their error."""
        return f"{len(self.times)} segments, error {self.error:.1e}"


def _histogram(field_map: Tensor, bins: int = 512) -> tuple[Tensor, Tensor]:
    """Frequencies that occur and the share of voxels at each."""
    flat = field_map.flatten()
    low, high = float(flat.min()), float(flat.max())
    if high - low < 1e-9:
        return flat[:1], flat.new_ones(1)
    place = ((flat - low) / (high - low) * bins).long().clamp_max(bins - 1)
    count = torch.bincount(place, minlength=bins).double()
    mean = torch.bincount(place, weights=flat, minlength=bins) / count.clamp_min(1)
    used = count > 0
    return mean[used], count[used] / count.sum()


def _nodes(time: Tensor, count: int) -> Tensor:
    """Times of the segments: Chebyshev nodes of the readout."""
    centre, half = (time.max() + time.min()) / 2, (time.max() - time.min()) / 2
    k = torch.arange(count, dtype=time.dtype, device=time.device)
    return centre - half * torch.cos(math.pi * (k + 0.5) / count)


def _weights(
    frequency: Tensor, share: Tensor, time: Tensor, nodes: Tensor, tolerance: float
) -> tuple[Tensor, float, float]:
    """Weights (segment, sample) of least squares, their root mean square error, and their gain."""
    root = share.sqrt()[:, None]
    centre, half = (time.max() + time.min()) / 2, float(time.max() - time.min()) / 2
    late, early = (time - centre) / (half or 1.0), (nodes - centre) / (half or 1.0)
    basis = torch.exp(-2j * math.pi * torch.outer(frequency, nodes)) * root
    target = torch.exp(-2j * math.pi * torch.outer(frequency, time)) * root
    basis, target = torch.cat([basis, basis * early]), torch.cat([target, target * late])
    # neighbouring segments are nearly dependent: an explicit inverse would lose half the digits,
    # and directions below the tolerance would only make the weights large
    solution = torch.linalg.lstsq(
        basis.cpu(), target.cpu(), driver="gelsd", rcond=max(tolerance / 100, 1e-15)
    )
    weights = solution.solution.to(target.device)
    error = (basis @ weights - target).abs().square().sum(0).mean().sqrt()
    gain = weights.abs().square().sum(0).mean().sqrt()
    return weights, float(error), float(gain)
