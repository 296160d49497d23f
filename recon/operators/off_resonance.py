"""Off-resonance by time segments: a few plain transforms instead of one per voxel frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MOST_SEGMENTS = 256


class TimeSegments(nn.Module):
    """``exp(-2 pi i f t) = sum_s weights[s, t] exp(-2 pi i f t_s)`` for all voxels and samples.

    The weights are the least squares fit over the histogram of the field map; segments are added
    until the fit's root mean square error is below the tolerance. They follow the field map that
    was given: gradients to it are exact for the segmented model, whose weights stay fixed.

    Parameters
    ----------
    field_map : ([z,] y, x), Hz
    readout_time : (sample,), s
    tolerance : root mean square error of the phase factors
    """

    weights: Tensor
    times: Tensor
    field_map: Tensor

    def __init__(self, field_map: Tensor, readout_time: Tensor, tolerance: float) -> None:
        super().__init__()
        if not bool(torch.isfinite(field_map).all() and torch.isfinite(readout_time).all()):
            raise ValueError("field_map and readout_time must be finite")
        frequency, share = _histogram(field_map.detach().double())
        time = readout_time.detach().double()
        span = float((frequency.max() - frequency.min()) * (time.max() - time.min()))
        count = max(1, math.ceil(span))
        while True:
            nodes = _nodes(time, count)
            weights, error = _fit(frequency, share, time, nodes)
            if error <= tolerance or count >= MOST_SEGMENTS:
                break
            count += 1
        if error > tolerance:
            raise ValueError(
                f"{MOST_SEGMENTS} time segments leave an error of {error:.1e}, expected "
                f"{tolerance:.1e}: the field map times the readout spans {span:.0f} turns"
            )
        self.error = error
        self.register_buffer("weights", weights)  # (segment, sample) complex128
        self.register_buffer("times", nodes)
        if isinstance(field_map, nn.Parameter):
            self.register_parameter("field_map", field_map)
        else:
            self.register_buffer("field_map", field_map)

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


def _fit(frequency: Tensor, share: Tensor, time: Tensor, nodes: Tensor) -> tuple[Tensor, float]:
    """Weights (segment, sample) of least squares, and their root mean square error."""
    root = share.sqrt()[:, None]
    basis = torch.exp(-2j * math.pi * torch.outer(frequency, nodes)) * root
    target = torch.exp(-2j * math.pi * torch.outer(frequency, time)) * root
    # neighbouring segments are nearly dependent: an explicit inverse would lose half the digits
    solution = torch.linalg.lstsq(basis.cpu(), target.cpu(), driver="gelsd", rcond=1e-15)
    weights = solution.solution.to(target.device)
    error = (basis @ weights - target).abs().square().sum(0).mean().sqrt()
    return weights, float(error)
