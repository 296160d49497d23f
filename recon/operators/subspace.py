"""Series of k-space data from a few coefficient images and a temporal basis."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from .base import LinearOperator, Map, Shape, linear_map, require_trailing
from .coils import CoilSensitivity, combine, expand
from .fourier import Fourier
from .nufft import NonUniformFourier
from .sense import check_weights, coil_mask


class SubspaceSense(LinearOperator):
    """Coefficients of a temporal subspace to the k-space of every frame and coil.

    ``(*batch, K, [z,] y, x)`` to ``(*batch, frame, coil, [kz,] ky, kx)`` or ``(*batch, frame,
    coil, sample)``: frame t shows the image ``sum_k basis[k, t] x_k``. The normal operator needs
    no frames: it mixes the K images by one K x K matrix for each point of k-space.

    Parameters
    ----------
    maps
        Complex sensitivities ``(coil, [z,] y, x)``.
    basis
        Real or complex ``(K, frame)``, such as the first singular vectors of simulated signals.
    mask
        Cartesian: boolean ``(frame, [kz,] ky, kx)``; axes of length 1 broadcast.
    trajectory
        ``(frame, sample, ndim)`` in cycles per pixel.
    weights
        Non-Cartesian: ``(frame, sample)``, not negative; the operator becomes ``W^(1/2) A``.
    tolerance
        Relative error of the non-uniform transform.
    ndim
        Axes of space of Cartesian data.

    References
    ----------
    J. I. Tamir et al., Magn Reson Med 77, 180 (2017).
    """

    basis: Tensor
    mask: Tensor | None
    weights: Tensor | None

    def __init__(
        self,
        maps: Tensor,
        basis: Tensor,
        *,
        mask: Tensor | None = None,
        trajectory: Tensor | None = None,
        weights: Tensor | None = None,
        tolerance: float = 1e-3,
        ndim: int = 2,
    ) -> None:
        if basis.ndim != 2 or basis.shape[0] > basis.shape[1]:
            raise ValueError(
                f"basis has shape {tuple(basis.shape)}, expected (K, frame) with K <= frame"
            )
        if (mask is None) == (trajectory is None):
            raise ValueError("SubspaceSense takes a mask (Cartesian) or a trajectory, one of them")
        if weights is not None and trajectory is None:
            raise ValueError("weights are for the samples of a trajectory")
        count, frames = basis.shape
        self._ndim = ndim if trajectory is None else trajectory.shape[-1]
        coils = CoilSensitivity(maps, self._ndim)
        if maps.ndim != self._ndim + 1:
            raise ValueError(f"maps must be (coil, [z,] y, x), got {tuple(maps.shape)}")
        space, encoding, masks = coils.domain_shape, None, None
        if trajectory is not None:
            if trajectory.ndim != 3 or trajectory.shape[0] != frames:
                raise ValueError(
                    f"trajectory has shape {tuple(trajectory.shape)}, expected "
                    f"({frames}, sample, ndim) for a basis of {frames} frames"
                )
            encoding = NonUniformFourier(
                trajectory.flatten(0, 1), tuple(space), tolerance=tolerance
            )
            samples: tuple[int, ...] = (trajectory.shape[1],)
        else:
            masks = coil_mask(cast(Tensor, mask), space)[:, 0].to(maps.real.dtype)
            if masks.shape[: -self._ndim] != (frames,):
                raise ValueError(
                    f"mask has shape {tuple(masks.shape)}, expected ({frames}, [kz,] ky, kx) for a "
                    f"basis of {frames} frames"
                )
            samples = space
        super().__init__((count, *space), (frames, coils.range_shape[0], *samples))
        self.coils, self.encoding = coils, encoding
        self.dtype = maps.dtype if encoding is None else encoding.dtype
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("mask", masks, persistent=False)
        if weights is not None:
            check_weights(weights, samples)
            weights = weights.expand(frames, *samples)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Coefficient images to the data of all frames."""
        require_trailing("coefficients", x, self.domain_shape)
        return linear_map(
            x,
            self._each(self._forward, self.domain_shape),
            self._each(self._adjoint, self.range_shape),
        )

    def adjoint(self, y: Tensor) -> Tensor:
        """Data of all frames to coefficient images."""
        require_trailing("k-space", y, self.range_shape)
        return linear_map(
            y,
            self._each(self._adjoint, self.range_shape),
            self._each(self._forward, self.domain_shape),
        )

    def normal(self, x: Tensor) -> Tensor:
        """Apply A^H A in the subspace."""
        require_trailing("coefficients", x, self.domain_shape)
        normal = self._each(self._normal, self.domain_shape)
        return linear_map(x, normal, normal)

    def _each(self, apply: Map, shape: Shape) -> Map:
        """The map of arrays of a shape over the items of a batch, one at a time."""

        def over_batch(z: Tensor) -> Tensor:
            batch = z.shape[: z.ndim - len(shape)]
            if not batch:
                return apply(z)
            items = [apply(item) for item in z.reshape(-1, *shape)]
            return torch.stack(items).reshape(*batch, *items[0].shape)

        return over_batch

    def _forward(self, x: Tensor) -> Tensor:
        images = self._coil_images(x)
        phi = self.basis.to(x.dtype)
        if self.encoding is None:
            k = Fourier(self.coils.domain_shape)(images)  # (coil, K, ...)
            y = torch.einsum("kt,ck...->tc...", phi, k)
            return y * cast(Tensor, self.mask).unsqueeze(1)
        y = self.encoding(images)
        y = y.reshape(*y.shape[:-1], phi.shape[1], -1)
        y = torch.einsum("kt,ckts->tcs", phi, y)
        return y if self.weights is None else y * self.weights.sqrt().unsqueeze(1)

    def _adjoint(self, y: Tensor) -> Tensor:
        phi = self.basis.to(y.dtype).conj()
        if self.encoding is None:
            k = torch.einsum("kt,tc...->ck...", phi, y * cast(Tensor, self.mask).unsqueeze(1))
            return self._combined(Fourier(self.coils.domain_shape).adjoint(k))
        if self.weights is not None:
            y = y * self.weights.sqrt().unsqueeze(1)
        samples = torch.einsum("kt,tcs->ckts", phi, y).flatten(-2)
        return self._combined(self.encoding.adjoint(samples))

    def _normal(self, x: Tensor) -> Tensor:
        images = self._coil_images(x)
        phi = self.basis.to(x.dtype)
        if self.encoding is None:
            F = Fourier(self.coils.domain_shape)
            mixing = torch.einsum(
                "kt,lt,t...->kl...", phi.conj(), phi, cast(Tensor, self.mask).to(x.dtype)
            )
            return self._combined(F.adjoint(torch.einsum("kl...,cl...->ck...", mixing, F(images))))
        samples = self.range_shape[-1]
        weights = None if self.weights is None else self.weights.flatten()
        basis = phi.repeat_interleave(samples, 1)
        return self._combined(self.encoding.plan.normal(images, weights, basis))

    def _coil_images(self, x: Tensor) -> Tensor:
        """Coefficients ``(K, *space)`` to coil images ``(coil, K, *space)``."""
        return expand(x, self.coils.maps, self._ndim).transpose(0, 1).contiguous()

    def _combined(self, images: Tensor) -> Tensor:
        return combine(images.transpose(0, 1).contiguous(), self.coils.maps, self._ndim)
