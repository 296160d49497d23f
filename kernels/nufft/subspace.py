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
    memory_limit : bytes that the spectra of coils may take, at least one coil's
    """

    def __init__(self, psf: Any, shape: tuple[int, ...], memory_limit: int | None = None) -> None:
        self._shape, self._axes = shape, tuple(range(-len(shape), 0))
        # as much again is needed for sums of the spectra, or images of these
        self._room = TOGETHER if memory_limit is None else min(memory_limit // 2, TOGETHER)
        self._spectrum = torch.fft.fftn(torch.as_tensor(psf), dim=self._axes)
        self._spectra: dict[torch.dtype, Tensor] = {}

    def __call__(self, images: Any) -> Any:
        """Convolve images (frame, coil, K, *shape), NumPy or torch."""
        if not isinstance(images, Tensor):
            return self(torch.from_numpy(images)).numpy()
        coils, count = images.shape[1:3]
        double = tuple(2 * n for n in self._shape)
        inner = (..., *(slice(0, n) for n in self._shape))
        kernels = self._in_precision(images.dtype)
        result = torch.empty_like(images)
        size = images[:, 0].numel() * 2 ** len(self._shape) * images.itemsize  # of a coil's spectra
        step = max(1, self._room // size) if images.is_cuda else 1
        for coil in range(0, coils, step):
            some = slice(coil, coil + step)
            spectra = torch.fft.fftn(images[:, some], s=double, dim=self._axes)
            sums = spectra.mul_(kernels[:, None]) if count == 1 else _mixed(spectra, kernels)
            del spectra
            result[:, some] = torch.fft.ifftn(sums, dim=self._axes)[inner]
        return result

    def _in_precision(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self._spectra:
            self._spectra[dtype] = self._spectrum.to(dtype)
        return self._spectra[dtype]


def _mixed(spectra: Tensor, kernels: Tensor) -> Tensor:
    """Each coefficient's sum over all, (frame, coil, K, *(2 n))."""
    sums = torch.zeros_like(spectra)
    for pair, (k, m) in enumerate(zip(*pairs(spectra.shape[2]), strict=True)):
        kernel = kernels[:, pair, None]
        sums[:, :, k].addcmul_(kernel, spectra[:, :, m])
        if k != m:  # A^H W A is Hermitian
            sums[:, :, m].addcmul_(kernel.conj(), spectra[:, :, k])
    return sums
