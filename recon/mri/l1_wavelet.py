"""Compressed sensing with sparse wavelet coefficients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import LinearOperator, Wavelet
from ..solvers import fista, soft_threshold

WAVELETS = ("haar", "db2", "db4")


def wavelet_sense(
    A: LinearOperator,
    y: Tensor,
    *,
    weight: float = 0.75,
    iterations: int = 60,
    initial: Tensor | None = None,
    tolerance: float = 0.0,
    seed: int = 0,
    callback: Callable[[int, Tensor, float], None] | None = None,
) -> Tensor:
    """Minimise ``|A x - y|^2 / 2 + lambda |W x|_1`` over several translation-invariant wavelets.

    Each FISTA step shrinks the image in a Haar, a Daubechies-2 and a Daubechies-4 basis, each at
    a random shift, and takes the mean: edges, ramps and texture each find a basis that suits, and
    no shift leaves its blocks behind. The coarsest coefficients, which are not sparse, are kept.

    Parameters
    ----------
    A
        Encoding, image ``(*batch, [z,] y, x)`` to data, such as `Sense`.
    y
        Data, of A's range.
    weight
        lambda in units of the median magnitude of the finest diagonal wavelet coefficients of
        ``A^H y``, which noise and aliasing dominate: it does not change with the data's scale,
        and little with noise or acceleration.
    iterations
        FISTA steps, at most.
    initial
        First guess; default: the scaled adjoint.
    tolerance
        Stop when the image changes by less than this part; 0 never looks.
    seed
        Of the random shifts.
    callback
        ``callback(iteration, x, change)`` after each step.

    Returns
    -------
    Tensor
        Complex ``(*batch, [z,] y, x)``.

    References
    ----------
    M. Lustig et al., Magn Reson Med 58, 1182 (2007); R. R. Coifman, D. L. Donoho,
    Translation-invariant de-noising (1995); Y. Yu, Better approximation and faster algorithm
    using the proximal average, NeurIPS (2013).
    """
    if weight < 0:
        raise ValueError(f"weight must be 0 or more, got {weight}")
    bases = [Wavelet(A.domain_shape, name) for name in WAVELETS]
    threshold = weight * detail_level(A.adjoint(y), bases[-1])
    axes = tuple(range(-len(A.domain_shape), 0))
    periods = torch.tensor([2**level for level in bases[-1].levels])
    generator = torch.Generator().manual_seed(seed)

    def prox(v: Tensor, step: float) -> Tensor:
        total = torch.zeros_like(v)
        for W in bases:
            shift = (torch.rand(len(axes), generator=generator) * periods).long().tolist()
            c = W(torch.roll(v, shift, axes))
            shrunk = soft_threshold(c, step * threshold)
            shrunk[W.approximation] = c[W.approximation]
            total += torch.roll(W.adjoint(shrunk), [-s for s in shift], axes)
        return total.div_(len(bases))

    return fista(
        A, y, prox, iterations=iterations, initial=initial, restart=False,
        tolerance=tolerance, callback=callback,
    )  # fmt: skip


def detail_level(image: Tensor, wavelet: Wavelet) -> Tensor:
    """Median magnitude of the finest diagonal coefficients: a robust level of the noise.

    Returns one value for each item of the image's batch, ``(*batch, 1, ..., 1)``.
    """
    ndim = len(wavelet.domain_shape)
    median = wavelet(image)[wavelet.finest].abs().flatten(-ndim).median(-1).values
    return median.reshape(*median.shape, *[1] * ndim)
