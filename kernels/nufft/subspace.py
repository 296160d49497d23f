"""A^H W A between the coefficients of a temporal subspace, as K x K convolutions.

Tamir et al., Magn Reson Med 77, 180 (2017); Mani et al., Magn Reson Med 73, 121 (2015).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .toeplitz import pairs

TOGETHER = 1 << 28  # bytes of spectra that a GPU works on at once; a CPU takes coil by coil


class SubspaceToeplitz:
    """``sum_l A^H W conj(phi_k) phi_l A x_l`` for images x_l, by one FFT of each at twice the size.

    Parameters
    ----------
    psf : (frame, pair, *(2 n)) complex
        `point_spread` for the weights ``w conj(phi_k) phi_l`` of each of `pairs`.
    shape : image
    """

    def __init__(self, psf: Any, shape: tuple[int, ...]) -> None:
        self._shape, self._axes = shape, tuple(range(-len(shape), 0))
        self._spectrum = torch.fft.fftn(torch.as_tensor(psf), dim=self._axes)

    def __call__(self, images: Any) -> Any:
        """Convolve images (frame, coil, K, *shape), NumPy or torch."""
        if not isinstance(images, Tensor):
            return self(torch.from_numpy(images)).numpy()
        coils, count = images.shape[1:3]
        double = tuple(2 * n for n in self._shape)
        inner = (..., *(slice(0, n) for n in self._shape))
        self._spectrum = self._spectrum.to(images.dtype)
        result = torch.empty_like(images)
        size = images[:, 0].numel() * 2 ** len(self._shape) * images.itemsize
        step = max(1, TOGETHER // size) if images.is_cuda else 1
        for coil in range(0, coils, step):  # K spectra and K sums of each are the memory taken
            some = slice(coil, coil + step)
            spectra = torch.fft.fftn(images[:, some], s=double, dim=self._axes)
            if count == 1:
                sums = spectra.mul_(self._spectrum[:, None])
            else:
                sums = self._mixed(spectra, count)
            result[:, some] = torch.fft.ifftn(sums, dim=self._axes)[inner]
        return result

    def _mixed(self, spectra: Tensor, count: int) -> Tensor:
        """Each coefficient's sum over all, (frame, coil, K, *(2 n))."""
        sums = torch.zeros_like(spectra)
        for pair, (k, m) in enumerate(zip(*pairs(count), strict=True)):
            kernel = self._spectrum[:, pair, None]
            sums[:, :, k].addcmul_(kernel, spectra[:, :, m])
            if k != m:  # A^H W A is Hermitian
                sums[:, :, m].addcmul_(kernel.conj(), spectra[:, :, k])
        return sums
