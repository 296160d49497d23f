"""The centred, orthonormal Fourier transform of Cartesian MR."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import LinearOperator, Shape, require_trailing


class Fourier(LinearOperator):
    """Centred orthonormal FFT over the last ``len(shape)`` axes; the origin is index ``n // 2``.

    ``(*batch, *shape)`` to ``(*batch, *shape)``, complex. The two half-matrix shifts are a
    multiplication by one unit-modulus phase D on either side, ``F = D FFT D``, which costs less
    than moving the data.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape)
        self._axes = tuple(range(-len(self.domain_shape), 0))
        self._phases: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Image ``(*batch, *shape)`` to k-space of the same shape."""
        require_trailing("image", x, self.domain_shape)
        phase = self._phase(x)
        k: Tensor = torch.fft.fftn(x * phase, dim=self._axes, norm="ortho")
        return k.mul_(phase)

    def adjoint(self, y: Tensor) -> Tensor:
        """K-space ``(*batch, *shape)`` to the image: also the inverse."""
        require_trailing("k-space", y, self.domain_shape)
        phase = self._phase(y).conj()
        x: Tensor = torch.fft.ifftn(y * phase, dim=self._axes, norm="ortho")
        return x.mul_(phase)

    def normal(self, x: Tensor) -> Tensor:
        """Return x itself: the transform is unitary."""
        require_trailing("image", x, self.domain_shape)
        return x + 0j if not x.is_complex() else x.clone()

    def _phase(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.complex32)
        key = (dtype, x.device)
        if key not in self._phases:
            angle = torch.zeros((), dtype=torch.float64)
            for n in self.domain_shape:
                # exp(-2 pi i (k-c)(m-c)/n) splits into exp(-2 pi i k m/n) and a phase of k and
                # of m; reduced modulo n in integers, so that the angle keeps every digit.
                c = n // 2
                turns = (2 * c * torch.arange(n) - c * c) % (2 * n)
                angle = angle[..., None] + torch.pi * turns.double() / n
            self._phases[key] = torch.polar(torch.ones_like(angle), angle).to(x.device, dtype)
        return self._phases[key]
