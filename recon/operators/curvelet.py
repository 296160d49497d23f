"""A tight frame of oriented wavelets in 2D: curvelets by Fourier windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .base import LinearOperator, Shape, linear_map, require_trailing


class Curvelet(LinearOperator):
    """Oriented band-pass images of each scale, and the low-pass rest: a tight frame in 2D.

    ``(*batch, y, x)`` to coefficients ``(*batch, count)``, which `bands` cuts into images; real
    or complex, complex coefficients. ``C.adjoint(C(x)) == x``. Each band is sampled as densely as
    its frequencies ask for, without aliasing, so that it is shift-invariant; about 14 coefficients
    a pixel by default.

    Parameters
    ----------
    shape
        ``(y, x)``.
    orientations
        Number of directions from the finest scale to the coarsest; each scale is an octave.

    References
    ----------
    E. J. Candès, L. Demanet, D. Donoho, L. Ying, Fast discrete curvelet transforms, Multiscale
    Model Simul 5, 861 (2006); windows of Y. Meyer.
    """

    def __init__(self, shape: Shape, orientations: Sequence[int] = (8, 8, 4, 4)) -> None:
        if len(shape) != 2 or min(shape) < 4:
            raise ValueError(f"curvelets need an image (y, x) of 4 x 4 or more, got {shape}")
        if not orientations or min(orientations) < 2:
            raise ValueError(f"orientations must be 2 or more a scale, got {orientations}")
        self._windows = [
            _windows(shape, level, count) for level, count in enumerate(orientations)
        ] + [_low_pass(shape, len(orientations))]
        sizes = [tuple(w.shape) for w in self._windows]
        super().__init__(shape, (sum(math.prod(size) for size in sizes),))
        self._sizes = sizes
        #: standard deviation of each band's coefficients where each pixel's is 1, (bands, 1, 1)
        self.deviations = [w.square().mean((1, 2), keepdim=True).sqrt() for w in self._windows]
        self._cast: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, y, x)`` to coefficients ``(*batch, count)``."""
        require_trailing("image", x, self.domain_shape)
        return linear_map(x, self._analyse, self._synthesise)

    def adjoint(self, y: Tensor) -> Tensor:
        """Coefficients to the image; the inverse on the range of the transform."""
        require_trailing("coefficients", y, self.range_shape)
        return linear_map(y, self._synthesise, self._analyse)

    def normal(self, x: Tensor) -> Tensor:
        """Return x itself: the frame is tight."""
        require_trailing("image", x, self.domain_shape)
        return x.clone()

    def bands(self, c: Tensor) -> list[Tensor]:
        """Views ``(*batch, band, y, x)`` of coefficients, finest scale first, low-pass last."""
        parts = torch.split(c, [math.prod(size) for size in self._sizes], -1)
        batch = c.shape[:-1]
        return [part.view(*batch, *size) for part, size in zip(parts, self._sizes, strict=True)]

    def _analyse(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fftn(x, dim=(-2, -1), norm="ortho")
        out = []
        for level in range(len(self._windows)):
            window = self._window(level, spectrum)
            rows, columns = self._kept(window, x.device)
            part = spectrum[..., rows[:, None], columns].unsqueeze(-3) * window
            out.append(torch.fft.ifftn(part, dim=(-2, -1), norm="ortho").flatten(-3))
        return torch.cat(out, -1)

    def _synthesise(self, y: Tensor) -> Tensor:
        spectrum = y.new_zeros((*y.shape[:-1], *self.domain_shape))
        for level, band in enumerate(self.bands(y)):
            window = self._window(level, y)
            rows, columns = self._kept(window, y.device)
            part = torch.fft.fftn(band, dim=(-2, -1), norm="ortho").mul_(window).sum(-3)
            spectrum[..., rows[:, None], columns] += part
        image: Tensor = torch.fft.ifftn(spectrum, dim=(-2, -1), norm="ortho")
        return image

    def _kept(self, window: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Places of a window's frequencies in the whole spectrum, both in the order of the FFT."""
        places = []
        for n, m in zip(self.domain_shape, window.shape[-2:], strict=True):
            places.append(torch.fft.fftfreq(m, 1 / m, device=device).round().long() % n)
        return places[0], places[1]

    def _window(self, level: int, like: Tensor) -> Tensor:
        key = (level, like.real.dtype, like.device)
        if key not in self._cast:
            self._cast[key] = self._windows[level].to(like.device, like.real.dtype)
        return self._cast[key]


def _windows(shape: Shape, level: int, count: int) -> Tensor:
    """Windows ``(count, y, x)`` of one scale over its own frequencies, in the order of the FFT."""
    k = _frequencies(shape, level)
    ring = _smooth(k, level) * (1 - _smooth(k, level + 1).square()).clamp_min(0).sqrt()
    angle = torch.atan2(k[0], k[1])
    wedges = []
    for o in range(count):
        centre = math.pi * o / count
        distance = (angle - centre + math.pi / 2) % math.pi - math.pi / 2
        part = (distance.abs() * count / math.pi).clamp_max(1)
        wedges.append(torch.cos(math.pi / 2 * _ramp(part)))
    return ring * torch.stack(wedges)


def _low_pass(shape: Shape, level: int) -> Tensor:
    return _smooth(_frequencies(shape, level), level)[None]


def _frequencies(shape: Shape, level: int) -> Tensor:
    """``(2, y, x)`` in units of Nyquist's, those inside a scale's support."""
    support = min(1.0, 2.0 ** (1 - level))
    axes = []
    for n in shape:
        m = min(n, 2 * math.ceil(n * support / 2) + 1)
        axes.append(torch.fft.fftfreq(m, 1 / m, dtype=torch.float64) * 2 / n)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _smooth(k: Tensor, level: int) -> Tensor:
    """Low-pass window that falls from 1 to 0 over the octave that ends at ``2^(1 - level)``."""
    if level == 0:
        return torch.ones_like(k[0])
    octaves = torch.log2(k.abs().amax(0).clamp_min(1e-9)) + level
    return torch.cos(math.pi / 2 * _ramp(octaves.clamp(0, 1)))


def _ramp(t: Tensor) -> Tensor:
    """Meyer's polynomial from 0 to 1, flat at both ends: ``ramp(t) + ramp(1 - t) = 1``."""
    return t.square().square() * (35 + t * (-84 + t * (70 - 20 * t)))
